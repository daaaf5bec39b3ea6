"""Our types by DuckDB's names."""

from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    IntegerType,
    LongType,
    MapType,
    StringType,
    StructType,
    TimestampType,
)

_PLAIN: dict[type[DataType], str] = {
    BinaryType: "BLOB",
    BooleanType: "BOOLEAN",
    DateType: "DATE",
    IntegerType: "INTEGER",
    LongType: "BIGINT",
    StringType: "VARCHAR",
    TimestampType: "TIMESTAMPTZ",
}


def sql_type(kind: DataType) -> str:
    """The type as DuckDB's SQL names it. TypeError where no table of ours has it."""
    match kind:
        case DecimalType():
            return f"DECIMAL({kind.precision}, {kind.scale})"
        case StructType():
            inner = ", ".join(f'"{field.name}" {sql_type(field.dataType)}' for field in kind.fields)
            return f"STRUCT({inner})"
        case ArrayType():
            return f"{sql_type(kind.elementType)}[]"
        case MapType():
            return f"MAP({sql_type(kind.keyType)}, {sql_type(kind.valueType)})"
    try:
        return _PLAIN[type(kind)]
    except KeyError:
        raise TypeError(f"no type of DuckDB for {kind.simpleString()}") from None
