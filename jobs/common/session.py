"""The Spark session: UTC, ANSI, Delta, and nothing that the platform has already set."""

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyspark
from pyspark.sql import SparkSession

from jobs.common.jars import class_archive
from jobs.common.jvm_calls import look_up_once
from jobs.common.lake_root import SCHEME
from jobs.common.settings import Settings

#: What every session of ours must have, wherever it runs; set at run time, so that a cluster's session has it too.
SQL_CONF = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    # Keys are nearly unique: limiting groups before the shuffle only costs.
    "spark.sql.optimizer.windowGroupLimitThreshold": "-1",
    # Per-key aggregates hold objects; they run on rows already sorted by key, so hashing them again only costs.
    "spark.sql.execution.useObjectHashAggregateExec": "false",
    # HotSpot compiles no longer method (in bytes); a stage that has one runs faster operator by operator, all compiled.
    "spark.sql.codegen.hugeMethodLimit": "8000",
    # No join of ours prunes partitions: what is read of a table is said where it is read. To look for one, each key of
    # a join is written out down to the columns of its table, and those of a parsed record take minutes.
    "spark.sql.optimizer.dynamicPartitionPruning.enabled": "false",
    # Without, all rows are sorted by the partition that they go to, which is one or few: a day, or an hour or two.
    "spark.sql.maxConcurrentOutputFileWriters": "4",
    # What the text of a plan never shows of the options of its sources: by their names, and by what they hold.
    "spark.sql.redaction.options.regex": "(?i)url|secret|password|token|jaas|keystore",
    "spark.sql.redaction.string.regex": r'(?<=password=")(?:[^"\\]|\\.)*|-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*',
    "spark.databricks.delta.schema.autoMerge.enabled": "false",
    "spark.databricks.delta.properties.defaults.enableDeletionVectors": "false",
    # Spark 4.1's Kafka source fails once after a restart on an uncommitted batch where this reader is on.
    "spark.sql.streaming.disabledV2MicroBatchReaders": "org.apache.spark.sql.kafka010.KafkaSourceProvider",
}

#: A dictionary of values that come once is made, and then thrown away. Not Spark's own names: it would warn of them
#: where they are set before it runs.
_PARQUET_CONF = {
    f"parquet.enable.dictionary#{name}": "false" for name in ("value", "event_id", "activity_id", "offset")
}

#: The same of the settings that its web pages and logs show.
_REDACTED = "(?i)secret|password|token|access[.]?key|jaas|keystore"

_QUICK_CONF = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
    # A plan is also described for the web page of queries, a sixth of a small batch's time in the long form.
    "spark.sql.ui.explainMode": "simple",
}

_COMPILED_CONF = {"spark.sql.codegen.wholeStage": "true", "spark.sql.codegen.factoryMode": "FALLBACK"}

#: What must be there before the session is: set here for a local run, by spark-submit on a cluster.
STATIC_CONF = {
    "spark.redaction.regex": _REDACTED,
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.ui.showConsoleProgress": "false",
    # A close has some 240 generated classes. With room for 100, Spark's default, the next close or batch finds none of
    # them again, and each is compiled anew: three tenths of a warm close's time.
    "spark.sql.codegen.cache.maxEntries": "4000",
    # Else each call on a Column asks the JVM half a dozen times to note the line of Python it stands in.
    "spark.python.sql.dataFrameDebugging.enabled": "false",
}

#: Avro makes room for what a datum says of its own length: without a limit five bad bytes take all of a JVM's memory.
#: No record is over 1 MiB. They are for the JVM that runs tasks, and are read when it starts.
AVRO_LIMITS = tuple(
    f"-Dorg.apache.avro.limits.{kind}.maxLength=1048576" for kind in ("string", "bytes", "collectionItems")
)

_LOCAL_CONF = {
    "spark.ui.enabled": "false",
    # Without that page nobody sees how plans are described, a seventh of a small batch's time in the long form.
    "spark.sql.ui.explainMode": "simple",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    # One machine, small plans: fewer threads and less memory for the same work.
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",
}

#: The first compiler alone: two thirds of the processor time of a session that only starts and looks at a few records.
_BRIEF_JAVA = ("-XX:TieredStopAtLevel=1",)

LOCAL_JAVA = ("-Duser.timezone=UTC", "-XX:+UseParallelGC", "-XX:-UsePerfData", *AVRO_LIMITS)


#: What Spark tells a task's failure by.
_TASK_LOGS = ("org.apache.spark.executor.Executor", "org.apache.spark.scheduler.TaskSetManager")


def spark_session(app: str, settings: Settings, *, is_brief: bool = False) -> SparkSession:
    """The session of a job: the one spark-submit brought, or a new one on this machine with our jars.

    `is_brief`: it is over after some small plans, so that a JVM of its own need not compile well.
    """
    builder = SparkSession.builder.appName(app)
    for key, value in STATIC_CONF.items():
        builder = builder.config(key, value)
    if settings.spark.master and "SPARK_ENV_LOADED" not in os.environ:
        builder = builder.master(settings.spark.master).config("spark.driver.memory", settings.spark.driver_memory)
        builder = builder.config("spark.driver.extraClassPath", os.pathsep.join(map(str, _jars(settings))))
        java = [*LOCAL_JAVA, *_archived_classes(), *(_BRIEF_JAVA if is_brief else ())]
        builder = builder.config("spark.driver.extraJavaOptions", " ".join(java))
        for key, value in {**_LOCAL_CONF, **_warehouse_conf(settings), **_renaming_conf(settings)}.items():
            builder = builder.config(key, value)
    builder = builder.config("spark.sql.shuffle.partitions", str(settings.spark.shuffle_partitions))
    for key, value in {**SQL_CONF, **_s3_conf(settings), **settings.spark.conf}.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    for key, value in {**SQL_CONF, **_PARQUET_CONF}.items():
        session.conf.set(key, settings.spark.conf.get(key, value))
    session.sparkContext.setLogLevel("WARN")
    look_up_once(session)
    return session


def lacks_avro_limits(spark: SparkSession) -> str | None:
    """What to set, and where, so that Avro can be read safely; None where it is set."""
    of = "driver" if _is_local(spark) else "executor"
    name = f"spark.{of}.extraJavaOptions"
    missing = [limit for limit in AVRO_LIMITS if limit.partition("=")[0] not in str(spark.conf.get(name, ""))]
    return f"{name} needs {' '.join(missing)}" if missing else None


@contextmanager
def quick_plans(spark: SparkSession) -> Iterator[None]:
    """Plans over a handful of rows are interpreted: compiling them and planning them anew would take longer."""
    with _set(spark, _QUICK_CONF):
        yield


@contextmanager
def compiled_plans(spark: SparkSession) -> Iterator[None]:
    """The contrary of `quick_plans`, within it: a plan over a whole table is worth its compilation."""
    with _set(spark, _COMPILED_CONF):
        yield


@contextmanager
def recorded(spark: SparkSession) -> Iterator[None]:
    """A write to a Delta table is a commit, also where it has no row, so that its version tells that it was done."""
    with _set(spark, {"spark.databricks.delta.skipRecordingEmptyCommits": "false"}):
        yield


@contextmanager
def _set(spark: SparkSession, conf: Mapping[str, str]) -> Iterator[None]:
    before = {name: spark.conf.get(name, None) for name in conf}
    try:
        for name, value in conf.items():
            spark.conf.set(name, value)
        yield
    finally:
        for name, was in before.items():
            spark.conf.unset(name) if was is None else spark.conf.set(name, was)


@contextmanager
def untold_tasks(spark: SparkSession) -> Iterator[None]:
    """On this machine a task that fails is not tried again: what it raises ends the command and is in its sentence,
    before which Spark would tell the whole of it twice.
    """
    if not _is_local(spark):
        yield
        return
    from py4j.protocol import Py4JError  # where the rules are tested by DuckDB alone there is none

    log4j: Any = spark.sparkContext._jvm.org.apache.logging.log4j  # type: ignore[union-attr]
    before = {name: log4j.LogManager.getLogger(name).getLevel() for name in _TASK_LOGS}
    try:
        for name in before:
            log4j.core.config.Configurator.setLevel(name, log4j.Level.OFF)
        yield
    finally:
        with suppress(Py4JError):  # of a JVM that has died the command's own error is to be told
            for name, level in before.items():
                log4j.core.config.Configurator.setLevel(name, level)


def _is_local(spark: SparkSession) -> bool:
    return re.match(r"local(\[|$)", spark.sparkContext.master or "") is not None


def local_session(app: str, settings: Settings | None = None) -> SparkSession:
    """A session on this machine, for tests and notebooks."""
    return spark_session(app, settings or Settings())


def _archived_classes() -> list[str]:
    """Java's options for classes that need not be parsed and verified anew; a JVM they don't fit does without."""
    archive = class_archive()
    return [f'"-XX:SharedArchiveFile={archive}"', "-Xlog:disable", "-Xlog:all=error:stderr"] if archive.exists() else []


def _jars(settings: Settings) -> list[str | Path]:
    if settings.spark.jars is not None:
        return list(settings.spark.jars)
    from jobs.common.jars import s3_jars, spark_jars

    return [*spark_jars(), *(s3_jars() if _is_on_s3(settings) else [])]


def _is_on_s3(settings: Settings) -> bool:
    return any(root.startswith("s3a://") for root in (settings.lake.root, settings.stream.checkpoint_root))


def _warehouse_conf(settings: Settings) -> dict[str, str]:
    """Spark makes a folder for tables of its catalog, where it stands; ours have paths, so that it stays empty."""
    if not settings.spark.master or not settings.spark.master.startswith("local"):
        return {}
    return {"spark.sql.warehouse.dir": str(Path(tempfile.gettempdir(), f"reco-spark-warehouse-{os.getuid()}"))}


def _renaming_conf(settings: Settings) -> dict[str, str]:
    """How checkpoints and Delta's checksums get their names where they are folders of this machine.

    By Spark's own choice Hadoop starts a process (`readlink`) for each name that it looks at, a hundred in a
    micro-batch; this way it asks the system. Either looks whether the name is free, then renames.
    """
    if not settings.is_local_lake or SCHEME.match(settings.stream.checkpoint_root):
        return {}
    is_older = tuple(int(part) for part in pyspark.__version__.split(".")[:2]) < (4, 1)
    package = "org.apache.spark.sql.execution.streaming" + ("" if is_older else ".checkpointing")
    return {"spark.sql.streaming.checkpointFileManagerClass": f"{package}.FileSystemBasedCheckpointFileManager"}


def _s3_conf(settings: Settings) -> dict[str, str]:
    """The variables that deltalake goes by tell Spark of another endpoint than Amazon's too."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    if not endpoint or not _is_on_s3(settings):
        return {}
    return {"spark.hadoop.fs.s3a.endpoint": endpoint, "spark.hadoop.fs.s3a.path.style.access": "true"}
