"""The query `gather`: what several match applications gave, each in tables of its own, into gold as one.

Two applications that write one table lose rows on S3, and their merges undo each other's work elsewhere. So each group
has its own tables of verdicts and exceptions, and this query, in one application, brings gold up to all of them.
"""

import json
from datetime import UTC, datetime, time
from functools import reduce
from threading import Lock
from typing import Any

from pyspark.sql import DataFrame, Row, SparkSession, Window
from pyspark.sql import functions as F

from jobs.common import tables
from jobs.common.groups import parts_of
from jobs.common.kept import Kept
from jobs.common.lake import open_table
from jobs.common.log import get_logger
from jobs.common.session import quick_plans
from jobs.common.settings import Settings
from jobs.streaming.batch import batch_moment
from jobs.streaming.hourly import HourlySummary
from jobs.streaming.nrt_exceptions import merge
from jobs.streaming.taken_in import notes_of, writer_of

log = get_logger(__name__)

_RESULTS, _EXCEPTIONS = "nrt_results", "nrt_exceptions"
#: Up to so many rows a batch's plans are interpreted.
_FEW = 20_000


def gathered(spark: SparkSession, settings: Settings) -> DataFrame:
    """What is new in the groups' tables: `verdict` or `exception`, a row of the table as a struct; the other is null.

    An exception comes with `changed_in`, the version of its table that it is of. Rows that `reco maintain` removed
    because of their age are gone for the group alone.
    """
    verdict, exception = (tables.row_type(name) for name in (_RESULTS, _EXCEPTIONS))
    nothing = F.lit(None)
    parts = []
    for part in parts_of(settings):
        results = spark.readStream.format("delta").option("skipChangeCommits", "true").load(part.table_path(_RESULTS))
        parts.append(
            results.select(
                F.struct(*verdict.fieldNames()).alias("verdict"),
                nothing.cast(exception).alias("exception"),
                nothing.cast("bigint").alias("changed_in"),
            )
        )
        changes = spark.readStream.format("delta").option("readChangeFeed", "true").load(part.table_path(_EXCEPTIONS))
        parts.append(
            changes.where(F.col("_change_type").isin("insert", "update_postimage")).select(
                nothing.cast(verdict).alias("verdict"),
                F.struct(*exception.fieldNames()).alias("exception"),
                F.col("_commit_version").alias("changed_in"),
            )
        )
    return reduce(DataFrame.unionByName, parts)


class Gatherer:
    """Brings gold up to a micro-batch of `gathered`. `checkpoint`: of the query."""

    def __init__(self, spark: SparkSession, settings: Settings, checkpoint: str) -> None:
        self._spark, self._settings, self._checkpoint = spark, settings, checkpoint
        self._lock = Lock()
        self._summary = HourlySummary(spark, settings)
        #: As whom verdicts are written: see `writer_of`.
        self._writer: str | None = None
        #: From when on gold was looked at, and of when its newest verdict was then; microseconds since 1970.
        self._looked_from: int | None = None
        self._given_to: int | None = None

    def __call__(self, batch: DataFrame, batch_id: int) -> None:
        """Gather one micro-batch (what `foreachBatch` calls)."""
        spark = batch.sparkSession
        query = str(spark.sparkContext.getLocalProperty("sql.streaming.queryId"))
        _, at = batch_moment(spark, self._checkpoint, batch_id)
        with self._lock, Kept() as kept:
            held = kept.fixed(batch)
            with quick_plans(spark):
                counts = F.count("verdict").alias("verdicts"), F.count("exception").alias("changes")
                counted = held.agg(*counts, F.min(F.unix_micros("verdict.verdict_at")).alias("first"))
                told = counted.collect()[0].asDict()
                first = told.pop("first")
            if sum(told.values()) <= _FEW:
                with quick_plans(spark):
                    self._gather(spark, held, kept, query, batch_id, told, first)
            else:
                self._gather(spark, held, kept, query, batch_id, told, first)
            self._summary.keep(spark, at)
        log.info("gathered", query="gather", batch=batch_id, **told)

    def look(self) -> None:
        """Between micro-batches, which come only with news: an hour that is over is summarised all the same."""
        if self._lock.acquire(blocking=False):
            try:
                self._summary.keep(self._spark, datetime.now(UTC))
            finally:
                self._lock.release()

    def _gather(
        self,
        spark: SparkSession,
        held: DataFrame,
        kept: Kept,
        query: str,
        batch_id: int,
        told: dict[str, int],
        first: int | None,
    ) -> None:
        path = self._settings.table_path(_RESULTS)
        if told["verdicts"]:
            verdicts = held.where(F.col("verdict").isNotNull()).select("verdict.*")
            if first is None or self._may_have(spark, first):
                verdicts = kept.fixed(self._unknown(spark, verdicts))
            for hour in verdicts.select("verdict_date", "verdict_hour").distinct().collect():
                self._summary.gave(_beginning(hour))
            writer = tables.conformed(verdicts, _RESULTS).write.format("delta").mode("append")
            writer = writer.option("userMetadata", json.dumps(self._note(query, batch_id)))
            writer.option("txnAppId", f"nrt_results-{self._writer}").option("txnVersion", batch_id).save(path)
        if told["changes"]:
            merge(spark, self._settings.table_path(_EXCEPTIONS), kept.fixed(_newest(held)))

    def _note(self, query: str, batch_id: int) -> dict[str, str | int]:
        if self._writer is None:
            notes = [note for note in notes_of(open_table(self._settings, _RESULTS)) if note["query"] == query]
            # Whatever of it gold has is left out already, so that a batch that is run again needs not be told apart.
            self._writer = writer_of(query, batch_id, notes, is_again=False)
        return {"query": query, "batch": batch_id, "writer": self._writer}

    def _may_have(self, spark: SparkSession, first: int) -> bool:
        """Whether gold may have verdicts of a batch whose first was given at that time, microseconds since 1970.

        From a new checkpoint, or one that goes on with its replay, comes once more what gold was told of the group or
        has gathered before. In which order nobody says: maintenance puts files together, and removes the oldest rows.
        """
        if self._looked_from is None or first < self._looked_from:
            day = F.to_date(F.timestamp_micros(F.lit(first)))
            there = tables.read(spark, self._settings.table_path(_RESULTS)).where(F.col("verdict_date") >= day)
            self._given_to = there.agg(F.max(F.unix_micros("verdict_at"))).collect()[0][0]
            self._looked_from = first
        return self._given_to is not None and first <= self._given_to

    def _unknown(self, spark: SparkSession, verdicts: DataFrame) -> DataFrame:
        first = verdicts.agg(F.min("verdict_date")).collect()[0][0]
        there = tables.read(spark, self._settings.table_path(_RESULTS)).where(F.col("verdict_date") >= F.lit(first))
        known = there.select("result_id").join(verdicts.select("result_id"), on="result_id", how="left_semi")
        return verdicts.join(known, on="result_id", how="left_anti")


def _newest(held: DataFrame) -> DataFrame:
    """Of each exception its newest row; a key is of one group, so one table's versions tell which."""
    last = Window.partitionBy("exception.exception_id").orderBy(F.col("changed_in").desc())
    changes = held.where(F.col("exception").isNotNull()).withColumn("place", F.row_number().over(last))
    return tables.conformed(changes.where(F.col("place") == 1).select("exception.*"), _EXCEPTIONS)


def _beginning(hour: Row | Any) -> datetime:
    return datetime.combine(hour["verdict_date"], time(hour["verdict_hour"], tzinfo=UTC))
