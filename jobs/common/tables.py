"""Delta tables: made once and verified, read at a pinned version, appended to."""

import re
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import ArrayType, DataType, MapType, StructField, StructType

from jobs.common.errors import UserError
from jobs.common.lasting import lasting
from jobs.common.ownership import PROPERTY, owner_of
from jobs.common.settings import Settings
from schemas.tables import TABLES
from schemas.types import Table

_PROPERTIES = {"delta.enableDeletionVectors": "false"}


def identifier(path: str) -> str:
    """The path as SQL names it."""
    return f"delta.`{path}`"


def exists(spark: SparkSession, path: str) -> bool:
    """Whether a Delta table with at least one commit lies there."""
    log = _hadoop_path(spark, f"{path}/_delta_log")
    files = log.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration())
    if not files.exists(log):
        return False
    return any(
        status.getPath().getName().endswith((".json", ".checkpoint.parquet")) for status in files.listStatus(log)
    )


def read_text(spark: SparkSession, path: str) -> str:
    """A small file of any file system that Spark reaches, without a job."""
    place = _hadoop_path(spark, path)
    gateway: Any = spark.sparkContext._jvm
    stream = place.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration()).open(place)
    try:
        return str(gateway.org.apache.commons.io.IOUtils.toString(stream, "UTF-8"))
    finally:
        stream.close()


def write_text(spark: SparkSession, path: str, text: str) -> None:
    """Write a small file of any file system that Spark reaches, in place of the one there; in UTF-8, without a job."""
    place = _hadoop_path(spark, path)
    stream = place.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration()).create(place, True)
    try:
        stream.write(bytearray(text, "utf-8"))
    finally:
        stream.close()


def newest_version(spark: SparkSession, path: str, since: int | None = None) -> int | None:
    """The table's newest version by its Delta log, without a job; None where there is no table.

    `since`: a version known to be there, from which on it looks; else it lists the log, which grows with age.
    """
    log = _hadoop_path(spark, f"{path}/_delta_log")
    files = log.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration())
    if since is None:
        if not files.exists(log):
            return None
        names = [str(status.getPath().getName()) for status in files.listStatus(log)]
        return max((int(name[:20]) for name in names if re.fullmatch(r"\d{20}\.json", name)), default=None)
    while files.exists(_hadoop_path(spark, f"{path}/_delta_log/{since + 1:020}.json")):
        since += 1
    return since


def ensure_table(spark: SparkSession, settings: Settings, name: str) -> str:
    """Create the table where it is not there, check that it has our columns, and return its path.

    A creation that was killed leaves a log folder without a commit; it holds nothing and is made anew.
    """
    table, path = TABLES[name], settings.table_path(name)
    if not exists(spark, path):
        log = _hadoop_path(spark, f"{path}/_delta_log")
        log.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration()).delete(log, True)
        spark.sql(_create_statement(table, path, owner_of(settings, name)))
    _check_columns(spark, table, path)
    return path


def _create_statement(table: Table, path: str, owner: str) -> str:
    columns = ", ".join(
        f"`{field.name}` {_sql_type(field.dataType)} COMMENT '{_quoted(field.metadata['comment'])}'"
        for field in table.schema.fields
    )
    partitioned = f" PARTITIONED BY ({', '.join(table.partition_by)})" if table.partition_by else ""
    told = {**_PROPERTIES, **lasting(table.name), **table.all_properties, PROPERTY: owner}
    properties = ", ".join(f"'{key}' = '{value}'" for key, value in told.items())
    return (
        f"CREATE TABLE IF NOT EXISTS {identifier(path)} ({columns}) USING DELTA{partitioned} "
        f"COMMENT '{_quoted(table.comment)}' TBLPROPERTIES ({properties})"
    )


def _sql_type(kind: DataType) -> str:
    if isinstance(kind, StructType):
        inner = ", ".join(
            f"`{field.name}`: {_sql_type(field.dataType)} COMMENT '{_quoted(field.metadata['comment'])}'"
            for field in kind.fields
        )
        return f"STRUCT<{inner}>"
    if isinstance(kind, ArrayType):
        return f"ARRAY<{_sql_type(kind.elementType)}>"
    if isinstance(kind, MapType):
        return f"MAP<{_sql_type(kind.keyType)}, {_sql_type(kind.valueType)}>"
    return kind.simpleString()


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def _check_columns(spark: SparkSession, table: Table, path: str) -> None:
    found = {field.name: field.dataType.simpleString() for field in spark.read.format("delta").load(path).schema.fields}
    for field in table.schema.fields:
        wanted = field.dataType.simpleString()
        if found.get(field.name) != wanted:
            raise UserError(
                f"Table {path} has column {field.name} as {found.get(field.name, 'nothing')} where this version needs "
                f"{wanted}: see CHANGELOG.md for how to move a lake, or set lake.root to another folder."
            )


def version_of(spark: SparkSession, path: str) -> int:
    """The table's newest Delta version."""
    row = spark.sql(f"DESCRIBE HISTORY {identifier(path)} LIMIT 1").select("version").head()
    if row is None:
        raise UserError(f"Table {path} has no commit; remove the folder and let the job make it anew.")
    return int(row[0])


def read(spark: SparkSession, path: str, version: int | None = None) -> DataFrame:
    """The table as it is, or as it was at a version."""
    reader = spark.read.format("delta")
    if version is not None:
        reader = reader.option("versionAsOf", version)
    return reader.load(path)


def conformed(rows: DataFrame, name: str) -> DataFrame:
    """The rows with exactly the table's columns, in its order and with its types."""
    fields = TABLES[name].schema.fields
    # As text: each column built by calls is four calls to the JVM.
    casts = [f"cast(`{field.name}` as {field.dataType.simpleString()}) as `{field.name}`" for field in fields]
    return rows.selectExpr(*casts)


def row_type(name: str) -> StructType:
    """A row of the table as a struct, its columns without comments."""
    return StructType([StructField(field.name, field.dataType) for field in TABLES[name].schema.fields])


def _hadoop_path(spark: SparkSession, path: str) -> Any:
    gateway = spark.sparkContext._jvm
    assert gateway is not None
    return gateway.org.apache.hadoop.fs.Path(path)
