"""A micro-batch of `match` over the tables of one day and over those of many, in turn, in one warm JVM."""

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from bench.match import fresh, produce
from jobs.cli.broker import Broker
from jobs.common import tables
from jobs.common.kafka import topic_partitions
from jobs.common.settings import Settings
from jobs.maintain.main import maintain
from jobs.streaming.main import start_match, start_normalise
from jobs.streaming.settle import Settler

YOUNG = "tables of one day"
#: Commits that a day leaves in a table of the stream, as far as maintenance has not put files together.
FILES_A_DAY = 20


def rounds(
    spark: SparkSession,
    settings: Settings,
    broker: Broker,
    scratch: Path,
    events: int,
    days: int,
    count: int,
    *,
    maintained: bool = False,
) -> dict[str, list[float]]:
    """Seconds of `count` small batches (100 activities) over each lake.

    The first day has `events` activities; the older lake has as many on each of the days before. `maintained`: it was
    put in order by `reco maintain`, once.
    """
    old = f"tables of {days} days{', maintained' if maintained else ''}"
    lakes = {old: days, YOUNG: 1}
    # Maintenance puts a day's files together, however many they were.
    files = 2 if maintained else FILES_A_DAY
    told = {name: _lake(spark, settings, broker, scratch / f"days{n}", events, n, files) for name, n in lakes.items()}
    if maintained:
        for report in maintain(told[old], datetime.now(UTC), vacuum_hours=0):
            print(f"ageing: {report.table} {report.before.files} files, then {report.after.files}", flush=True)
    settlers = {name: Settler(spark, its, f"{its.stream.checkpoint_root}/match") for name, its in told.items()}
    seconds: dict[str, list[float]] = {name: [] for name in told}
    for number in range(count + 3):
        for name, its in told.items():
            produce(its, 100, datetime.now(UTC), events + 100 * (number + 1))
            _normalise(spark, its)
            started = time.monotonic()
            start_match(spark, its, available_now=True, settler=settlers[name]).awaitTermination()
            taken = time.monotonic() - started
            print(f"ageing round {number} {name}: {taken:.2f} s", flush=True)
            if number >= 3:
                seconds[name].append(taken)
    ratio = statistics.median(seconds[old]) / statistics.median(seconds[YOUNG])
    print(f"ageing: {ratio:.2f} times the first day's", flush=True)
    return seconds


def _lake(
    spark: SparkSession, settings: Settings, broker: Broker, root: Path, events: int, days: int, files: int
) -> Settings:
    """A lake whose last day went through the stream; each day before is the same, under other keys."""
    told = fresh(settings, broker, root, f"ageing{days}")
    produce(told, events, datetime.now(UTC) - timedelta(hours=2))
    produce(told, 10, datetime.now(UTC), events)  # all graces of the first have passed
    _normalise(spark, told)
    start_match(spark, told, available_now=True).awaitTermination()
    for name in ("activity", "nrt_results", "nrt_exceptions"):
        _repeat(spark, told, name, days, files)
    return told


def _normalise(spark: SparkSession, settings: Settings) -> None:
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)  # noqa: E731
    start_normalise(spark, settings, topic_partitions(settings), available_now=True, clock=clock).awaitTermination()


def _repeat(spark: SparkSession, settings: Settings, name: str, days: int, files: int) -> None:
    """Append the rows again for each day before, as of then, so many files a day; exceptions were resolved then."""
    path, day = settings.table_path(name), F.col("days_before")
    before = spark.range(1, days).select(F.col("id").cast("int").alias("days_before"))
    moved = spark.read.format("delta").load(path).crossJoin(F.broadcast(before))
    moved = moved.withColumn("activity_id", F.concat(F.lit("D"), day, F.lit("-"), "activity_id"))
    for field in tables.read(spark, path).schema.fields:
        kind = field.dataType.simpleString()
        if kind == "timestamp":
            moved = moved.withColumn(field.name, F.col(field.name) - F.make_dt_interval(days=day))
        elif kind == "date":
            moved = moved.withColumn(field.name, F.date_sub(field.name, day))
    for key in ("result_id", "exception_id", "judged_by"):
        if key in moved.columns:
            moved = moved.withColumn(key, F.sha2(F.concat(day, F.lit("-"), key), 256))
    if name == "nrt_exceptions":
        moved = moved.withColumn("resolved_at", F.coalesce("resolved_at", "first_seen_at"))
        moved = moved.withColumn("state", F.lit("RESOLVED"))
    spread = moved.repartition(64, day, F.pmod(F.xxhash64("activity_id"), F.lit(files)))
    # Appended without an application id, so that the stream's own appends go on undisturbed.
    tables.conformed(spread, name).write.format("delta").mode("append").save(path)
