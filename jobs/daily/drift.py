"""How the stream's provisional verdicts held against the close, by supplier and cause."""

from collections.abc import Callable
from datetime import date

from pyspark.sql import Column, DataFrame

from jobs.common.days import days_before
from jobs.common.engines import Session, engine_of
from jobs.common.settings import Settings
from jobs.daily.inputs import Inputs
from reco_rules.engine import F
from reco_rules.policy import with_policy
from reco_rules.vocabulary import KEY, Mode, Side
from schemas.types import STRING

_KNOWN = tuple(f"{side.prefix}_{name}" for side in Side for name in ("version", "event_time", "event_id"))
_SAID = ("outcome", "anomaly_types")


def drift(facts: DataFrame, results: DataFrame, policy_version: int) -> DataFrame:
    """`supplier_id, cause, verdicts` from a day's facts of near-real-time suppliers and the stream's verdicts on them.

    A key's last verdict counts. Where it says what the close says it AGREES. Else the cause is, the first that holds:
    NO_VERDICT; LATE_EVENT, the close knows an event that the stream did not; LATER_EVENT, the stream knows one after
    the day; POLICY, the policies were others; DAY, the same events were judged (a break of another day's event, or
    another rate).
    """
    order = F.struct("published_at", "verdict_at", "batch_id")
    told = {name: F.col(name) for name in (*_SAID, *_KNOWN)}
    last = results.groupBy(*KEY).agg(
        F.max_by(F.struct(*told.values(), "policy_version"), order).alias("said"),
    )
    both = facts.select(*KEY, *told.values()).join(last, on=list(KEY), how="left")
    same = F.lit(True)
    for name in _SAID:
        same = same & (F.col("said")[name] == F.col(name))
    is_late, is_later = _ahead(F.col, _of_verdict), _ahead(_of_verdict, F.col)
    cause = (
        F.when(F.col("said").isNull(), F.lit("NO_VERDICT"))
        .when(same, F.lit("AGREES"))
        .when(is_late, F.lit("LATE_EVENT"))
        .when(is_later, F.lit("LATER_EVENT"))
        .when(F.col("said")["policy_version"] != policy_version, F.lit("POLICY"))
        .otherwise(F.lit("DAY"))
    )
    return both.groupBy("supplier_id", cause.alias("cause")).agg(F.count(F.lit(1)).alias("verdicts"))


def keep_drift(session: Session, settings: Settings, day: date, inputs: Inputs, close_id: str) -> None:
    """Compare the close of `day` with the stream's verdicts, where there are any, into gold/verdict_drift."""
    engine, path = engine_of(session), settings.table_path("nrt_results")
    if not engine.exists(path):
        return
    target = engine.ensure_table(settings, "verdict_drift")
    facts = engine.read(settings.table_path("reconciliation_facts")).where(F.col("reco_date") == F.lit(day))
    stamped = with_policy(facts, inputs.policies, inputs.defaults, {"mode": STRING})
    near = stamped.where(F.col("mode") == Mode.NRT_HOURLY.value)
    # No verdict on an event of the day can know of it before the day.
    results = engine.read(path).where(F.col("published_at") >= F.lit(days_before(day, 1)))
    found = drift(near, results, inputs.pins.policy_version)
    rows = found.withColumn("reco_date", F.lit(day)).withColumn("close_id", F.lit(close_id))
    engine.replace(rows, "verdict_drift", target, f"reco_date = '{day.isoformat()}'", close_id)


def _of_verdict(name: str) -> Column:
    return F.col("said")[name]


def _ahead(this: Callable[[str], Column], other: Callable[[str], Column]) -> Column:
    """Whether on either side `this` knows a greater version than `other`, or one where `other` knows none."""
    found = F.lit(False)
    for side in Side:
        mine, theirs = (
            # Named: to DuckDB a field of a struct has no name that another struct would take over.
            F.struct(*[of(f"{side.prefix}_{name}").alias(name) for name in ("version", "event_time", "event_id")])
            for of in (this, other)
        )
        knows = this(f"{side.prefix}_version").isNotNull()
        found = found | (knows & (other(f"{side.prefix}_version").isNull() | (mine > theirs)))
    return found
