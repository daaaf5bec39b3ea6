"""What another policy would have said: a close's pinned inputs judged by both policies, break beside break."""

from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal

from pyspark.sql import Column, DataFrame

from jobs.common.engines import engine_of
from jobs.common.kept import Kept
from jobs.common.policies import DEFAULTS, Policies, PolicyFile, effective, rows_of
from jobs.daily import verdicts
from jobs.daily.close import Judged, anomalies_from
from jobs.daily.inputs import Inputs
from jobs.daily.totals import Profile
from jobs.daily.whatif_edges import BREAK, GAINED, LOST, REWEIGHED, SAME, Edge, edges_of
from reco_rules.engine import F
from reco_rules.vocabulary import KEY
from schemas.tables import TABLES


@dataclass(frozen=True)
class Tally:
    """Breaks of one supplier and kind, with their money at risk, US dollars, exact; the unpriced are counted beside it.

    Lost: reported under the old policy and not under the proposed; gained: the other way round; reweighed: reported
    under both, with another severity.
    """

    supplier_id: str
    anomaly_type: str
    before: int
    after: int
    gained: int
    lost: int
    reweighed: int
    gained_usd: Decimal
    lost_usd: Decimal
    gained_unpriced: int
    lost_unpriced: int
    before_usd: Decimal
    after_usd: Decimal


@dataclass(frozen=True)
class DayResult:
    """One close: its tallies; keys judged and keys whose breaks are others, by supplier; examples, nearest first."""

    tallies: list[Tally]
    keys: dict[str, int]
    flips: dict[str, int]
    edges: list[Edge]


def proposed_inputs(source: Inputs, before: Policies, file: PolicyFile, now: datetime) -> Inputs:
    """The same inputs under the file's policies; `before`: the policies of the pinned version.

    An event carries the grace that it was normalised with. Where the file gives its supplier another grace than
    `before`, the event is read as if it had been normalised with that one.
    """
    schema = TABLES["policies"].schema
    rows = rows_of(source.pins.policy_version, file, now)
    listed = [tuple(row[name] for name in schema.names) for row in rows if row["supplier_id"] is not None]
    engine = engine_of(source.silver.sparkSession)
    return replace(
        source,
        silver=_with_grace(source.silver, before, file.policies),
        policies=F.broadcast(engine.local_rows(listed, schema)),
        defaults=next(row for row in rows if row["supplier_id"] is None),
    )


def graces(before: Policies, after: Policies) -> dict[str | None, int]:
    """The new grace (seconds) of each supplier whose grace differs; under None that of all that neither names."""
    names: set[str | None] = {DEFAULTS, *before, *after}
    found = {name: (effective(before, name).grace, effective(after, name).grace) for name in names}
    return {name: new for name, (old, new) in found.items() if old != new}


def _with_grace(silver: DataFrame, before: Policies, after: Policies) -> DataFrame:
    changed = graces(before, after)
    if not changed:
        return silver
    supplier, grace = F.col("supplier_id"), F.col("grace_seconds")
    value = grace
    if DEFAULTS in changed:
        named = sorted(name for name in {*before, *after} if name is not None)
        default = F.lit(changed.pop(DEFAULTS)).cast("long")
        value = F.when(~supplier.isin(named), default).otherwise(grace) if named else default
    for seconds in sorted(set(changed.values())):
        of = sorted(str(name) for name, new in changed.items() if new == seconds)
        value = F.when(supplier.isin(of), F.lit(seconds).cast("long")).otherwise(value)
    return silver.withColumn("grace_seconds", value)


def compare(source: Inputs, proposed: Inputs, day: date, kept: Kept) -> DayResult:
    """Judge the day by both. What comes in is prepared once unless the two read other silver, that is other graces."""
    rates = engine_of(source.silver.sparkSession).held(source.rates(day))
    came_in = _came_in(source, rates, day, kept)
    other = came_in if proposed.silver is source.silver else _came_in(proposed, rates, day, kept)
    old = Judged(source, rates, verdicts.facts_of(source, came_in, day), Profile())
    new = Judged(proposed, rates, verdicts.facts_of(proposed, other, day), Profile())
    breaks = kept(_side_by_side(anomalies_from(old), anomalies_from(new)))
    flipped = breaks.where(F.col("change").isin(GAINED, LOST)).select(*KEY).distinct()
    return DayResult(
        tallies=_tallies(breaks),
        keys=_by_supplier(came_in),
        flips=_by_supplier(flipped),
        edges=edges_of(breaks, old, new, source.pins.history_days),
    )


def _came_in(source: Inputs, rates: DataFrame, day: date, kept: Kept) -> DataFrame:
    sides = verdicts.with_earlier_versions(source, verdicts.sides_of(source, day, kept), day, kept)
    return kept.rows(verdicts.priced(sides, rates))


def _side_by_side(before: DataFrame, after: DataFrame) -> DataFrame:
    def of(breaks: DataFrame, name: str) -> DataFrame:
        severity, usd = F.col("severity").alias(f"severity_{name}"), F.col("amount_at_risk_usd").alias(f"usd_{name}")
        return breaks.select(*BREAK, severity, usd)

    was, is_now = F.col("severity_before"), F.col("severity_after")
    change = (
        F.when(was.isNull(), F.lit(GAINED))
        .when(is_now.isNull(), F.lit(LOST))
        .when(was != is_now, F.lit(REWEIGHED))
        .otherwise(F.lit(SAME))
    )
    return of(before, "before").join(of(after, "after"), on=list(BREAK), how="full_outer").withColumn("change", change)


def _tallies(breaks: DataFrame) -> list[Tally]:
    def count(condition: Column) -> Column:
        return F.count(F.when(condition, F.lit(1)))

    def usd(name: str, condition: Column) -> Column:
        return F.coalesce(F.sum(F.when(condition, F.col(f"usd_{name}"))), F.lit(0)).cast("decimal(38,6)")

    is_lost, is_gained = F.col("change") == LOST, F.col("change") == GAINED
    rows = (
        breaks.groupBy("supplier_id", "anomaly_type")
        .agg(
            count(~is_gained).alias("before"),
            count(~is_lost).alias("after"),
            count(is_gained).alias("gained"),
            count(is_lost).alias("lost"),
            count(F.col("change") == REWEIGHED).alias("reweighed"),
            usd("after", is_gained).alias("gained_usd"),
            usd("before", is_lost).alias("lost_usd"),
            count(is_gained & F.col("usd_after").isNull()).alias("gained_unpriced"),
            count(is_lost & F.col("usd_before").isNull()).alias("lost_unpriced"),
            usd("before", F.lit(True)).alias("before_usd"),
            usd("after", F.lit(True)).alias("after_usd"),
        )
        .collect()
    )
    return [Tally(**row.asDict()) for row in rows]


def _by_supplier(rows: DataFrame) -> dict[str, int]:
    return {row[0]: row[1] for row in rows.groupBy("supplier_id").agg(F.count(F.lit(1))).collect()}
