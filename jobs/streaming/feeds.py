"""When each supplier was last heard, and which of them have been quiet for longer than is usual of them."""

from collections.abc import Mapping
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from jobs.common import tables
from jobs.common.local_rows import local_rows
from jobs.common.session import compiled_plans
from jobs.common.settings import Settings
from jobs.streaming.groups import only_mine
from jobs.streaming.verdicts import Moment
from reco_rules.identity import digest
from reco_rules.policy import with_policy
from reco_rules.silence import is_silent, silence_limit, usual_gaps
from reco_rules.vocabulary import FEED_SILENT, Mode, Side
from schemas.types import LONG

#: A feed that is silent: `usual_gaps`, how long it may be quiet, its supplier's grace and its exception's id.
FEED = (
    "supplier_id string, last_event timestamp, usual_gap_seconds decimal(18,3), daily_gap_seconds decimal(18,3), "
    "limit_seconds decimal(18,3), grace_seconds bigint, exception_id string"
)
_GAPS = "supplier_id string, last_event timestamp, usual_gap_seconds decimal(18,3), daily_gap_seconds decimal(18,3)"
#: How far an event's own time may lie after its publication, and the reading clock may be set back.
_AHEAD, _CLOCKS = timedelta(minutes=5), timedelta(minutes=10)

#: From so many bytes of silver on, reading all of it is worth a compiled plan.
_LARGE = 50_000_000


class Feeds:
    """Remembers, of each supplier, the newest delivery, and what is usual of those that were looked into."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._days = timedelta(days=settings.stream.silence_learn_days)
        self._read_to: datetime | None = None
        self._newest: dict[str, datetime] = {}
        self._surely: dict[str, datetime] = {}
        self._usual: dict[str, tuple[datetime, tuple[Any, ...]]] = {}

    def silent(self, spark: SparkSession, moment: Moment, told: Mapping[str, datetime]) -> list[Row]:
        """The feeds that are silent, rows of `FEED`.

        `told`: the last event of each that was called silent before; without another event it is so still.
        """
        self._listen(spark, moment.watermark)
        quiet = {**told, **self._quiet(moment.watermark)}
        for supplier in set(told) & set(self._newest):
            quiet[supplier] = self._newest[supplier]
        gaps = self._learned(spark, {s: t for s, t in quiet.items() if _is_near(moment, s)})
        if not gaps:
            return []
        was = [(*row, told.get(row[0])) for row in gaps]
        rows = local_rows(spark, was, f"{_GAPS}, told timestamp")
        stamped = with_policy(rows, moment.policies.rows(spark), moment.policies.defaults, {"grace_seconds": LONG})
        floor = F.lit(60 * self._settings.stream.silence_floor_minutes)
        limit = silence_limit(F.col("usual_gap_seconds"), F.col("daily_gap_seconds"), floor)
        limited = stamped.withColumn("limit_seconds", limit)
        stays = F.coalesce(F.col("last_event") <= F.col("told"), F.lit(False))
        now = limited.where(stays | is_silent(F.col("last_event"), F.lit(moment.watermark), F.col("limit_seconds")))
        exception_id = digest(F.col("supplier_id"), F.lit(None).cast("string"), F.lit(FEED_SILENT))
        names = [part.split()[0] for part in FEED.split(", ")]
        return now.withColumn("exception_id", exception_id).select(*names).orderBy("supplier_id").collect()

    def _deliveries(self, spark: SparkSession) -> DataFrame:
        rows = only_mine(self._settings, tables.read(spark, self._settings.table_path("activity")))
        return rows.where(F.col("source") == Side.SUPPLIER.value)

    def _listen(self, spark: SparkSession, watermark: datetime) -> None:
        """Read what came since the last time; at first, what was published within the days it learns from."""
        is_new = F.col("kafka_time") >= F.lit(watermark - self._days)
        if self._read_to is not None:
            is_new = F.col("ingested_at") >= F.lit(self._read_to - _CLOCKS)
        times = [F.max(name).alias(name) for name in ("kafka_time", "ingested_at")]
        # Python cannot reckon with times near the year 1, and what happened before 1970 was no sign of life either.
        times.append(F.max(F.greatest("event_time", F.timestamp_seconds(F.lit(0)))).alias("event_time"))
        all_there = self._deliveries(spark)
        heard = all_there.where(is_new).groupBy("supplier_id").agg(*times)
        for row in _collected(heard, all_there if self._read_to is None else None):
            supplier = row["supplier_id"]
            newest, happened, ingested = (
                row[time].astimezone(UTC) for time in ("kafka_time", "event_time", "ingested_at")
            )
            self._newest[supplier] = max(newest, self._newest.get(supplier, newest))
            self._surely[supplier] = max(happened, self._surely.get(supplier, happened))
            self._read_to = max(ingested, self._read_to or ingested)

    def _quiet(self, watermark: datetime) -> dict[str, datetime]:
        """The newest delivery of each supplier that is not known to have sent an event within the floor.

        No event is published before it happens, but for a clock that is ahead; a redelivery may be much later.
        """
        floor = timedelta(minutes=self._settings.stream.silence_floor_minutes)
        return {s: self._newest[s] for s, t in self._surely.items() if t - _AHEAD < watermark - floor}

    def _learned(self, spark: SparkSession, quiet: Mapping[str, datetime]) -> list[tuple[Any, ...]]:
        """`usual_gaps` of the days before each one's newest delivery; read once, until it is heard again."""
        new = {s: t for s, t in quiet.items() if s not in self._usual or self._usual[s][0] != t}
        if new:
            since = local_rows(
                spark, [(s, t - self._days) for s, t in new.items()], "supplier_id string, since timestamp"
            )
            first = F.lit(min(new.values()) - self._days)
            all_there = self._deliveries(spark)
            recent = all_there.where(F.col("kafka_time") >= first)
            mine = recent.join(F.broadcast(since), on="supplier_id", how="inner").where(
                F.col("kafka_time") >= F.col("since")
            )
            # Of what was called silent, retention may have left no row: nothing is usual then, and its silence goes on.
            self._usual |= {s: (t, (s, t, None, None)) for s, t in new.items()}
            for row in _collected(usual_gaps(mine), all_there):
                self._usual[row["supplier_id"]] = new[row["supplier_id"]], row
        return [self._usual[s][1] for s in sorted(quiet)]


def _collected(rows: DataFrame, whole: DataFrame | None) -> list[Row]:
    """The rows. `whole`: the table that much of is read for them, which is worth compiling where it is large."""
    size = 0 if whole is None else int(whole._jdf.queryExecution().analyzed().stats().sizeInBytes())
    with compiled_plans(rows.sparkSession) if size > _LARGE else nullcontext():
        return rows.collect()


def _is_near(moment: Moment, supplier: str) -> bool:
    modes = {row["supplier_id"]: row["mode"] for row in moment.policies.listed}
    return bool(modes.get(supplier, moment.policies.defaults["mode"]) == Mode.NRT_HOURLY.value)
