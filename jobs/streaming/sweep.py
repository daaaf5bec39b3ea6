"""The net under the join: keys that no trigger called for, by silver and the exceptions themselves."""

from datetime import datetime, timedelta

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.common import tables
from jobs.common.settings import Settings
from jobs.streaming.nrt_exceptions import unresolved_keys
from jobs.streaming.verdicts import Moment
from jobs.streaming.waiting import deadline
from reco_rules.vocabulary import KEY, Mode


class Sweeper:
    """Remembers when it last swept, and under which policies: at the start, and under new ones, it sweeps at once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._swept_at: datetime | None = None
        self._watermark: datetime | None = None
        self._policy_version: int | None = None

    def is_due(self, at: datetime) -> bool:
        """Whether a batch without rows is worth a sweep."""
        every = timedelta(minutes=self._settings.stream.sweep_minutes)
        return bool(every) and (self._swept_at is None or at - self._swept_at >= every)

    def keys(self, spark: SparkSession, moment: Moment) -> list[DataFrame]:
        """Keys to judge anew, with `known_since`.

        What is pending past its time; on a sweep, what silver has and no verdict was given on; and all exceptions that
        are not resolved, where they were last judged by other policies or by another process.
        """
        settings = self._settings
        if not settings.stream.sweep_minutes:
            return []
        rows = tables.read(spark, settings.table_path("nrt_exceptions"))
        found = [rows.where((F.col("state") == "PENDING") & (F.col("pending_until") <= F.lit(moment.watermark)))]
        if moment.policies.version != self._policy_version:
            found.append(unresolved_keys(spark, settings))
        if self.is_due(moment.at):
            found.append(self._forgotten(spark, moment))
        return [frame.select(*KEY, "known_since") for frame in found]

    def done(self, moment: Moment) -> None:
        """The batch's verdicts are written."""
        if self.is_due(moment.at):
            self._swept_at, self._watermark = moment.at, moment.watermark
        self._policy_version = moment.policies.version

    def _forgotten(self, spark: SparkSession, moment: Moment) -> DataFrame:
        """Near-real-time keys whose grace ended since the last sweep, or within the horizon, without any verdict."""
        horizon = moment.watermark - timedelta(hours=self._settings.stream.nrt_horizon_hours)
        since = max(self._watermark, horizon) if self._watermark else horizon
        silver = tables.read(spark, self._settings.table_path("activity"))
        ends = deadline(F.col("kafka_time"), F.col("grace_seconds"))
        recent = silver.where((F.col("kafka_time") >= F.lit(horizon)) & (F.col("mode") == Mode.NRT_HOURLY.value))
        due = (
            recent.where((ends > F.lit(since)) & (ends <= F.lit(moment.watermark)))
            .groupBy(*KEY)
            .agg(F.min("kafka_time").alias("known_since"))
        )
        given = tables.read(spark, self._settings.table_path("nrt_results")).where(
            F.col("published_at") >= F.lit(horizon)
        )
        return due.join(given.select(*KEY), on=list(KEY), how="left_anti")
