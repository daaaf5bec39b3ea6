"""Each break's life across days, kept in `gold/exceptions`."""

from datetime import date

from pyspark.sql import Column, DataFrame

from jobs.common.engines import Session, engine_of
from jobs.common.settings import Settings
from reco_rules.engine import F
from reco_rules.identity import digest
from reco_rules.vocabulary import KEY

_BREAK = [*KEY, "anomaly_type"]
_LIFE = ["state", "severity", "amount_at_risk_usd", "first_seen_date", "last_seen_date", "resolved_date"]


def changed_exceptions(existing: DataFrame, found: DataFrame, judged: DataFrame, day: date) -> DataFrame:
    """The exceptions that a close of `day` makes or changes, all columns but `close_id`.

    `existing`: rows of `gold/exceptions`. `found`: rows of `gold/anomalies` of the day. `judged`: the keys that have a
    fact on the day. A break found is open from its first to its last day; one not found any more on its key's later
    day, or on the same day by a later revision, is resolved on that day. A day closed for the first time after a later
    day opens what that later day does not have; closing the later day again resolves it.
    """
    now = found.select(*_BREAK, F.lit(True).alias("is_found"), *[F.col(n).alias(f"new_{n}") for n in _LIFE[1:3]])
    known = existing.select(*_BREAK, *_LIFE, F.lit(True).alias("is_known"))
    keys = judged.select(*KEY, F.lit(True).alias("has_fact"))
    joined = known.join(now, on=_BREAK, how="full_outer").join(keys, on=list(KEY), how="left")
    today = F.lit(day)
    is_found, is_known = F.col("is_found").isNotNull(), F.col("is_known").isNotNull()
    last, resolved = F.col("last_seen_date"), F.col("resolved_date")
    is_newest = ~is_known | (today >= last)
    gone = ~is_found & ((F.col("has_fact").isNotNull() & (today > last)) | (today == last))
    resolved_after = (
        F.when(is_found & (resolved.isNull() | (today >= resolved)), F.lit(None).cast("date"))
        .when(gone & (resolved.isNull() | (resolved > today)), today)
        .otherwise(resolved)
    )
    after: dict[str, Column] = {
        "state": F.when(resolved_after.isNull(), F.lit("OPEN")).otherwise(F.lit("RESOLVED")),
        **{
            name: F.when(is_found & is_newest, F.col(f"new_{name}")).otherwise(F.col(name))
            for name in ("severity", "amount_at_risk_usd")
        },
        "first_seen_date": F.when(is_found, F.least(F.col("first_seen_date"), today)).otherwise(
            F.col("first_seen_date")
        ),
        "last_seen_date": F.when(is_found, F.greatest(last, today)).otherwise(last),
        "resolved_date": resolved_after,
    }
    same = F.lit(True)
    for name, value in after.items():
        same = same & value.eqNullSafe(F.col(name))
    return joined.where(~(is_known & same)).select(
        digest(*[F.col(name) for name in _BREAK]).alias("exception_id"),
        *_BREAK,
        *[value.alias(name) for name, value in after.items()],
    )


def keep_lives(
    session: Session, settings: Settings, day: date, found: DataFrame, judged: DataFrame, close_id: str
) -> None:
    """Bring `gold/exceptions` up to a close of `day`."""
    engine = engine_of(session)
    path = engine.ensure_table(settings, "exceptions")
    existing = engine.read(path)
    changed = changed_exceptions(existing, found, judged, day).withColumn("close_id", F.lit(close_id))
    if existing.isEmpty():
        engine.append(changed, "exceptions", path)
    else:
        engine.upsert(changed, "exceptions", path, key="exception_id")
