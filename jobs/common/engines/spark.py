"""Spark as the engine of a close: on a cluster, or on this machine for days that do not fit its memory."""

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark import StorageLevel
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from jobs.common import tables
from jobs.common.conflicts import despite_maintenance, is_conflict
from jobs.common.engines.digest import CHAINS, HASH_SUMS, digested
from jobs.common.errors import TableMovedError, UserError
from jobs.common.local_rows import held, local_rows
from jobs.common.session import quick_plans
from jobs.common.settings import Settings
from schemas.tables import ADDED_LATER, TABLES

Release = Callable[[], object]


class SparkEngine:
    """What `jobs.common.engines.Engine` asks for, by Spark."""

    name = "spark"
    # A version that is gone is Spark's own exception; a file that is gone shows in a task, and comes as Java's.
    errors: tuple[type[Exception], ...] = (UserError, PySparkException, Py4JJavaError)
    sorts_dearly = False  # the shuffle by key sorts anyway

    def __init__(self, spark: SparkSession) -> None:
        self._spark = spark

    def exists(self, path: str) -> bool:
        return tables.exists(self._spark, path)

    def version_of(self, path: str) -> int:
        return tables.version_of(self._spark, path)

    def version_noted(self, path: str, note: str) -> int | None:
        history = self._spark.sql(f"DESCRIBE HISTORY {tables.identifier(path)}").where(F.col("userMetadata") == note)
        found = history.agg(F.max("version")).head()
        return None if found is None or found[0] is None else int(found[0])

    def notes(self, path: str, limit: int) -> list[str]:
        history = self._spark.sql(f"DESCRIBE HISTORY {tables.identifier(path)} LIMIT {limit}")
        rows = history.where("userMetadata is not null").select("version", "userMetadata").collect()
        return [row["userMetadata"] for row in sorted(rows, reverse=True)]

    def read(self, path: str, version: int | None = None) -> DataFrame:
        return tables.read(self._spark, path, version)

    def inserts_since(self, path: str, version: int) -> DataFrame:
        reader = self._spark.read.format("delta").option("readChangeFeed", "true")
        fed = reader.option("startingVersion", version + 1).load(path)
        return fed.where(F.col("_change_type") == "insert")

    def ensure_table(self, settings: Settings, name: str) -> str:
        path = settings.table_path(name)
        if tables.exists(self._spark, path):
            there = set(tables.read(self._spark, path).columns)
            for field in TABLES[name].schema.fields:
                if field.name in ADDED_LATER.get(name, ()) and field.name not in there:
                    column = f"`{field.name}` {field.dataType.simpleString()} COMMENT '{field.metadata['comment']}'"
                    self._spark.sql(f"ALTER TABLE {tables.identifier(path)} ADD COLUMNS ({column})")
        return tables.ensure_table(self._spark, settings, name)

    def append(self, rows: DataFrame, name: str, path: str) -> None:
        tables.conformed(rows, name).write.format("delta").mode("append").save(path)

    def replace(self, rows: DataFrame, name: str, path: str, where: str, note: str) -> None:
        writer = tables.conformed(rows, name).write.format("delta").mode("overwrite").option("replaceWhere", where)
        noted = writer.option("userMetadata", note)
        despite_maintenance(name, lambda: noted.save(path))

    def overwrite(self, rows: DataFrame, name: str, path: str) -> None:
        writer = tables.conformed(rows, name).write.format("delta").mode("overwrite")
        writer.option("overwriteSchema", "true").save(path)

    def upsert(self, rows: DataFrame, name: str, path: str, key: str, version: int) -> None:
        view = f"changed_{name}"
        tables.conformed(rows, name).createOrReplaceTempView(view)
        statement = (
            f"MERGE INTO {tables.identifier(path)} AS known USING {view} AS changed ON known.{key} = changed.{key} "
            "WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"
        )
        try:
            # MERGE takes the table as it is when it begins, and refuses only what is committed from then on.
            if tables.newest_version(self._spark, path, version) != version:
                raise TableMovedError(path)
            self._spark.sql(statement)
        except (PySparkException, Py4JJavaError) as error:
            if is_conflict(error):
                raise TableMovedError(path) from error
            raise
        finally:
            self._spark.catalog.dropTempView(view)

    def delete(self, path: str) -> None:
        gateway: Any = self._spark.sparkContext._jvm
        place = gateway.org.apache.hadoop.fs.Path(path)
        files = place.getFileSystem(self._spark.sparkContext._jsc.hadoopConfiguration())
        files.delete(place, True)
        parent = place.getParent()
        if files.exists(parent) and not files.listStatus(parent):
            files.delete(parent, False)

    def conformed(self, rows: DataFrame, name: str) -> DataFrame:
        return tables.conformed(rows, name)

    def local_rows(self, rows: Sequence[Sequence[Any]], schema: StructType) -> DataFrame:
        return local_rows(self._spark, rows, schema)

    def held(self, frame: DataFrame) -> DataFrame:
        return held(frame)

    def kept(self, frame: DataFrame) -> tuple[DataFrame, Release]:
        held = frame.persist(StorageLevel.MEMORY_AND_DISK)
        return held, held.unpersist

    def kept_rows(self, frame: DataFrame) -> tuple[DataFrame, Release]:
        return self.fixed(frame) if self._is_alone() else self.kept(frame)

    def fixed(self, frame: DataFrame) -> tuple[DataFrame, Release]:
        # An executor may be lost with what it holds: twice held, the batch goes on; else it fails and is run again.
        # As they are: pyspark's own levels put each row through Java's serialization, at each reading too.
        level = StorageLevel(True, True, False, True, 1 if self._is_alone() else 2)
        held = frame.localCheckpoint(eager=False, storageLevel=level)
        return held, lambda: held._jdf.queryExecution().logical().rdd().unpersist(False)

    def _is_alone(self) -> bool:
        """Whether driver and executor are one process."""
        return bool(re.match(r"local(\[|$)", self._spark.sparkContext.master or ""))

    def settled(self, frame: DataFrame) -> tuple[DataFrame, Release]:
        return frame, lambda: None

    def with_digest(self, rows: DataFrame, name: str) -> DataFrame:
        fields = [f"`{field.name}`" for field in digested(name)]
        # As text, since each part of an expression built by calls is a call to the JVM of its own.
        nulls = ", ".join(f"if({field} is null, '0', '1')" for field in fields)
        chains = [F.expr(f"xxhash64({number}, concat({nulls}), {', '.join(fields)})") for number in CHAINS]
        parts = rows.withColumn(
            "digest", F.struct(*[c.alias(f"part_{n}") for n, c in zip(CHAINS, chains, strict=True)])
        )
        return parts.withColumn("digest", F.struct(*_halves(F.col("digest"))))

    def quick(self) -> AbstractContextManager[None]:
        return quick_plans(self._spark)


def _halves(digest: Column) -> list[Column]:
    halves = [
        half
        for number in CHAINS
        for half in (
            F.shiftrightunsigned(digest[f"part_{number}"], 32),
            digest[f"part_{number}"].bitwiseAND(F.lit(0xFFFFFFFF)),
        )
    ]
    return [half.alias(name) for name, half in zip(HASH_SUMS, halves, strict=True)]
