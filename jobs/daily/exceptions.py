"""Each break's life across days, kept in `gold/exceptions`."""

from collections.abc import Callable
from contextlib import suppress
from datetime import date

from pyspark.sql import Column, DataFrame

from jobs.common.conflicts import TRIES
from jobs.common.engines import Session, engine_of
from jobs.common.errors import TableMovedError
from jobs.common.kept import Kept
from jobs.common.log import get_logger
from jobs.common.settings import Settings
from reco_rules.engine import F
from reco_rules.identity import digest
from reco_rules.vocabulary import KEY

_BREAK = [*KEY, "anomaly_type"]
_RISK = ["severity", "amount_at_risk_usd"]
_LIFE = ["state", *_RISK, "first_seen_date", "last_seen_date", "resolved_date"]

#: The facts and the anomalies of other days than the one that is closed, from a date on.
Standing = Callable[[date], tuple[DataFrame, DataFrame]]

log = get_logger(__name__)


def keep_lives(
    session: Session, settings: Settings, day: date, found: DataFrame, judged: DataFrame, close_id: str
) -> None:
    """Bring `gold/exceptions` up to a close of `day`, whose facts and anomalies are written.

    A close of another day may write the table meanwhile. Lives that were derived from what was there before it would
    undo what it wrote, so they are derived anew.
    """
    engine = engine_of(session)
    path = engine.ensure_table(settings, "exceptions")

    def standing(first: date) -> tuple[DataFrame, DataFrame]:
        of_others = (F.col("reco_date") >= F.lit(first)) & (F.col("reco_date") != F.lit(day))
        facts, anomalies = (
            engine.read(settings.table_path(n)).where(of_others) for n in ("reconciliation_facts", "anomalies")
        )
        return facts.select("reco_date", *KEY), anomalies.select("reco_date", *_BREAK, *_RISK)

    for _ in range(TRIES):
        version = engine.version_of(path)
        existing = engine.read(path, version)
        with Kept() as kept:
            touched = kept(touched_lives(existing, found, judged, day))
            if touched.groupBy(*_BREAK).count().where(F.col("count") > 1).head() is not None:
                engine.replace(_once(existing), "exceptions", path, "exception_id IS NOT NULL", close_id)
                continue
            changed = changed_exceptions(touched, day, standing, kept).withColumn("close_id", F.lit(close_id))
            with suppress(TableMovedError):
                engine.upsert(changed, "exceptions", path, "exception_id", version)
                return
        log.info("derived again", table="exceptions", because="another commit was in between")
    raise TableMovedError(path)


def touched_lives(existing: DataFrame, found: DataFrame, judged: DataFrame, day: date) -> DataFrame:
    """The lives that a close of `day` may change: what is known of each, and what the close says.

    `existing`: rows of `gold/exceptions`. `found`: rows of `gold/anomalies` of the day. `judged`: the keys that have a
    fact on the day. A key whose fact a late event drew to another day is not among them: the day stands in its lives.
    """
    now = found.select(*_BREAK, F.lit(True).alias("is_found"), *[F.col(n).alias(f"new_{n}") for n in _RISK])
    known = existing.select(*_BREAK, *_LIFE, F.lit(True).alias("is_known"))
    keys = judged.select(*KEY, F.lit(True).alias("has_fact"))
    joined = known.join(now, on=_BREAK, how="full_outer").join(keys, on=list(KEY), how="left")
    told = {name: F.coalesce(F.col(name), F.lit(False)) for name in ("is_known", "is_found", "has_fact")}
    of_day = F.lit(False)
    for name in ("first_seen_date", "last_seen_date", "resolved_date"):
        of_day = of_day | F.coalesce(F.col(name) == F.lit(day), F.lit(False))
    rows = joined.where(told["is_found"] | told["has_fact"] | of_day)
    return rows.select(*_BREAK, *_LIFE, *[f"new_{n}" for n in _RISK], *[c.alias(name) for name, c in told.items()])


def changed_exceptions(touched: DataFrame, day: date, standing: Standing, kept: Kept) -> DataFrame:
    """The exceptions that a close of `day` makes or changes, all columns but `close_id`.

    A break is open where the newest fact of its key has it. Else it is resolved on the first date after it was last
    seen on which its key has a fact, or where no date has it any more, on the last one whose close took it back. So
    the order in which days are closed does not matter. `touched`: of `touched_lives`, held.
    """
    dated = touched.withColumn("since", _look_back(day))
    first = _earliest(dated, F.col("since"), day)
    facts, anomalies = standing(first)
    seen = kept(_seen(dated, anomalies, day))
    # A break that lasted long is most often seen last a short while ago: of the facts only those after it are read.
    lost = F.when(F.col("since") < F.lit(day), F.col("seen_last"))
    facts = facts.where(F.col("reco_date") > F.lit(day if first == day else _earliest(seen, lost, day)))
    later = seen.select(*_BREAK, "seen_last", "since").join(facts, on=list(KEY), how="inner")
    is_after = (F.col("reco_date") > F.col("seen_last")) & (F.col("reco_date") >= F.col("since"))
    after = later.where(is_after).groupBy(*_BREAK).agg(F.min("reco_date").alias("next"))
    values = _values(day)
    is_same = F.col("is_known")
    for name, value in values.items():
        is_same = is_same & value.eqNullSafe(F.col(name))
    return (
        seen.join(after, on=_BREAK, how="left")
        .where(~is_same)
        .select(
            digest(*[F.col(name) for name in _BREAK]).alias("exception_id"),
            *_BREAK,
            *[value.alias(name) for name, value in values.items()],
        )
    )


def _look_back(day: date) -> Column:
    """Since when a life needs facts and anomalies: earlier than `day` only where it loses what it had of it.

    What lies before has not changed, so that lives tell it rightly.
    """
    today, last = F.lit(day), F.col("last_seen_date")
    loses_fact = ~F.col("has_fact") & (F.col("resolved_date") == today)
    loses = ~F.col("is_found") & ((last == today) | loses_fact)
    had = F.when(last == today, F.col("first_seen_date")).otherwise(last)
    return F.when(loses, F.least(had, today)).otherwise(today)


def _earliest(rows: DataFrame, dated: Column, day: date) -> date:
    """The least date of all rows, `day` at the latest."""
    row = rows.agg(F.min(dated)).head()
    return day if row is None or row[0] is None else min(row[0], day)


def _seen(touched: DataFrame, anomalies: DataFrame, day: date) -> DataFrame:
    """Add when each break is seen first and last, and with what risk; null where no date has it."""
    others = (
        touched.select(*_BREAK)
        .join(anomalies, on=_BREAK, how="inner")
        .groupBy(*_BREAK)
        .agg(
            F.min("reco_date").alias("others_first"),
            F.max("reco_date").alias("others_last"),
            F.max_by(F.struct(*_RISK), F.col("reco_date")).alias("others_risk"),
        )
    )
    today, resolved, since = F.when(F.col("is_found"), F.lit(day)), F.col("resolved_date"), F.col("since")
    # A break that was taken back on all its dates is seen on none: what it was is kept, and counts no more.
    counts = resolved.isNull() | (resolved > F.col("last_seen_date"))
    before = {n: F.when(counts & (F.col(n) < since), F.col(n)) for n in ("first_seen_date", "last_seen_date")}
    last = F.coalesce(F.greatest(F.col("others_last"), today), before["last_seen_date"])
    rows = touched.join(others, on=_BREAK, how="left").select(
        "*",
        F.coalesce(before["first_seen_date"], F.least(F.col("others_first"), today)).alias("seen_first"),
        last.alias("seen_last"),
    )
    seen_last = F.col("seen_last")
    risk = {
        name: F.when(seen_last == today, F.col(f"new_{name}"))
        .when(seen_last == F.col("others_last"), F.col("others_risk")[name])
        .otherwise(F.col(name))
        for name in _RISK
    }
    kept = [*_BREAK, *_LIFE, "is_known", "has_fact", "since", "seen_first", "seen_last"]
    return rows.select(*kept, *[value.alias(f"seen_{name}") for name, value in risk.items()])


def _values(day: date) -> dict[str, Column]:
    """What each life is now."""
    today, since, last = F.lit(day), F.col("since"), F.col("seen_last")
    was_last, was_resolved = F.col("last_seen_date"), F.col("resolved_date")
    taken_back = F.when(was_last == today, today).otherwise(F.coalesce(was_resolved, today))
    following = F.least(F.col("next"), F.when(F.col("has_fact") & (today > last), today))
    resolved = (
        F.when(last.isNull(), taken_back)
        .when((last < since) & (was_resolved < since), was_resolved)
        .otherwise(following)
    )
    return {
        "state": F.when(resolved.isNull(), F.lit("OPEN")).otherwise(F.lit("RESOLVED")),
        **{name: F.col(f"seen_{name}") for name in _RISK},
        "first_seen_date": F.coalesce(F.col("seen_first"), F.col("first_seen_date")),
        "last_seen_date": F.coalesce(last, was_last),
        "resolved_date": resolved,
    }


def _once(existing: DataFrame) -> DataFrame:
    """Each exception once: two closes at once by an earlier build may have added one twice."""
    rest = [name for name in existing.columns if name not in ("exception_id", "first_seen_date", "last_seen_date")]
    newest = F.max_by(F.struct(*rest), F.col("last_seen_date")).alias("newest")
    of_each = existing.groupBy("exception_id").agg(
        F.min("first_seen_date").alias("first_seen_date"), F.max("last_seen_date").alias("last_seen_date"), newest
    )
    return of_each.select(
        "exception_id", "first_seen_date", "last_seen_date", *[F.col("newest")[n].alias(n) for n in rest]
    )
