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

from jobs.common.engines.duckdb_functions import put_right  # noqa: E402 — likewise

for _name, _function in put_right(F).items():
    setattr(F, _name, _function)


def new_session() -> Any:
    """DuckDB behind PySpark's interface."""
    from pyspark.sql import SparkSession

    return SparkSession.builder.getOrCreate()


@pytest.fixture(scope="session")
def duckdb_session() -> Any:
    """The session of a test run."""
    return new_session()
