"""gold/hourly_summary: the stream's verdicts by supplier and UTC hour, a function of gold/nrt_results alone."""

from contextlib import nullcontext
from datetime import UTC, date, datetime, time, timedelta

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from jobs.common import tables
from jobs.common.conflicts import despite_maintenance
from jobs.common.log import get_logger
from jobs.common.session import quick_plans
from jobs.common.settings import Settings
from reco_rules.clock import millis
from reco_rules.vocabulary import KEY, AnomalyType, Outcome, Side

log = get_logger(__name__)

_HOUR = ("verdict_date", "verdict_hour")
#: Of two verdicts on a key the greater is the later one.
_ORDER = ("verdict_at", "batch_id", "result_id")
#: Up to so many verdicts the plan is interpreted: it holds the hour, and would be compiled for it alone.
_FEW = 50_000


def summarised(results: DataFrame) -> DataFrame:
    """Rows of gold/hourly_summary from all verdicts of whole UTC hours (rows of gold/nrt_results).

    The last verdict of each key within the hour counts, by `verdict_at`, `batch_id`, `result_id`.
    """
    is_two_sided = F.lit(True)
    for side in Side:
        is_two_sided = is_two_sided & F.col(f"{side.prefix}_version").isNotNull()
    told = {
        "outcome": F.col("outcome"),
        "delay": F.when(is_two_sided, millis(F.col("verdict_at")) - millis(F.col("published_at"))),
        "breaks": F.transform("breaks", _counted),
    }
    # Keys are nearly unique: one sort, where an aggregation would sort before and after the shuffle.
    last = Window.partitionBy(*_HOUR, *KEY).orderBy(*[F.col(name).desc() for name in _ORDER])
    named = results.select(*_HOUR, *KEY, *_ORDER, *[value.alias(name) for name, value in told.items()])
    by_key = named.withColumn("place", F.row_number().over(last)).where(F.col("place") == 1)
    by_break = by_key.select(
        *_HOUR, "supplier_id", "outcome", "delay", F.posexplode_outer("breaks").alias("place", "one")
    )
    # A key's first row stands for the key.
    is_key = F.coalesce(F.col("place"), F.lit(0)) == 0
    is_open = F.col("one.state") == "OPEN"
    risk = F.col("one.amount_at_risk_usd")
    matched = is_key & (F.col("outcome") == Outcome.MATCHED.value)
    delays = by_break.withColumn("delay", F.when(is_key, F.col("delay")))
    found = delays.groupBy(*_HOUR, "supplier_id").agg(
        F.count_if(is_key).alias("verdicts"),
        F.count_if(matched).alias("matched"),
        F.array(*[_broken(kind) for kind in sorted(AnomalyType)]).alias("broken"),
        F.coalesce(F.sum(F.when(is_open, risk)), F.lit(0)).alias("amount_at_risk_usd"),
        F.count_if(is_open & risk.isNull()).alias("unpriced"),
        *[_percentile(share).alias(f"delay_p{share}_ms") for share in (50, 99)],
    )
    return found.withColumn("broken", F.filter("broken", lambda one: one["open"] + one["pending"] > 0))


def _counted(one: Column) -> Column:
    """What is counted of a break; its explanation is long, and need not be shuffled."""
    return F.struct(*[one[name].alias(name) for name in ("anomaly_type", "state", "amount_at_risk_usd")])


def _broken(kind: AnomalyType) -> Column:
    is_kind = F.col("one.anomaly_type") == kind.value
    counts = [F.count_if(is_kind & (F.col("one.state") == state)).alias(state.lower()) for state in ("OPEN", "PENDING")]
    return F.struct(F.lit(kind.value).alias("anomaly_type"), *counts)


def _percentile(share: int) -> Column:
    """By nearest rank: a delay that was there, so no fraction comes in."""
    return F.expr(f"cast(percentile_disc({share / 100}) within group (order by delay) as bigint)")


class HourlySummary:
    """Remembers which hours have verdicts that are not summarised yet.

    A start looks for them in the tables, so that it does not matter when the last run was killed: the newest hour in
    the summary may be half told, all before it are whole, since what is written includes all older hours that wait.
    """

    def __init__(self, spark: SparkSession, settings: Settings) -> None:
        """`settings.stream.summary_minutes` 0: nothing is read, made or written."""
        self._settings = settings
        self._every = timedelta(minutes=settings.stream.summary_minutes)
        self._written_at: datetime | None = None
        self._waiting = self._left(spark) if self._every else set()

    def gave(self, at: datetime) -> None:
        """A micro-batch of that time may have given verdicts."""
        if self._every:
            self._waiting.add(_hour(at))

    def keep(self, spark: SparkSession, at: datetime) -> None:
        """Summarise what is due at that time: an hour that is over at once, the current one every few minutes."""
        is_due = self._written_at is None or at - self._written_at >= self._every
        hours = {hour for hour in self._waiting if is_due or hour < _hour(at)}
        if hours:
            self._write(spark, hours)
        if hours and is_due:
            self._written_at = at

    def finish(self, spark: SparkSession) -> None:
        """Summarise all that waits: the job ends."""
        if self._waiting:
            self._write(spark, self._waiting)

    def _left(self, spark: SparkSession) -> set[datetime]:
        """The newest hour of the summary, and those with verdicts since, back to the horizon before the newest."""
        target = tables.ensure_table(spark, self._settings, "hourly_summary")
        results = tables.read(spark, self._settings.table_path("nrt_results"))
        horizon = timedelta(hours=self._settings.stream.nrt_horizon_hours)
        with quick_plans(spark):
            told = _newest_hour(tables.read(spark, target))
            # Without a summary every verdict ever given may be there; those of long ago are left alone.
            since = told or _newest_hour(results)
            if since is None:
                return set()
            first = since if told else since - horizon
            given = _hours(results.where(F.col("verdict_date") >= F.lit(first.date())))
        first = max([first, *[hour - horizon for hour in given]])
        return {hour for hour in given if hour == told or hour >= first}

    def _write(self, spark: SparkSession, hours: set[datetime]) -> None:
        within = _within(hours)
        results = tables.read(spark, self._settings.table_path("nrt_results")).where(within)
        with quick_plans(spark):
            is_large = results.count() > _FEW
        with nullcontext() if is_large else quick_plans(spark):
            rows = tables.conformed(summarised(results), "hourly_summary").repartition(1)
            path = self._settings.table_path("hourly_summary")
            writer = rows.write.format("delta").mode("overwrite").option("replaceWhere", within)
            despite_maintenance("hourly_summary", lambda: writer.save(path))
        self._waiting = self._waiting - hours
        log.info("summarised", query="match", hours=[f"{hour:%Y-%m-%dT%H}Z" for hour in sorted(hours)])


def _hour(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _within(hours: set[datetime]) -> str:
    """Those hours as a condition; the dates stand by themselves too, so that no other partition is looked at."""
    by_date: dict[date, list[str]] = {}
    for hour in sorted(hours):
        by_date.setdefault(hour.date(), []).append(str(hour.hour))
    each = [f"(verdict_date = DATE'{day}' and verdict_hour in ({', '.join(of)}))" for day, of in by_date.items()]
    dates = ", ".join(f"DATE'{day}'" for day in by_date)
    return f"verdict_date in ({dates}) and ({' or '.join(each)})"


def _hours(rows: DataFrame) -> list[datetime]:
    return [_start(*row) for row in rows.select(*_HOUR).distinct().collect()]


def _newest_hour(rows: DataFrame) -> datetime | None:
    """Looks at the newest partition alone."""
    day = rows.agg(F.max("verdict_date")).collect()[0][0]
    if day is None:
        return None
    return _start(day, rows.where(F.col("verdict_date") == F.lit(day)).agg(F.max("verdict_hour")).collect()[0][0])


def _start(day: date, hour: int) -> datetime:
    return datetime.combine(day, time(hour, tzinfo=UTC))
