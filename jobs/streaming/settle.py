"""One micro-batch of `match`: what the join gave calls for verdicts; they are written, then exceptions, then told."""

import json
from collections.abc import Mapping
from contextlib import nullcontext
from datetime import UTC, date, datetime, timedelta
from functools import reduce

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from jobs.common import tables
from jobs.common.errors import UserError
from jobs.common.kept import Kept
from jobs.common.log import get_logger
from jobs.common.session import quick_plans
from jobs.common.settings import Settings
from jobs.streaming import verdicts
from jobs.streaming.in_force import References
from jobs.streaming.nrt_exceptions import keep_exceptions, unresolved_keys
from jobs.streaming.results import tell
from jobs.streaming.sweep import Sweeper
from jobs.streaming.verdicts import Moment
from jobs.streaming.waiting import deadline
from reco_rules.vocabulary import KEY, Side

log = get_logger(__name__)

_READ = (
    "heartbeat boolean, eventId string, activityId string, supplierId string, activityType string, "
    "amountMinor bigint, currency string, status string, version bigint, eventTime timestamp, "
    "publishedAt timestamp, graceSeconds bigint"
)
#: How far a producer's clock may run ahead of ours.
_CLOCKS = timedelta(minutes=10)
#: Up to so many rows a batch's plans are interpreted: they hold its times, and would be compiled for it alone.
FEW = 20_000
#: Up to so many keys are sent to every task that looks for their events.
_BROADCAST = 500_000


class Settler:
    """Gives verdicts by micro-batch. `checkpoint`: of the query, whose log tells each batch its watermark and time."""

    def __init__(self, spark: SparkSession, settings: Settings, checkpoint: str) -> None:
        """Raises UserError where nothing was ever normalised."""
        self._settings, self._checkpoint = settings, checkpoint
        self._sweeper, self._references = Sweeper(settings), References(settings)
        if not tables.exists(spark, settings.table_path("activity")):
            raise UserError(
                f"There is no table silver/activity under {settings.lake.root}: start `reco stream` with both queries, "
                "or with `--only normalise` first."
            )
        for name in ("nrt_results", "nrt_exceptions"):
            tables.ensure_table(spark, settings, name)
        # The stream's time does not go back, not even with a checkpoint that is new: what was given up stays so.
        given = tables.read(spark, settings.table_path("nrt_results")).agg(F.max("watermark")).collect()[0][0]
        self._reached = datetime.fromtimestamp(0, UTC) if given is None else given.astimezone(UTC)

    def __call__(self, batch: DataFrame, batch_id: int) -> None:
        """Settle one micro-batch (what `foreachBatch` calls)."""
        spark = batch.sparkSession  # the query's own: what is set there is set for it alone
        with Kept() as kept:
            rows = kept.rows(_events_of(batch))
            count = rows.count()
            is_large = count > FEW
            with nullcontext() if is_large else quick_plans(spark):
                watermark, at = batch_moment(spark, self._checkpoint, batch_id)
                if count or self._sweeper.is_due(at):
                    moment = Moment(max(watermark, self._reached), at, self._references.policies(spark))
                    self._settle(rows, moment, batch_id, kept, is_large)

    def _settle(self, rows: DataFrame, moment: Moment, batch_id: int, kept: Kept, is_large: bool) -> None:
        spark = rows.sparkSession
        query = str(spark.sparkContext.getLocalProperty("sql.streaming.queryId"))
        names = {"query_id": query, "batch_id": batch_id}
        clean = self._clean_pairs(rows, moment, kept) if is_large else None
        asked = kept.rows(self._asked(rows, clean, moment))
        first, keys = asked.agg(F.min("known_since"), F.count(F.lit(1))).collect()[0]
        parts = [clean.join(asked, on=list(KEY), how="left_anti")] if clean is not None else []
        if keys:
            parts.append(self._judged(F.broadcast(asked) if keys <= _BROADCAST else asked, first, moment, kept))
        if parts:
            results = verdicts.as_results(reduce(DataFrame.unionByName, parts), moment, names)
            self._append(results, query, batch_id, kept)
            written = kept.rows(self._written(spark, moment, names))
            if keys:
                keep_exceptions(spark, self._settings, written, moment.at)
            tell(spark, self._settings, written)
        self._sweeper.done(moment)
        log.info("settled", query="match", batch=batch_id, keys=keys, watermark=moment.watermark.isoformat())

    def _clean_pairs(self, rows: DataFrame, moment: Moment, kept: Kept) -> DataFrame:
        """Verdicts on plain pairs that have no break: of a large batch most of all there is."""
        rates = self._references.rates(rows.sparkSession, _dates(rows))
        judged = verdicts.judged(verdicts.sides_of_pair(_plain_pairs(rows)), moment, rates)
        return kept.rows(judged.where(F.size("anomaly_types") == 0).withColumn("breaks", verdicts.no_breaks()))

    def _judged(self, keys: DataFrame, first: datetime, moment: Moment, kept: Kept) -> DataFrame:
        """Verdicts on keys by all that is known of them."""
        spark = keys.sparkSession
        events = kept.rows(verdicts.known_events(spark, self._settings, keys, first))
        days = [row["event_date"] for row in events.select("event_date").distinct().collect()]
        rates = self._references.rates(spark, days)
        facts = kept.rows(verdicts.judged(verdicts.sides_of_keys(events, moment), moment, rates))
        return verdicts.with_breaks(facts, moment, rates)

    def _asked(self, rows: DataFrame, clean: DataFrame | None, moment: Moment) -> DataFrame:
        """The keys to judge by all that is known of them, and `known_since`.

        Whatever the join gave but for clean pairs, what may answer an exception, what came too late for the join, and
        what the sweeper finds.
        """
        spark = rows.sparkSession
        given, arrived = rows.where(~F.col("is_arrival")), rows.where(F.col("is_arrival"))
        others = given if clean is None else given.join(clean, on=list(KEY), how="left_anti")
        awaited = unresolved_keys(spark, self._settings).join(arrived, on=list(KEY), how="left_semi")
        late = arrived.where(_deadline() <= F.lit(moment.watermark))
        called = [frame.select(*KEY, _published().alias("known_since")) for frame in (others, late)]
        asked = reduce(DataFrame.unionByName, [*called, awaited, *self._sweeper.keys(spark, moment)])
        return asked.groupBy(*KEY).agg(F.min("known_since").alias("known_since"))

    def _append(self, results: DataFrame, query: str, batch_id: int, kept: Kept) -> None:
        """Append the verdicts that were not given before."""
        path = self._settings.table_path("nrt_results")
        given = kept.rows(results)
        since = given.agg(F.min("not_before")).collect()[0][0]
        if since is None:
            return
        recent = tables.read(given.sparkSession, path).where(F.col("verdict_at") >= F.lit(since - _CLOCKS))
        earlier = recent.select("result_id")
        new = tables.conformed(given.join(earlier, on="result_id", how="left_anti"), "nrt_results")
        writer = new.write.format("delta").mode("append")
        writer.option("txnAppId", f"nrt_results-{query}").option("txnVersion", batch_id).save(path)

    def _written(self, spark: SparkSession, moment: Moment, names: Mapping[str, object]) -> DataFrame:
        """The verdicts of this batch, as they were written at its first attempt."""
        rows = tables.read(spark, self._settings.table_path("nrt_results"))
        mine = (F.col("verdict_date") == F.lit(moment.at.date())) & (F.col("batch_id") == names["batch_id"])
        return rows.where(mine & (F.col("query_id") == names["query_id"]))


def batch_moment(spark: SparkSession, checkpoint: str, batch_id: int) -> tuple[datetime, datetime]:
    """Watermark and time of a micro-batch, from the checkpoint's log, so that a batch run again has the same.

    The log: github.com/apache/spark, OffsetSeqLog; a version, a line of JSON with both, a line a source.
    """
    told = json.loads(tables.read_text(spark, f"{checkpoint}/offsets/{batch_id}").splitlines()[1])
    watermark, at = (int(told[name]) for name in ("batchWatermarkMs", "batchTimestampMs"))
    return datetime.fromtimestamp(watermark / 1000, UTC), datetime.fromtimestamp(at / 1000, UTC)


def _events_of(batch: DataFrame) -> DataFrame:
    """The key and both events as structs; heartbeats have done their work in the join."""
    read = batch.select(*[F.from_json(side.prefix, _READ).alias(side.prefix) for side in Side], "is_arrival")
    names = {"supplier_id": "supplierId", "activity_id": "activityId"}
    keyed = read.select(
        *[F.coalesce(*[F.col(f"{s.prefix}.{name}") for s in Side]).alias(key) for key, name in names.items()], "*"
    )
    return keyed.where(F.col("activity_id").isNotNull())


def _plain_pairs(rows: DataFrame) -> DataFrame:
    """Pairs of two first versions whose key has nothing else in the batch: most of all there is."""
    alone = F.count(F.lit(1)).over(Window.partitionBy(*KEY)) == 1
    given = rows.where(~F.col("is_arrival")).withColumn("is_alone", alone)
    first = (F.col("agoda.version") == 1) & (F.col("supplier.version") == 1)
    return given.where(F.col("is_alone") & first).drop("is_alone", "is_arrival")


def _dates(rows: DataFrame) -> list[date]:
    dates = F.explode(F.array_compact(F.array(*[F.to_date(f"{s.prefix}.eventTime") for s in Side]))).alias("day")
    return [row["day"] for row in rows.select(dates).distinct().collect()]


def _published() -> Column:
    """When the first of a row's events was published."""
    return F.least(*[F.col(side.prefix)["publishedAt"] for side in Side])


def _deadline() -> Column:
    event = F.coalesce(*[F.col(side.prefix) for side in Side])
    return deadline(event["publishedAt"], event["graceSeconds"])
