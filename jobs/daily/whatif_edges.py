"""Examples at the edge: of the breaks that another policy gains or loses, those nearest to its limit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql.types import StructField, StructType

from jobs.common.currencies import minor_units
from jobs.common.engines import engine_of
from jobs.common.margins import Rate, RuleResult, rules_of
from jobs.daily.close import Judged
from reco_rules.engine import F, Window
from reco_rules.vocabulary import KEY, AnomalyType, Side
from schemas.types import STRING

GAINED, LOST, REWEIGHED, SAME = "GAINED", "LOST", "REWEIGHED", "SAME"
#: Examples kept of each supplier, kind and change.
EXAMPLES = 3
BREAK = ("reco_date", *KEY, "anomaly_type")
_KEYS = StructType([StructField(name, STRING) for name in KEY])
_LIMITS = {
    AnomalyType.PRICE_MISMATCH: ("price_tolerance_usd", "price_diff_usd"),
    AnomalyType.TIMESTAMP_SKEW: ("allowed_skew_seconds", "skew_seconds"),
    AnomalyType.DELAYED_AGODA: ("max_delay_seconds", "agoda_delay_seconds"),
    AnomalyType.DELAYED_SUPPLIER: ("max_delay_seconds", "supplier_delay_seconds"),
}


@dataclass(frozen=True)
class Edge:
    """One changed break near the proposed limit. `margin` = limit - value in `unit`, negative where it is over."""

    reco_date: date
    supplier_id: str
    activity_id: str
    anomaly_type: str
    change: str
    amount_at_risk_usd: Decimal | None
    measured: str
    limit_before: str | None
    limit_after: str | None
    margin_before: Decimal | None
    margin_after: Decimal | None
    unit: str


def edges_of(breaks: DataFrame, old: Judged, new: Judged, history_days: int) -> list[Edge]:
    """The changed breaks that lie nearest to the proposed limit, a few of each supplier, kind and change."""
    kind = F.col("anomaly_type")
    away = F.lit(None).cast("decimal(38,6)")
    for anomaly, (limit, value) in _LIMITS.items():
        away = F.when(kind == anomaly.value, F.abs(F.col(limit) - F.col(value))).otherwise(away)
    measures = sorted({name for pair in _LIMITS.values() for name in pair})
    changed = breaks.where(F.col("change").isin(GAINED, LOST))
    measured = changed.join(new.facts.select(*KEY, *measures), on=list(KEY), how="left").withColumn("away", away)
    usd = F.coalesce("usd_before", "usd_after")
    order = (F.col("away").asc_nulls_last(), usd.desc_nulls_last(), F.col("activity_id"))
    place = F.row_number().over(Window.partitionBy("supplier_id", kind, "change").orderBy(*order))
    chosen = measured.withColumn("place", place).where(F.col("place") <= EXAMPLES)
    rows = chosen.select(*BREAK, "change", usd.alias("usd"), "place").collect()
    if not rows:
        return []
    keys = sorted({(row["supplier_id"], row["activity_id"]) for row in rows})
    were, are = _facts(old, keys), _facts(new, keys)
    rates = _rates(old.rates)
    found = [_edge(row.asDict(), were, are, rates, history_days) for row in rows]
    return sorted(found, key=nearest_first)


def nearest_first(edge: Edge) -> tuple[Any, ...]:
    """Sorts examples: by supplier, kind and change, what lies nearest to the proposed limit first."""
    away = Decimal("Infinity") if edge.margin_after is None else abs(edge.margin_after)
    return edge.supplier_id, edge.anomaly_type, edge.change, away, edge.reco_date, edge.activity_id


Facts = Mapping[tuple[str, str], Mapping[str, Any]]


def _facts(judged: Judged, keys: Sequence[tuple[str, str]]) -> Facts:
    wanted = engine_of(judged.facts.sparkSession).local_rows(keys, _KEYS)
    rows = judged.facts.join(F.broadcast(wanted), on=list(KEY), how="left_semi").collect()
    return {(row["supplier_id"], row["activity_id"]): row.asDict(recursive=True) for row in rows}


def _rates(rates: DataFrame) -> dict[tuple[date, str], Decimal]:
    return {(row["fx_date"], row["fx_currency"]): row["usd_per_minor"] for row in rates.collect()}


def _edge(
    row: Mapping[str, Any], were: Facts, are: Facts, rates: Mapping[tuple[date, str], Decimal], history_days: int
) -> Edge:
    key = row["supplier_id"], row["activity_id"]
    before, after = (_rule(facts.get(key), row["anomaly_type"], rates, history_days) for facts in (were, are))
    shown = before if row["change"] == LOST else after
    return Edge(
        **{name: row[name] for name in (*BREAK, "change")},
        amount_at_risk_usd=row["usd"],
        measured=shown.values if shown else "",
        limit_before=before.limit if before else None,
        limit_after=after.limit if after else None,
        margin_before=before.margin if before else None,
        margin_after=after.margin if after else None,
        unit=shown.unit if shown else "",
    )


def _rule(
    fact: Mapping[str, Any] | None, kind: str, rates: Mapping[tuple[date, str], Decimal], history_days: int
) -> RuleResult | None:
    if fact is None:
        return None
    used = [_rate(fact, side, rates) for side in Side if fact[f"{side.prefix}_currency"] is not None]
    return next((rule for rule in rules_of(fact, used, history_days) if kind in rule.anomaly_type), None)


def _rate(fact: Mapping[str, Any], side: Side, rates: Mapping[tuple[date, str], Decimal]) -> Rate:
    currency, on = fact[f"{side.prefix}_currency"], fact["fx_date"]
    minor = rates.get((on, currency))
    unit = None if minor is None else minor.scaleb(minor_units()[currency])
    return Rate(side.value, currency, on, unit, None, None)
