"""What no fact may be, as one number a row: counting it costs one more grouping key and no more passes."""

from collections.abc import Callable, Iterator, Mapping
from functools import reduce

from pyspark.sql import Column

from reco_rules.engine import F
from reco_rules.verdict import RULES
from reco_rules.vocabulary import KEY, ActivityType, AnomalyType, Outcome, Side, Status

_MAX_AMOUNT = 10**15


def _any(conditions: list[Column]) -> Column:
    return reduce(lambda left, right: left | right, conditions)


def _each_side(condition: Callable[[str], Column]) -> Column:
    return _any([condition(side.prefix) for side in Side])


def _outside(name: str, allowed: type[Status] | type[ActivityType] | type[Outcome]) -> Column:
    return ~F.col(name).isin([member.value for member in allowed])


def _unknown_types() -> Column:
    known = F.array(*[F.lit(kind.value) for kind in AnomalyType])
    types = F.col("anomaly_types")
    return types.isNull() | F.when(F.size(types) > 0, F.size(F.array_except(types, known)) > 0)


def _at_odds() -> Column:
    mismatches = F.array(*[F.lit(rule.anomaly.value) for rule in RULES if rule.mismatches])
    types, outcome = F.col("anomaly_types"), F.col("outcome")
    mismatched = (F.size(types) > 0) & F.arrays_overlap(types, mismatches)
    return (
        ((outcome == Outcome.MATCHED.value) & mismatched)
        | ((outcome == Outcome.MISMATCHED.value) & ~mismatched)
        | ((outcome == Outcome.MISSING_AGODA.value) & F.col("agoda_version").isNotNull())
        | ((outcome == Outcome.MISSING_SUPPLIER.value) & F.col("supplier_version").isNotNull())
    )


#: Name of each flaw, its condition over a fact's columns; null counts as no flaw.
_FLAWS: Mapping[str, Callable[[], Column]] = {
    "without_key": lambda: _any([F.col(name).isNull() | (F.col(name) == "") for name in KEY]),
    "without_side": lambda: F.col("agoda_version").isNull() & F.col("supplier_version").isNull(),
    "unknown_outcome": lambda: F.col("outcome").isNull() | _outside("outcome", Outcome),
    "unknown_anomaly_type": _unknown_types,
    "unknown_status": lambda: _each_side(lambda side: _outside(f"{side}_status", Status)),
    "unknown_activity_type": lambda: _each_side(lambda side: _outside(f"{side}_activity_type", ActivityType)),
    "amount_out_of_range": lambda: _each_side(lambda side: ~F.col(f"{side}_amount_minor").between(0, _MAX_AMOUNT)),
    "outcome_at_odds": _at_odds,
}

FLAWS = tuple(_FLAWS)


def flaws_of() -> Column:
    """The flaws of a fact, one bit each (int, 0 for a sound fact)."""
    bits = [
        F.when(is_flawed(), F.lit(1 << number)).otherwise(F.lit(0)) for number, is_flawed in enumerate(_FLAWS.values())
    ]
    return reduce(lambda left, right: left + right, bits)


def flaws_in(bits: int) -> Iterator[str]:
    """The names of the flaws that a number of `flaws_of` stands for."""
    return (name for number, name in enumerate(FLAWS) if bits >> number & 1)
