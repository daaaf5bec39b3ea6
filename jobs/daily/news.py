"""Which closed days the events may change that silver received since (CONTRACT section 6).

Days are read as far as the new events reach, by partition: what lies further costs nothing, however much of it there
is. What is collected is a row a date.
"""

from collections.abc import Iterable, Mapping
from datetime import date, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql.types import DateType, StructField, StructType

from jobs.common.days import days_before
from jobs.common.engines import Session, engine_of
from jobs.common.kept import Kept
from jobs.common.settings import Settings
from reco_rules.engine import F, Window
from reco_rules.ownership import HOURS_AFTER, HOURS_BEFORE, IDENTITY, PUBLICATION, keys_across_midnight, with_reco_date
from reco_rules.vocabulary import KEY
from schemas.types import LONG

_DELIVERY = [*KEY, *IDENTITY, *PUBLICATION, "event_date", "event_hour"]
_PIN = StructType([StructField("evening", DateType()), StructField("seen", LONG)])
_DAY = timedelta(days=1)
Since = Mapping[date, int]


def reached_by_news(session: Session, settings: Settings, since: Since) -> set[date]:
    """Closed dates that new events may change. `since`: from which version of silver on each date is looked at."""
    engine, silver = engine_of(session), settings.table_path("activity")
    if not since or not engine.exists(silver):
        return set()
    oldest = min(since.values())
    if oldest >= engine.version_of(silver):
        return set()
    # A day more than history goes: a late event may also draw an event of the day after it into its own day.
    reach = settings.daily.history_days + 1
    near = F.col("event_date").between(days_before(min(since), reach), max(since) + _DAY)
    with Kept() as kept:
        came = engine.inserts_since(silver, oldest).where(near)
        fresh = kept(came.select(*_DELIVERY, F.col("_commit_version").alias("committed")))
        known = engine.read(silver, oldest).select(*_DELIVERY)
        news = kept(_news(fresh, known.where(_on("event_date", _dates(fresh)))))
        dates = _dates(news)
        found = _passed(news.select(F.col("event_date").alias("reco_date"), "committed"), since)
        evenings = {day: since[day] for day in since.keys() - found if day + _DAY in dates}
        if evenings:
            found |= _across_midnight(news, known, fresh, evenings, kept)
        later = {day for day in since.keys() - found if any(_DAY <= day - own <= reach * _DAY for own in dates)}
        facts = settings.table_path("reconciliation_facts")
        if later and engine.exists(facts):
            found |= _passed(_with_history(engine.read(facts).where(_on("reco_date", later)), news, reach), since)
        return found


def _news(fresh: DataFrame, known: DataFrame) -> DataFrame:
    """Events that are no redelivery of what was there: key, date, hour, and `committed`, the version they came by.

    A delivery that was published before those that were there is the event's first publication, which tells its delay.
    `fresh`: deliveries with `committed`; `known`: what was there before, of the same dates.
    """
    identity = [*KEY, *IDENTITY]
    known = known.select(*[F.col(n).alias(f"known_{n}") for n in identity], _published().alias("known_published"))
    fresh = fresh.withColumn("published", _published())
    is_redelivery = F.col("known_published") <= F.col("published")
    for name in identity:
        is_redelivery = is_redelivery & (F.col(name) == F.col(f"known_{name}"))
    # One that is earlier than what an earlier commit brought is new too, whichever of them a close had read.
    before = Window.partitionBy(*identity).orderBy("committed", "published")
    sooner = F.min("published").over(before.rowsBetween(Window.unboundedPreceding, -1))
    first_sent = fresh.join(known, on=is_redelivery, how="left_anti").withColumn("sooner", sooner)
    news = first_sent.where(F.col("sooner").isNull() | (F.col("published") < F.col("sooner")))
    return news.select(*KEY, "event_date", "event_hour", "committed")


def _published() -> Column:
    return F.struct(*PUBLICATION)


def _across_midnight(news: DataFrame, known: DataFrame, fresh: DataFrame, evenings: Since, kept: Kept) -> set[date]:
    """Days to which events of the morning after belong otherwise than when they were looked at.

    `evenings`: these days, each with the version of silver at which it was. Only keys of new events are dated, before
    and after: one may be carried to the day before itself, carry others there, or part them from it.
    """
    mornings = {day + _DAY for day in evenings}
    early = F.col("event_hour") < HOURS_AFTER
    keys = news.where(_on("event_date", mornings) & early).select(*KEY).distinct()
    evening = _on("event_date", evenings) & (F.col("event_hour") >= 24 - HOURS_BEFORE)
    morning = _on("event_date", mornings) & early
    deliveries = known.withColumn("committed", F.lit(None).cast("bigint")).where(
        _on("event_date", {*evenings, *mornings})
    )
    near = deliveries.unionByName(fresh.select(*deliveries.columns)).where(evening | morning)
    near = kept(near.join(keys, on=list(KEY), how="left_semi"))
    across = kept(near.join(keys_across_midnight(near), on=list(KEY), how="left_semi"))
    of_morning = F.when(early, F.date_sub("event_date", 1)).otherwise(F.col("event_date")).cast("date")
    pins = engine_of(near.sparkSession).local_rows(sorted(evenings.items()), _PIN)
    pinned = across.withColumn("evening", of_morning).join(pins, on="evening", how="inner")
    then = pinned.where(F.col("committed").isNull() | (F.col("committed") <= F.col("seen"))).select(*across.columns)
    before, after = kept(_carried(then)), kept(_carried(across))
    moved = [one.join(other, on=_DELIVERY, how="left_anti") for one, other in ((before, after), (after, before))]
    return {day - _DAY for rows in moved for day in _dates(rows)} & evenings.keys()


def _carried(deliveries: DataFrame) -> DataFrame:
    """First publications of those that belong to the day before their own."""
    carried = with_reco_date(deliveries).where(~F.col("is_redelivery") & (F.col("reco_date") < F.col("event_date")))
    return carried.select(*_DELIVERY)


def _with_history(facts: DataFrame, news: DataFrame, reach: int) -> DataFrame:
    """Later days in which a new event's key has a fact: there it may be the latest version."""
    keyed = facts.select("reco_date", *KEY).join(news, on=list(KEY), how="inner")
    return keyed.where(F.datediff(F.col("reco_date"), F.col("event_date")).between(1, reach))


def _passed(touched: DataFrame, since: Since) -> set[date]:
    """The closed dates of rows that a newer version of silver brought than the date was looked at."""
    newest = touched.groupBy("reco_date").agg(F.max("committed").alias("committed")).collect()
    return {row["reco_date"] for row in newest if row["committed"] > since.get(row["reco_date"], row["committed"])}


def _dates(rows: DataFrame) -> set[date]:
    return {row[0] for row in rows.select("event_date").distinct().collect()}


def _on(column: str, days: Iterable[date]) -> Column:
    return F.col(column).isin(sorted(days))
