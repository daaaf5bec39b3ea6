"""A pytest plugin (`-p tests.duckdb_engine`) that puts DuckDB in Spark's place before anything imports `pyspark`.

sqlframe answers to the name `pyspark` from then on, so it runs in an environment without the real one.
"""

from importlib.util import find_spec
from typing import Any

import pytest

if find_spec("pyspark") is not None:
    raise pytest.UsageError("pyspark is installed here, and sqlframe would hide it: use `make test-duckdb`.")

import duckdb
import sqlframe

_CONNECTION = duckdb.connect(config={"threads": 2})
_CONNECTION.execute("SET TimeZone = 'UTC'")
sqlframe.activate("duckdb", conn=_CONNECTION)

from pyspark.sql import functions as F  # noqa: E402 — must come after activate

_collect_list = F.collect_list


def _put_right() -> None:
    """What sqlframe 4.10 gives DuckDB with another result than Spark's, or not at all; docs/duckdb.md lists it."""
    # It multiplies whole seconds by 1000: the milliseconds are lost.
    F.unix_millis = lambda col: F.call_function("epoch_ms", col)
    # It has none.
    F.timestamp_millis = lambda col: F.call_function("make_timestamptz", col * 1000)
    # DuckDB's array_agg keeps nulls, Spark's collect_list drops them.
    F.collect_list = lambda col: F.array_compact(_collect_list(col))


_put_right()


def new_session() -> Any:
    """DuckDB behind PySpark's interface."""
    from pyspark.sql import SparkSession

    return SparkSession.builder.getOrCreate()


@pytest.fixture(scope="session")
def duckdb_session() -> Any:
    """The session of a test run."""
    return new_session()
