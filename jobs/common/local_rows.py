"""A handful of rows from the driver as a DataFrame that needs no Python worker."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType, MapType, StructType, _parse_datatype_string


def local_rows(spark: SparkSession, rows: Sequence[Sequence[Any]], schema: StructType | str) -> DataFrame:
    """The rows (tuples in the order of the schema's fields, nested structs too), all columns nullable.

    `createDataFrame` of a list sends every reading of it through a Python worker, a quarter of a second each time;
    this one is a constant of the plan. Naive datetimes are of the process's own zone, as Spark hands them out.
    """
    kind = _parse_datatype_string(schema) if isinstance(schema, str) else schema
    assert isinstance(kind, StructType)
    read = F.from_json(F.lit(as_json(rows, kind)), ArrayType(kind), {"mode": "FAILFAST"})
    return spark.sql("SELECT 1 AS one").select(F.inline(read))


def with_constants(frame: DataFrame, values: Mapping[str, Any]) -> DataFrame:
    """Add constants as columns, in the place of those that have their names.

    As literals they would stand in the code of the plan, which is then compiled anew for each other value.
    """
    one = F.struct(*[F.lit(value).alias(name) for name, value in values.items()])
    return frame.drop(*values).select("*", F.inline(F.array(one)))


def as_json(rows: Sequence[Sequence[Any]], kind: StructType) -> str:
    """The rows as a JSON array of objects; times in UTC, decimals as text."""
    return json.dumps([_value(tuple(row), kind) for row in rows])


def held(frame: DataFrame) -> DataFrame:
    """A small result, computed once and held by the plan itself."""
    return local_rows(frame.sparkSession, frame.collect(), frame.schema)


def _value(value: Any, kind: DataType) -> Any:
    if value is None:
        return None
    if isinstance(kind, StructType):
        return {f.name: _value(item, f.dataType) for f, item in zip(kind.fields, tuple(value), strict=True)}
    if isinstance(kind, ArrayType):
        return [_value(item, kind.elementType) for item in value]
    if isinstance(kind, MapType):
        return {name: _value(item, kind.valueType) for name, item in value.items()}
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, (date, Decimal)):
        return str(value)
    return value
