"""PySpark's functions on DuckDB as sqlframe gives them, but for the few that are put right here: docs/duckdb.md."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import sqlframe.duckdb
from pyspark.sql import Column, DataFrame
from sqlframe.base.column import Column as Given
from sqlframe.duckdb import functions as given
from sqlglot import exp


def put_right(functions: Any) -> dict[str, Any]:
    """What sqlframe 4.10 gives DuckDB with another result than Spark's, or not at all, by name."""
    collect_list = functions.collect_list

    def column(value: Any) -> Any:
        return functions.col(value) if isinstance(value, str) else value

    def shift_right(value: Any, bits: int) -> Any:
        return Given(exp.IntDiv(this=value.column_expression, expression=exp.Literal.number(2**bits)))

    def key_hash(*cols: Any) -> Any:
        # 63 bits: sqlframe knows no unsigned types.
        return shift_right(functions.call_function("hash", *[column(col) for col in cols]), 1).cast("bigint")

    return {
        # It multiplies whole seconds by 1000: the milliseconds are lost.
        "unix_millis": lambda col: functions.call_function("epoch_ms", column(col)),
        # It has none.
        "timestamp_millis": lambda col: functions.call_function("make_timestamptz", column(col) * 1000),
        # DuckDB's array_agg keeps nulls, Spark's collect_list drops them.
        "collect_list": lambda col: functions.array_compact(collect_list(col)),
        # A hint that has nobody to hear it.
        "broadcast": lambda frame: frame,
        # Only for sorting by it and for sums that are compared with each other; the content hash has its own.
        "xxhash64": key_hash,
        # Of `xxhash64`, which is never negative here.
        "shiftrightunsigned": shift_right,
    }


class Functions:
    """Stands for the module `pyspark.sql.functions`."""

    def __init__(self) -> None:
        self._right = put_right(given)

    def __getattr__(self, name: str) -> Any:
        return self._right[name] if name in self._right else getattr(given, name)


class Names:
    """What `reco_rules.engine.in_use` takes."""

    functions = Functions()
    Window = sqlframe.duckdb.Window

    @staticmethod
    def aggregated(rows: DataFrame, by: Sequence[str], _place: str, values: Mapping[str, Column]) -> DataFrame:
        """By hash: DuckDB aggregates windows one by one, at five times the cost."""
        return rows.groupBy(*by).agg(*[value.alias(name) for name, value in values.items()])


_col = given.col


@cache
def _read(name: str) -> exp.Expression:
    column: exp.Expression = _col(name).expression
    if column.meta.get("display_name") == column.name:
        del column.meta["display_name"]  # a dictionary of its own in each copy
    return column


def _column(name: Any) -> Any:
    """As sqlframe's `col`, which parses a name anew each time."""
    return Given(_read(name).copy()) if isinstance(name, str) else _col(name)


given.col = _column
_cast = Given.cast


def _cast_to_type(self: Any, kind: Any, *others: Any) -> Any:
    """The rules say types as pyspark's objects; sqlframe knows its own and their names."""
    named = kind.simpleString() if hasattr(kind, "simpleString") else kind
    return _cast(self, named, *others)


Given.cast = _cast_to_type
