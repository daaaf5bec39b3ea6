"""The verdict on one key: every rule, once, and the outcome they give together."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame

from reco_rules import delays, duplicates, existence, price, skew, status
from reco_rules.engine import F
from reco_rules.vocabulary import AnomalyType, Outcome


@dataclass(frozen=True)
class Rule:
    """One rule: the anomaly it finds, its condition over the columns of a judged row, and whether it is a mismatch."""

    anomaly: AnomalyType
    is_broken: Callable[[], Column]
    mismatches: bool = False


def _over(rule: Callable[..., Column], *names: str) -> Callable[[], Column]:
    # A Column needs a session, so it is made when the rule is used and not when this module is read.
    return lambda: rule(*[F.col(name) for name in names])


_VERSIONS = ("agoda_version", "supplier_version")
_RATE_INPUTS = (
    *("agoda_amount_usd", "supplier_amount_usd", "agoda_amount_minor", "supplier_amount_minor"),
    *("agoda_currency", "supplier_currency"),
)

#: Every rule of CONTRACT section 5, sorted by the anomaly's name, which is the order of `anomaly_types`.
RULES: tuple[Rule, ...] = (
    Rule(AnomalyType.DELAYED_AGODA, _over(delays.is_delayed, "agoda_delay_seconds", "max_delay_seconds")),
    Rule(AnomalyType.DELAYED_SUPPLIER, _over(delays.is_delayed, "supplier_delay_seconds", "max_delay_seconds")),
    Rule(AnomalyType.DUPLICATE_AGODA, _over(duplicates.is_duplicated, "agoda_duplicates")),
    Rule(AnomalyType.DUPLICATE_SUPPLIER, _over(duplicates.is_duplicated, "supplier_duplicates")),
    Rule(AnomalyType.FX_RATE_MISSING, _over(price.rate_missing, *_RATE_INPUTS), mismatches=True),
    Rule(AnomalyType.MISSING_AGODA, _over(existence.missing_agoda, *_VERSIONS)),
    Rule(AnomalyType.MISSING_SUPPLIER, _over(existence.missing_supplier, *_VERSIONS)),
    Rule(
        AnomalyType.PRICE_MISMATCH,
        _over(price.price_differs, "price_diff_usd", "price_tolerance_usd"),
        mismatches=True,
    ),
    Rule(AnomalyType.STATUS_MISMATCH, _over(status.status_differs, "agoda_status", "supplier_status"), mismatches=True),
    Rule(AnomalyType.TIMESTAMP_SKEW, _over(skew.is_skewed, "skew_seconds", "allowed_skew_seconds"), mismatches=True),
)


def judge(sides: DataFrame) -> DataFrame:
    """Add `price_diff_usd, price_tolerance_usd, skew_seconds, anomaly_types, outcome` to priced rows with policy.

    `sides`: the columns of `flat_sides`, `with_usd` and `with_policy`. Every pair rule is false where a side is
    missing, since its inputs are null then.
    """
    agoda_usd, supplier_usd = F.col("agoda_amount_usd"), F.col("supplier_amount_usd")
    measured = sides.select(
        "*",
        price.price_difference(agoda_usd, supplier_usd).alias("price_diff_usd"),
        price.price_tolerance(agoda_usd, supplier_usd, F.col("abs_tol_usd"), F.col("pct_tol")).alias(
            "price_tolerance_usd"
        ),
        skew.skew(F.col("agoda_event_time"), F.col("supplier_event_time")).alias("skew_seconds"),
    )
    broken = broken_rules()
    return measured.select("*", anomaly_types(broken).alias("anomaly_types"), outcome(broken).alias("outcome"))


def broken_rules() -> dict[AnomalyType, Column]:
    """Whether a measured row breaks each rule (never null)."""
    return {rule.anomaly: rule.is_broken() for rule in RULES}


def anomaly_types(broken: Mapping[AnomalyType, Column]) -> Column:
    """The names of all broken rules of a measured row, sorted (array of string, never null)."""
    found = [F.when(broken[rule.anomaly], F.lit(rule.anomaly.value)).otherwise(F.lit("")) for rule in RULES]
    return F.array_remove(F.array(*found), "")


def outcome(broken: Mapping[AnomalyType, Column]) -> Column:
    """The outcome of a measured row: missing, mismatched or matched; duplicates and delays do not change it."""
    mismatched = F.lit(False)
    for rule in RULES:
        if rule.mismatches:
            mismatched = mismatched | broken[rule.anomaly]
    return (
        F.when(broken[AnomalyType.MISSING_SUPPLIER], F.lit(Outcome.MISSING_SUPPLIER.value))
        .when(broken[AnomalyType.MISSING_AGODA], F.lit(Outcome.MISSING_AGODA.value))
        .when(mismatched, F.lit(Outcome.MISMATCHED.value))
        .otherwise(F.lit(Outcome.MATCHED.value))
    )
