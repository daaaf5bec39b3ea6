"""One micro-batch of `match`: what the join gave calls for verdicts; they are written, then exceptions, then told."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import UTC, date, datetime, timedelta
from functools import reduce

from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from jobs.common import tables
from jobs.common.errors import UserError
from jobs.common.kept import Kept
from jobs.common.lake import open_table
from jobs.common.log import get_logger
from jobs.common.session import quick_plans
from jobs.common.settings import Settings
from jobs.streaming import observe, verdicts
from jobs.streaming.arrivals import Arrivals
from jobs.streaming.batch import BROADCAST, Batch, batch_moment, has_dropped
from jobs.streaming.hourly import HourlySummary
from jobs.streaming.in_force import References
from jobs.streaming.match import events_of
from jobs.streaming.nrt_exceptions import keep_exceptions, remembered_keys
from jobs.streaming.plain import plain_pairs, published
from jobs.streaming.results import tell
from jobs.streaming.said_before import exceptions_of, new_verdicts
from jobs.streaming.silence import Silence
from jobs.streaming.sweep import Sweeper
from jobs.streaming.verdicts import Moment
from reco_rules.vocabulary import KEY, Side

log = get_logger(__name__)

#: Up to so many rows a batch's plans are interpreted: they hold its times, and would be compiled for it alone.
FEW = 20_000


class Settler:
    """Gives verdicts by micro-batch. `checkpoint`: of the query, whose log tells each batch its watermark and time."""

    def __init__(self, spark: SparkSession, settings: Settings, checkpoint: str) -> None:
        """Raises UserError where nothing was ever normalised."""
        self._spark, self._settings, self._checkpoint = spark, settings, checkpoint
        self._sweeper, self._arrivals, self._references = Sweeper(settings), Arrivals(settings), References(settings)
        self._attempted = -1
        #: As whom verdicts are written: see `_free_writer`.
        self._writer = ""
        self._silence = Silence(settings)
        if not tables.exists(spark, settings.table_path("activity")):
            raise UserError(
                f"There is no table silver/activity under {settings.lake.root}: start `reco stream` with both queries, "
                "or with `--only normalise` first."
            )
        for name in ("nrt_results", "nrt_exceptions"):
            tables.ensure_table(spark, settings, name)
        self._summary = HourlySummary(spark, settings)
        # The stream's time does not go back, not even with a checkpoint that is new: what was given up stays so.
        given = tables.read(spark, settings.table_path("nrt_results")).agg(F.max("watermark")).collect()[0][0]
        self._reached = datetime.fromtimestamp(0, UTC) if given is None else given.astimezone(UTC)

    def __call__(self, rows: DataFrame, batch_id: int) -> None:
        """Settle one micro-batch (what `foreachBatch` calls)."""
        spark = rows.sparkSession  # the query's own: what is set there is set for it alone
        query = str(spark.sparkContext.getLocalProperty("sql.streaming.queryId"))
        with Kept() as kept:
            events = kept.fixed(events_of(rows))
            dates = [_of_pairs(F.collect_set, F.to_date(f"{side.prefix}.eventTime")) for side in Side]
            happened = F.least(*[F.unix_millis(f"{side.prefix}.eventTime") for side in Side])
            count, first, *days = _one(events.agg(F.count(F.lit(1)), _of_pairs(F.min, happened), *dates))
            with nullcontext() if count > FEW else quick_plans(spark):
                watermark, at = batch_moment(spark, self._checkpoint, batch_id)
                watermark = max(watermark, self._reached)
                is_due = self._sweeper.is_due(at, has_dropped(self._spark, query))
                versions = self._references.versions(spark)
                is_new = self._arrivals.is_there(spark) or count or self._sweeper.judges_anew(versions)
                if is_new or is_due or self._silence.is_due(watermark):
                    moment = Moment(watermark, at, self._references.policies(spark), versions)
                    anew = self._sweeper.judges_anew(versions)
                    batch = Batch(query, batch_id, moment, count, count > FEW, is_due, anew, kept)
                    happened_at = datetime.fromtimestamp(max(first or 0, 0) / 1000, UTC)
                    self._settle(events, happened_at, [day for each in days for day in each], batch)
        self._attempted = batch_id
        self._summary.keep(spark, at)

    def _settle(self, events: DataFrame, first_at: datetime, days: Sequence[date], batch: Batch) -> None:
        spark, kept = events.sparkSession, batch.kept
        arrived = self._arrivals.keys(spark)
        self._silence.look(spark, arrived, batch.moment)
        is_after_failure = self._attempted < 0 or batch.number <= self._attempted
        self._attempted = batch.number
        if is_after_failure:
            is_done = self._finish_last(spark, batch)
            self._writer = self._free_writer(batch, batch.number + is_done)
            if is_done:
                self._silence.keep(spark, batch.moment, batch.names)
                return  # what was found besides, the next batch finds, for nothing was noted as done
        pairs, others = None, events.select(*KEY, published().alias("known_since"))
        if days:  # there are pairs
            rates = self._references.rates(spark, days)
            pairs, others = plain_pairs(spark, self._settings, events, first_at, rates, batch)
        asked = kept.fixed(self._asked(others, pairs, arrived, batch))
        first, keys, since = _counted(asked, pairs, batch)
        clean, broken = [], []
        if keys:
            few = F.broadcast(asked) if keys <= BROADCAST else asked
            facts, rates = self._judged(few, first, batch)
            broken.append(facts)
            since = min(filter(None, (since, _one(_since(facts, batch))["at"])), default=None)
            pairs = None if pairs is None else pairs.join(few, on=list(KEY), how="left_anti")
        if pairs is not None:
            is_clean = F.size("anomaly_types") == 0
            clean.append(pairs.where(is_clean).withColumn("breaks", verdicts.no_breaks()))
            broken.append(pairs.where(~is_clean))
        told: dict[str, object] = {"verdicts": 0}
        if broken:
            judged = verdicts.with_breaks(reduce(DataFrame.unionByName, broken), batch.moment, rates)
            results = verdicts.as_results(reduce(DataFrame.unionByName, [*clean, judged]), batch.moment, batch.names)
            keys_of = [frame.select(*KEY) for frame in (*clean, *broken)]
            known = exceptions_of(spark, self._settings, reduce(DataFrame.unionByName, keys_of), batch)
            new, count = new_verdicts(spark, self._settings, results, known, since, batch)
            if count:
                told = self._write(spark, new, known, batch)
        self._silence.keep(spark, batch.moment, batch.names)
        if batch.is_due:
            observe.exceptions(spark, self._settings)
        self._sweeper.done(batch.moment, batch.is_due)
        self._arrivals.done()
        at = batch.moment.watermark.isoformat()
        log.info("settled", query="match", batch=batch.number, keys=keys, watermark=at, **told)

    def _finish_last(self, spark: SparkSession, batch: Batch) -> bool:
        """Do what the newest batch in the table, of whatever query, may have left undone; whether it was this one.

        Its verdicts stand as they were written: run again, it might judge by more, and the table would not take it.
        """
        results = tables.read(spark, self._settings.table_path("nrt_results"))
        is_mine = (F.col("batch_id") == batch.number) & (F.col("query_id") == batch.query)
        # Run again a batch has the time that it had, which a clock that was set back made older than another's.
        at = batch.moment.at
        last = batch.kept.fixed(_given_at(results, at).where(is_mine))
        is_this = not last.isEmpty()
        if not is_this:
            newest = results.agg(F.max("verdict_at")).collect()[0][0]
            if newest is None:
                return False
            at = newest.astimezone(UTC)
            last = batch.kept.fixed(_given_at(results, at))
        keep_exceptions(spark, self._settings, last, at, self._silence.held_by)
        exceptions = tables.read(spark, self._settings.table_path("nrt_exceptions"))
        mine = exceptions.join(F.broadcast(last.select("result_id")), on="result_id", how="left_semi")
        tell(self._settings, last, mine)
        self._summary.gave(at)
        return is_this

    def _write(self, spark: SparkSession, new: DataFrame, known: DataFrame, batch: Batch) -> dict[str, object]:
        """Append the verdicts, keep the exceptions, tell of both; what the log says of them."""
        self._append(new, batch)
        self._summary.gave(batch.moment.at)
        at, held_by = batch.moment.at, self._silence.held_by
        tell(self._settings, new, keep_exceptions(spark, self._settings, new, at, held_by, known))
        return observe.verdicts(new, datetime.now(UTC), batch.is_large)

    def _append(self, new: DataFrame, batch: Batch) -> None:
        writer = new.write.format("delta").mode("append")
        writer = writer.option("txnAppId", self._writer).option("txnVersion", batch.number)
        writer.save(self._settings.table_path("nrt_results"))

    def _free_writer(self, batch: Batch, number: int) -> str:
        """As whom verdicts are written from a number on: under each of a writer's numbers Delta writes once.

        From a copy of the checkpoint that was put back, numbers come again, with other verdicts.
        """
        writer = f"nrt_results-{batch.query}"
        table = open_table(self._settings, "nrt_results")
        used = None if table is None else table.transaction_version(writer)
        return writer if used is None or used < number else f"{writer}-{batch.moment.at:%Y%m%dT%H%M%S.%f}"

    def _judged(self, keys: DataFrame, first: datetime, batch: Batch) -> tuple[DataFrame, DataFrame]:
        """The rules' word on keys by all that is known of them, held; and the rates."""
        spark, kept = keys.sparkSession, batch.kept
        events = kept.fixed(verdicts.known_events(spark, self._settings, keys, first))
        days, old = _days(events, verdicts.may_be_sent_again(self._settings))
        if old:
            keys = kept.fixed(verdicts.since_first_sent(spark, self._settings, keys, events, old))
            first = keys.agg(F.min("known_since")).collect()[0][0]
            events = kept.fixed(verdicts.known_events(spark, self._settings, keys, first))
            days, _ = _days(events, F.lit(False))
        rates = self._references.rates(spark, days)
        return kept.fixed(verdicts.judged(verdicts.sides_of_keys(events, batch.moment), batch.moment, rates)), rates

    def _asked(self, rows: DataFrame, clean: DataFrame | None, arrived: DataFrame | None, batch: Batch) -> DataFrame:
        """The keys to judge by all that is known of them, and `known_since`.

        Those of the rows, what may answer an exception, and what the sweeper finds. What an exception knew of its key
        stays known for as long as the horizon reaches: who answered days late is not found missing a grace later.
        """
        spark = rows.sparkSession
        horizon = timedelta(hours=self._settings.stream.nrt_horizon_hours)
        remembered = batch.kept.fixed(remembered_keys(spark, self._settings, batch.moment.at - horizon))
        asked = [rows, *self._sweeper.keys(spark, remembered, batch)]
        awaited = remembered.where("is_unresolved")
        if arrived is not None:
            if clean is not None:  # what looks plain by itself may answer what is open
                arrived = arrived.select(*KEY).unionByName(clean.select(*KEY))
            awaited = arrived.join(F.broadcast(awaited), on=list(KEY), how="inner")
        else:
            awaited = self._sweeper.kept(awaited)
        asked.append(awaited.select(*KEY, "known_since"))
        once = reduce(DataFrame.unionByName, asked).groupBy(*KEY).agg(F.min("known_since").alias("called_at"))
        both = once.join(F.broadcast(remembered), on=list(KEY), how="left")
        return both.select(*KEY, F.least("called_at", "known_since").alias("known_since"))


def _counted(asked: DataFrame, pairs: DataFrame | None, batch: Batch) -> tuple[datetime, int, datetime | None]:
    """Since when the first of the keys is known, how many they are, and `_since` of the pairs; in one job.

    But for a query's first batch, no plain pair's key has a verdict.
    """
    keys = asked.agg(F.min("known_since").alias("at"), F.count(F.lit(1)).alias("keys"))
    if pairs is None or batch.number:
        first, count = _one(keys)
        return first, count, None
    both = keys.unionByName(_since(pairs, batch).withColumn("keys", F.lit(None))).collect()
    told = {row["keys"] is None: row for row in both}
    return told[False]["at"], told[False]["keys"], told[True]["at"]


def _since(facts: DataFrame, batch: Batch) -> DataFrame:
    """One row, `at`: no verdict that is not a break can have been given before; of a query's first batch, none."""
    asked = facts if batch.number == 0 else facts.where(F.size("anomaly_types") == 0)
    return asked.agg(F.min("not_before").alias("at"))


def _given_at(results: DataFrame, at: datetime) -> DataFrame:
    return results.where((F.col("verdict_date") == F.lit(at.date())) & (F.col("verdict_at") == F.lit(at)))


def _one(frame: DataFrame) -> Row:
    return frame.collect()[0]


def _of_pairs(aggregate: Callable[[Column], Column], value: Column) -> Column:
    return aggregate(F.when(reduce(Column.__and__, [F.col(side.prefix).isNotNull() for side in Side]), value))


def _days(events: DataFrame, is_old: Column) -> tuple[list[date], list[date]]:
    """The events' dates, and those of the old ones."""
    day = F.col("event_date")
    return events.agg(F.collect_set(day), F.collect_set(F.when(is_old, day))).collect()[0]
