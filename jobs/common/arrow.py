"""Our StructTypes as the schemas that deltalake and Polars want, so that small tables need no JVM."""

import deltalake
import polars as pl
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    IntegerType,
    LongType,
    StringType,
    StructType,
    TimestampType,
)

_PLAIN: dict[type[DataType], pl.DataType] = {
    BinaryType: pl.Binary(),
    BooleanType: pl.Boolean(),
    DateType: pl.Date(),
    DoubleType: pl.Float64(),
    IntegerType: pl.Int32(),
    LongType: pl.Int64(),
    StringType: pl.String(),
    TimestampType: pl.Datetime("us", "UTC"),
}


def delta_schema(schema: StructType) -> deltalake.Schema:
    """The schema for deltalake, comments included: Spark's JSON of a schema is what Delta's log holds."""
    return deltalake.Schema.from_json(schema.json())


def polars_schema(schema: StructType) -> pl.Schema:
    """The schema for Polars: exact decimals, timestamps in UTC to the microsecond."""
    return pl.Schema({field.name: _polars_type(field.dataType) for field in schema.fields})


def _polars_type(kind: DataType) -> pl.DataType:
    if isinstance(kind, DecimalType):
        return pl.Decimal(kind.precision, kind.scale)
    if isinstance(kind, ArrayType):
        return pl.List(_polars_type(kind.elementType))
    if isinstance(kind, StructType):
        return pl.Struct({field.name: _polars_type(field.dataType) for field in kind.fields})
    try:
        return _PLAIN[type(kind)]
    except KeyError:
        raise TypeError(f"no Polars type for {kind.simpleString()}") from None
