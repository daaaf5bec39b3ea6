"""The lake's tables as catalogs describe them: Glue's table inputs, and Spark's SQL for Unity Catalog and Hive."""

import re
from typing import Any

from pyspark.sql.types import ArrayType, DataType, MapType, StructType

from jobs.common.errors import UserError
from jobs.common.lake import open_table
from jobs.common.lake_root import SCHEME
from jobs.common.settings import Settings
from schemas.tables import TABLES
from schemas.types import Table

#: What Glue takes of a column's comment and of a description, in characters.
_COMMENT, _DESCRIPTION = 255, 2048
_NAME = r"[A-Za-z_][A-Za-z0-9_]{0,126}"


def chosen_tables(settings: Settings, only: list[str], *, every: bool) -> list[str]:
    """The tables to register: those named, else those that are in the lake; with `every` all that there can be."""
    unknown = [name for name in only if name not in TABLES]
    if unknown:
        raise UserError(f"--only {unknown[0]}: there is no such table; they are {', '.join(TABLES)}.")
    names = only or [name for name in TABLES if every or open_table(settings, name) is not None]
    if not names:
        raise UserError(f"There is no table in {settings.lake.root} yet; start the jobs first, or say --all.")
    return names


def glue_table(settings: Settings, name: str) -> dict[str, Any]:
    """Glue's TableInput of a native Delta table, as Athena (engine 3), EMR and Redshift Spectrum read it.

    Rows, partitions and types they take from the Delta log; what stands here is for the catalog's readers.
    """
    table = TABLES[name]
    location = s3_location(settings, name)
    return {
        "Name": name,
        "Description": table.comment[:_DESCRIPTION],
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {
            "EXTERNAL": "TRUE",
            "table_type": "DELTA",
            "classification": "delta",
            "spark.sql.sources.provider": "delta",
            "reco.owner": table.owner,
        },
        "PartitionKeys": [],
        "StorageDescriptor": {
            "Columns": [_glue_column(table, field.name) for field in table.schema.fields],
            "Location": location,
            "InputFormat": "org.apache.hadoop.mapred.SequenceFileInputFormat",
            "OutputFormat": "org.apache.hadoop.hive.ql.io.HiveSequenceFileOutputFormat",
            "SerdeInfo": {
                "SerializationLibrary": "org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe",
                "Parameters": {"serialization.format": "1", "path": location},
            },
        },
    }


def sql(settings: Settings, names: list[str], schema: str, *, catalog: str = "") -> list[str]:
    """Statements that Spark runs to register tables that are there; with `catalog` for Unity Catalog.

    Columns, types and comments come from the Delta log, to which nothing is written: it has one writer.
    """
    for word in filter(None, (catalog, schema)):
        require_name(word)
    within = f"`{catalog}`.`{schema}`" if catalog else f"`{schema}`"
    statements = [f"CREATE SCHEMA IF NOT EXISTS {within}"]
    for name in names:
        place = s3_location(settings, name) if catalog else settings.table_path(name)
        statements.append(f"CREATE TABLE IF NOT EXISTS {within}.`{name}` USING DELTA LOCATION '{_quoted(place)}'")
    return statements


def require_name(word: str) -> None:
    """UserError where a database, schema or catalog is named otherwise than all catalogs allow."""
    if not re.fullmatch(_NAME, word):
        raise UserError(f"{word!r} is no name for a database, schema or catalog: letters, digits and _ only.")


def s3_location(settings: Settings, name: str) -> str:
    """Where the table lies, as AWS and Databricks write it: s3:// for Hadoop's s3a://. UserError for a local lake."""
    scheme = SCHEME.match(settings.lake.root)
    if scheme is None:
        raise UserError(
            f"lake.root: {settings.lake.root} is a folder of this machine, which no catalog reaches; set it to where "
            "the lake is, like s3a://bucket/lake."
        )
    return re.sub(r"^s3[an]:", "s3:", settings.table_path(name))


def _glue_column(table: Table, name: str) -> dict[str, str]:
    field = table.schema[name]
    return {"Name": name, "Type": _hive_type(field.dataType), "Comment": _cut(field.metadata["comment"])}


def _cut(text: str) -> str:
    return text if len(text) <= _COMMENT else f"{text[: _COMMENT - 1]}…"


def _hive_type(kind: DataType) -> str:
    if isinstance(kind, StructType):
        return f"struct<{','.join(f'{field.name}:{_hive_type(field.dataType)}' for field in kind.fields)}>"
    if isinstance(kind, ArrayType):
        return f"array<{_hive_type(kind.elementType)}>"
    if isinstance(kind, MapType):
        return f"map<{_hive_type(kind.keyType)},{_hive_type(kind.valueType)}>"
    return kind.simpleString()


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")
