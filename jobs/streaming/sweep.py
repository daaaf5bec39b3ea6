"""The net under the join: keys that no trigger called for, by silver and the exceptions themselves."""

from datetime import UTC, datetime, time, timedelta

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.common import tables
from jobs.common.expired_mark import expired_before
from jobs.common.kept import Kept
from jobs.common.lake import open_table
from jobs.common.settings import Settings
from jobs.streaming.batch import BROADCAST, Batch
from jobs.streaming.groups import only_mine
from jobs.streaming.match import LONGEST_GRACE
from jobs.streaming.verdicts import Moment
from reco_rules.latest import VERSION_ORDER
from reco_rules.vocabulary import KEY, Mode
from reco_rules.waiting import deadline

_AGAIN = timedelta(minutes=1)


class Sweeper:
    """Remembers when it last swept, and under which policies and rates.

    It sweeps when a process starts, every so many minutes, and when the join let go of rows that came too late for it:
    once a minute where it does so again and again, as with heartbeats of one that is half a day behind another.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._swept_at: datetime | None = None
        self._watermark: datetime | None = None
        self._references: object = None
        self._has_dropped, self._swept_for_it_at = False, datetime.fromtimestamp(0, UTC)

    def is_due(self, at: datetime, has_dropped: bool) -> bool:
        """Whether a batch without rows is worth a sweep. `has_dropped`: the batch before let go of late rows."""
        self._has_dropped |= has_dropped
        if self._swept_at is None:
            return True
        minutes = self._settings.stream.sweep_minutes
        is_time = bool(minutes) and at - self._swept_at >= timedelta(minutes=minutes)
        return is_time or (self._has_dropped and at - self._swept_for_it_at >= _AGAIN)

    def judges_anew(self, references: object) -> bool:
        """Whether the last batch of this process, if there was one, judged by other policies or rates."""
        return references != self._references

    def keys(self, spark: SparkSession, remembered: DataFrame, batch: Batch) -> list[DataFrame]:
        """Keys to judge anew, with `known_since`. `remembered`: what `remembered_keys` gives.

        What is pending past its time; all exceptions that are not resolved, where they were last judged by other
        policies or rates, or by another process; and, on a sweep, what silver has that no verdict knows.
        """
        if self.judges_anew(batch.moment.references):
            found = [self.kept(remembered.where("is_unresolved"))]
        else:
            found = [remembered.where(F.col("pending_until") <= F.lit(batch.moment.watermark))]
        if batch.is_due:
            found += self._forgotten(spark, batch.moment, batch.kept)
        return [frame.select(*KEY, "known_since") for frame in found]

    def kept(self, remembered: DataFrame) -> DataFrame:
        """Without those of whose events retention may have removed some: what is left tells of other breaks."""
        silver = open_table(self._settings, "activity")
        before = None if silver is None else expired_before(silver)
        if before is None:
            return remembered
        return remembered.where(F.col("known_since") >= F.lit(datetime.combine(before, time(tzinfo=UTC))))

    def done(self, moment: Moment, was_due: bool) -> None:
        """The batch's verdicts are written."""
        if was_due:
            if self._has_dropped:
                self._has_dropped, self._swept_for_it_at = False, moment.at
            self._swept_at, self._watermark = moment.at, moment.watermark
        self._references = moment.references

    def _forgotten(self, spark: SparkSession, moment: Moment, kept: Kept) -> list[DataFrame]:
        """Near-real-time keys with an event that no verdict knows, its grace ended since the last sweep; if any."""
        horizon = moment.watermark - timedelta(hours=self._settings.stream.nrt_horizon_hours)
        # What was dropped may be of any time within the horizon.
        since = max(self._watermark, horizon) if self._watermark and not self._has_dropped else horizon
        silver = only_mine(self._settings, tables.read(spark, self._settings.table_path("activity")))
        ends = deadline(F.col("kafka_time"), F.col("grace_seconds"))
        is_due = (F.col("mode") == Mode.NRT_HOURLY.value) & (ends > F.lit(since)) & (ends <= F.lit(moment.watermark))
        recent = silver.where(F.col("kafka_time") >= F.lit(horizon))
        # No grace is longer, so files of any other time need not be read for these.
        is_near = F.col("kafka_time").between(F.lit(since - timedelta(seconds=LONGEST_GRACE)), F.lit(moment.watermark))
        due = kept.fixed(recent.where(is_near & is_due).groupBy(*KEY).agg(F.min("kafka_time").alias("known_since")))
        count = due.count()
        if not count:
            return []
        few = F.broadcast(due) if count <= BROADCAST else due
        first = recent.join(few, on=list(KEY), how="inner").groupBy(*KEY, "known_since", "source", *VERSION_ORDER)
        events = first.agg(F.min("kafka_time").alias("published"))
        counted = events.groupBy(*KEY, "known_since").agg(
            F.max("published").alias("newest"), F.count(F.lit(1)).alias("events")
        )
        results = tables.read(spark, self._settings.table_path("nrt_results"))
        given = results.where(F.col("published_at") >= F.lit(horizon))
        known = (
            given.join(few.select(*KEY), on=list(KEY), how="left_semi")
            .groupBy(*KEY)
            .agg(
                F.max_by(F.col("agoda_events") + F.col("supplier_events"), "verdict_at").alias("known"),
                F.max("published_at").alias("until"),
            )
        )
        both = counted.join(known, on=list(KEY), how="left")
        # A verdict may have counted events from before the horizon: its newest tells what it cannot know.
        is_newer = F.col("newest") > F.col("until")
        return [both.where(F.col("known").isNull() | is_newer | (F.col("events") > F.col("known")))]
