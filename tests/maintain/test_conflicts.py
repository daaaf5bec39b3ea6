"""A job whose files maintenance has just put together writes again; any other failure stays one."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.common import tables
from jobs.common.conflicts import TRIES, despite_maintenance
from jobs.common.settings import Lake, Settings
from jobs.maintain.main import maintain
from jobs.streaming import nrt_exceptions
from schemas.tables import TABLES


def appended(spark: SparkSession, path: str, exception_id: str, state: str) -> None:
    told = {"exception_id": f"'{exception_id}'", "state": f"'{state}'"}
    fields = TABLES["nrt_exceptions"].schema.fields
    columns = [f"cast({told.get(f.name, 'null')} as {f.dataType.simpleString()}) as `{f.name}`" for f in fields]
    spark.range(1).selectExpr(*columns).write.format("delta").mode("append").save(path)


def stale_commit(spark: SparkSession, settings: Settings, path: str) -> None:
    """A transaction that has read all files when maintenance comes, and replaces them then."""
    jvm: Any = spark._jvm
    none = getattr(jvm.scala, "None$").__getattr__("MODULE$")
    log = jvm.org.apache.spark.sql.delta.DeltaLog.forTable(spark._jsparkSession, path)
    transaction = log.startTransaction(none, none)
    read = transaction.filterFiles()
    maintain(settings, datetime.now(UTC), ["nrt_exceptions"])
    removed = read.head().remove()
    actions = getattr(jvm.scala.collection.immutable, "Nil$").__getattr__("MODULE$").prepended(removed)
    manual = getattr(jvm.org.apache.spark.sql.delta, "DeltaOperations$ManualUpdate$").__getattr__("MODULE$")
    transaction.commit(actions, manual)


def test_a_write_that_met_maintenance_is_done_again(spark: SparkSession, tmp_path: Path) -> None:
    settings = Settings(lake=Lake(root=str(tmp_path)))
    path = tables.ensure_table(spark, settings, "nrt_exceptions")
    for name in ("a", "b"):
        appended(spark, path, name, "OPEN")
    tried: list[str] = []

    def write() -> None:
        if not tried:
            tried.append("met")
            stale_commit(spark, settings, path)
        tried.append("written")
        resolved = tables.read(spark, path).where("exception_id = 'a'").withColumn("state", F.lit("RESOLVED"))
        nrt_exceptions.merge(spark, path, tables.conformed(resolved, "nrt_exceptions").localCheckpoint())

    despite_maintenance("nrt_exceptions", write)
    assert tried == ["met", "written"]
    found = {row["exception_id"]: row["state"] for row in tables.read(spark, path).collect()}
    assert found == {"a": "RESOLVED", "b": "OPEN"}


def test_other_failures_are_raised_and_conflicts_not_for_ever(spark: SparkSession) -> None:
    tried: list[int] = []

    def wrong() -> None:
        tried.append(1)
        spark.sql("select nothing from nowhere").collect()

    with pytest.raises(PySparkException):
        despite_maintenance("none", wrong)
    assert len(tried) == 1

    def always() -> None:
        tried.append(1)
        raise PySparkException("[DELTA_CONCURRENT_DELETE_READ] ConcurrentDeleteReadException")

    with pytest.raises((PySparkException, Py4JJavaError)):
        despite_maintenance("none", always)
    assert len(tried) == 1 + TRIES
