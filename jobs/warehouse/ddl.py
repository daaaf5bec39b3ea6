"""ClickHouse's tables for what is exported, made from `schemas/`: conf/warehouse/clickhouse.sql holds the same text."""

from dataclasses import dataclass

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

from schemas.tables import TABLES

#: Deduplication of repeated inserts by their token, in tables that are not replicated (replicated ones have it).
_WINDOW = 10_000
POSITIONS = "export_positions"


@dataclass(frozen=True)
class Exported:
    """A table that is exported: its key, in whose order it lies, and the date by whose month it is parted."""

    name: str
    key: tuple[str, ...]
    by_month_of: str | None


EXPORTED = {
    table.name: table
    for table in (
        Exported("reconciliation_facts", ("reco_date", "supplier_id", "activity_id"), "reco_date"),
        Exported("anomalies", ("reco_date", "supplier_id", "activity_id", "anomaly_type"), "reco_date"),
        Exported("exceptions", ("exception_id",), None),
        Exported("hourly_summary", ("verdict_date", "verdict_hour", "supplier_id"), "verdict_date"),
    )
}

_PLAIN: dict[type[DataType], str] = {
    BooleanType: "Bool",
    DateType: "Date32",
    IntegerType: "Int32",
    LongType: "Int64",
    StringType: "String",
    TimestampType: "DateTime64(6, 'UTC')",
}

_POSITIONS = f"""CREATE TABLE IF NOT EXISTS {POSITIONS}
(
    `table_name` String COMMENT 'Exported table',
    `generation` UInt32 COMMENT 'How often it was loaded anew from another table or another history of it',
    `delta_version` Int64 COMMENT 'Version of the Delta table up to which everything is here',
    `table_id` String COMMENT 'Id of the Delta table',
    `fingerprint` String COMMENT 'SHA-256 of the names of the files of that version',
    `written_at` DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') COMMENT 'When, by the clock of ClickHouse, UTC',
    `_version` UInt64 COMMENT 'generation * 2^32 + delta_version; the greatest counts'
)
ENGINE = ReplacingMergeTree(_version)
ORDER BY table_name
COMMENT 'How far each table was exported; written after the rows'"""


def statements() -> list[str]:
    """Every CREATE statement, to be run in the database of one's choice."""
    made = [text for exported in EXPORTED.values() for text in (_table(exported), _view(exported))]
    return [*made, _POSITIONS]


def script() -> str:
    """The statements as one SQL file."""
    head = "-- ClickHouse's tables of `reco export clickhouse`, made from schemas/; its --print-ddl prints them.\n"
    return head + "".join(f"\n{text};\n" for text in statements())


def columns(name: str) -> list[str]:
    """The exported columns and the two of our own."""
    return [*[field.name for field in TABLES[name].schema.fields], "_version", "_deleted"]


def _table(exported: Exported) -> str:
    table = TABLES[exported.name]
    lines = [
        f"    `{field.name}` {_type(field.dataType, nullable=field.name not in exported.key)} "
        f"COMMENT {_quoted(field.metadata['comment'])}"
        for field in table.schema.fields
    ]
    lines.append("    `_version` UInt64 COMMENT 'generation * 2^32 + version of the Delta table; the greatest counts'")
    lines.append("    `_deleted` UInt8 COMMENT '1: the row was removed in that version'")
    parted = f"PARTITION BY toYYYYMM({exported.by_month_of})\n" if exported.by_month_of else ""
    body = ",\n".join(lines)
    return (
        f"CREATE TABLE IF NOT EXISTS {exported.name}\n(\n{body}\n)\n"
        f"ENGINE = ReplacingMergeTree(_version, _deleted)\n{parted}ORDER BY ({', '.join(exported.key)})\n"
        f"SETTINGS non_replicated_deduplication_window = {_WINDOW}\nCOMMENT {_quoted(table.comment)}"
    )


def _view(exported: Exported) -> str:
    return (
        f"CREATE VIEW IF NOT EXISTS {exported.name}_now AS\n"
        f"SELECT * EXCEPT (_version, _deleted) FROM {exported.name} FINAL"
    )


def _type(kind: DataType, *, nullable: bool) -> str:
    if isinstance(kind, ArrayType):  # which cannot be null in ClickHouse: it is empty then
        return f"Array({_type(kind.elementType, nullable=not isinstance(kind.elementType, StringType))})"
    if isinstance(kind, StructType):
        inner = ", ".join(f"`{field.name}` {_type(field.dataType, nullable=True)}" for field in kind.fields)
        return f"Tuple({inner})"
    plain = f"Decimal({kind.precision}, {kind.scale})" if isinstance(kind, DecimalType) else _PLAIN[type(kind)]
    return f"Nullable({plain})" if nullable else plain


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
