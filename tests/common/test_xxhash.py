"""The digest of a row is Spark's, to the bit, whatever the row holds."""

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
from pyspark.sql import SparkSession
from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    IntegerType,
    LongType,
    StringType,
    StructType,
    TimestampType,
)

from jobs.common.arrow import polars_schema
from jobs.common.engines.digest import HASH_SUMS, digested, digests
from jobs.common.engines.spark import SparkEngine
from jobs.common.local_rows import local_rows
from schemas.tables import TABLES

ROWS = 400
DRAWN = random.Random(8)


def drawn(kind: DataType) -> Any:
    """A value of the type, edges and nulls among them."""
    if DRAWN.random() < 0.15:
        return None
    match kind:
        case StructType():
            return {field.name: drawn(field.dataType) for field in kind.fields}
        case ArrayType():
            return [drawn(kind.elementType) for _ in range(DRAWN.choice((0, 1, 2, 5)))]
        case StringType():
            return "".join(
                DRAWN.choice("aZ9-é日𝄞\x00 ") for _ in range(DRAWN.choice((0, 1, 3, 4, 7, 8, 9, 31, 33, 70)))
            )
        case BooleanType():
            return DRAWN.random() < 0.5
        case DateType():
            return date(2026, 3, 10) + timedelta(days=DRAWN.randint(-40_000, 40_000))
        case TimestampType():
            return datetime(2026, 3, 10, tzinfo=UTC) + timedelta(microseconds=DRAWN.randint(-(2**55), 2**55))
        case DecimalType():
            digits = DRAWN.randint(1, kind.precision)
            return Decimal(DRAWN.choice((0, 1, -1)) * DRAWN.randint(0, 10**digits - 1)).scaleb(-kind.scale)
    bits = 63 if isinstance(kind, LongType) else 31
    assert isinstance(kind, LongType | IntegerType)
    return DRAWN.choice((0, 1, -1, 2**bits - 1, -(2**bits), DRAWN.randint(-(2**bits), 2**bits - 1)))


def test_it_is_sparks(spark: SparkSession) -> None:
    for name in ("reconciliation_facts", "anomalies", "activity"):
        schema = TABLES[name].schema
        rows = [{field.name: drawn(field.dataType) for field in schema.fields} for _ in range(ROWS)]
        data = [tuple(_plain(row[field.name]) for field in schema.fields) for row in rows]
        found = SparkEngine(spark).with_digest(local_rows(spark, data, schema), name).select("digest.*").collect()
        frame = pl.DataFrame(rows, schema=polars_schema(schema), orient="row")
        ours = digests([frame.select([field.name for field in digested(name)])], name, 2)
        assert [tuple(row[part] for part in HASH_SUMS) for row in found] == [tuple(row) for row in ours.tolist()]


def _plain(value: Any) -> Any:
    """Structs as tuples, as `local_rows` takes them."""
    if isinstance(value, dict):
        return tuple(value.values())
    return [_plain(item) for item in value] if isinstance(value, list) else value
