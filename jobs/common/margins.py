"""How far each rule is from breaking, or over, and the smallest change that would clear it. Plain values, no Spark."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Any

from jobs.common.currencies import minor_units
from jobs.common.days import days_before
from jobs.common.output import plain_decimal
from jobs.common.policy_file import duration_of
from reco_rules.money import MAX_RATE_AGE_DAYS
from reco_rules.vocabulary import AnomalyType, Side

_MAX_AMOUNT = 10**15
_MICRO = Decimal("0.000001")
#: As far as policies go: seconds, and US dollars that are already too many.
_MAX_SKEW, _MAX_DELAY = 86_400, 604_800
_TOO_MANY_USD = 10**12

Fact = Mapping[str, Any]


@dataclass(frozen=True)
class Rate:
    """The rate one side was priced with: US dollars for one whole unit, and the date it is of; None where unknown."""

    side: str
    currency: str
    fx_date: date
    usd_per_unit: Decimal | None
    rate_date: date | None
    fx_version: int | None


@dataclass(frozen=True)
class RuleResult:
    """One rule on one key. `margin` = limit - value in `unit`: negative where it is over; None where not measured.

    `applies`: False for a rule of pairs where a side or a rate is missing.
    """

    rule: str
    anomaly_type: str
    broken: bool
    values: str
    limit: str = ""
    margin: Decimal | None = None
    unit: str = ""
    changes: list[str] = field(default_factory=list)
    applies: bool = True

    @property
    def verdict(self) -> str:
        """In one or three words."""
        return "broken" if self.broken else "holds" if self.applies else "does not apply"


def rules_of(fact: Fact, rates: Sequence[Rate], history_days: int) -> list[RuleResult]:
    """Every rule of CONTRACT section 5 with its values, limit, margin and, where broken, what would clear it.

    `fact`: a judged row with the policy's columns; whether a rule is broken is what `anomaly_types` says.
    """
    return [
        _existence(fact, rates, history_days),
        _price(fact, rates),
        *_rate_missing(fact, rates),
        _status(fact),
        _skew(fact),
        *[_duplicates(fact, side) for side in Side],
        *[_delay(fact, side) for side in Side],
    ]


def major(amount_minor: int, currency: str) -> Decimal:
    """An amount in whole units, with the currency's places: 12345 USD is 123.45."""
    return Decimal(amount_minor).scaleb(-minor_units().get(currency, 0))


def money(amount_minor: int, currency: str) -> str:
    """`123.45 USD`."""
    return f"{major(amount_minor, currency):,f} {currency}"


def duration(seconds: Decimal) -> str:
    """`1h 2m 3.5s`."""
    left = abs(seconds)
    hours, minutes, rest = int(left // 3600), int(left % 3600 // 60), left % 60
    parts = [f"{hours}h" if hours else "", f"{minutes}m" if minutes else "", f"{plain_decimal(rest)}s" if rest else ""]
    return ("-" if seconds < 0 else "") + (" ".join(part for part in parts if part) or "0s")


def instant(time: datetime) -> str:
    """To the millisecond, UTC."""
    return f"{time:%Y-%m-%d %H:%M:%S}.{time.microsecond // 1000:03d}Z"


def allowed_amounts(fact: Fact, usd_per_minor: Decimal) -> tuple[int, int] | None:
    """Smallest and greatest amount of SUPPLIER in minor units at this rate that AGODA's amount allows."""
    agoda = fact["agoda_amount_usd"]
    with localcontext(prec=60):
        relative = (agoda * fact["pct_tol"]).quantize(_MICRO, ROUND_HALF_UP)
        tolerance = max(fact["abs_tol_usd"], relative)

        def dollars(amount: int) -> Decimal:
            return (amount * usd_per_minor).quantize(_MICRO, ROUND_HALF_UP)

        lowest = _first(lambda amount: dollars(amount) >= agoda - tolerance)
        highest = _first(lambda amount: dollars(amount) > agoda + tolerance) - 1
    return (lowest, highest) if lowest <= highest else None


def _first(holds: Callable[[int], bool]) -> int:
    """The smallest amount from which a growing condition holds."""
    low, high = 0, _MAX_AMOUNT + 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _breaks(fact: Fact, kind: AnomalyType) -> bool:
    return kind.value in fact["anomaly_types"]


def _is_pair(fact: Fact) -> bool:
    return all(fact[f"{side.prefix}_status"] is not None for side in Side)


def _amount(fact: Fact, side: Side) -> str:
    if fact[f"{side.prefix}_version"] is None:
        return f"{side.value} nothing"
    dollars = fact[f"{side.prefix}_amount_usd"]
    priced = "no rate" if dollars is None else f"{plain_decimal(dollars)} USD"
    return f"{side.value} {money(fact[f'{side.prefix}_amount_minor'], fact[f'{side.prefix}_currency'])} = {priced}"


def _existence(fact: Fact, rates: Sequence[Rate], history_days: int) -> RuleResult:
    versions = {side: fact[f"{side.prefix}_version"] for side in Side}
    values = ", ".join(f"{s.value} version {v}" if v is not None else f"{s.value} nothing" for s, v in versions.items())
    missing = next((side for side, version in versions.items() if version is None), None)
    kind = f"MISSING_{missing.value}" if missing else "MISSING_AGODA or MISSING_SUPPLIER"
    changes = []
    if missing is not None:
        there = Side.SUPPLIER if missing is Side.AGODA else Side.AGODA
        first = days_before(fact["reco_date"], history_days)
        # On a day of its own the event would be missing its other side there.
        when = f"an event time of {fact['reco_date']} (or of a day from {first} of which {there.value} has an event)"
        match = _matching(fact, there, missing, rates)
        changes.append(f"one more event from {missing.value} for this activity, with {when}; to match it says {match}")
    return RuleResult("existence", kind, missing is not None, values, "both sides", changes=changes)


def _matching(fact: Fact, there: Side, missing: Side, rates: Sequence[Rate]) -> str:
    currency, status = fact[f"{there.prefix}_currency"], fact[f"{there.prefix}_status"]
    amount = money(fact[f"{there.prefix}_amount_minor"], currency)
    if missing is Side.SUPPLIER and fact["agoda_amount_usd"] is not None:
        bounds = allowed_amounts(fact, _per_minor(rates, currency))
        if bounds is not None:
            amount = f"between {money(bounds[0], currency)} and {money(bounds[1], currency)}"
    return f"{amount}, status {status}, and an event time {_beside(fact, there)}"


def _beside(fact: Fact, side: Side) -> str:
    """The times near the side's event that belong to its day, whatever the grace: over midnight lies another fact.

    An event after the day's end belongs to it as a link of a chain, and so does what comes before it on its date.
    """
    at, reach = fact[f"{side.prefix}_event_time"], timedelta(seconds=fact["allowed_skew_seconds"])
    begins = datetime.combine(min(at.date(), fact["reco_date"]), datetime.min.time(), at.tzinfo)
    ends = max(at, begins + timedelta(days=1, milliseconds=-1))
    earliest = begins if at - begins <= reach else at - reach  # in this order: there may be no such day
    return f"between {instant(earliest)} and {instant(min(at + reach, ends))}"


def _per_minor(rates: Sequence[Rate], currency: str) -> Decimal:
    rate = next(rate for rate in rates if rate.currency == currency)
    assert rate.usd_per_unit is not None
    return rate.usd_per_unit.scaleb(-minor_units()[currency])


def _price(fact: Fact, rates: Sequence[Rate]) -> RuleResult:
    values = "; ".join(_amount(fact, side) for side in Side)
    difference, tolerance = fact["price_diff_usd"], fact["price_tolerance_usd"]
    if difference is None:
        # One amount of one currency is the same by any rate.
        applies = _is_pair(fact) and not _breaks(fact, AnomalyType.FX_RATE_MISSING)
        return RuleResult("price", AnomalyType.PRICE_MISMATCH.value, False, values, "not measured", applies=applies)
    absolute, percent = plain_decimal(fact["abs_tol_usd"]), plain_decimal(fact["pct_tol"] * 100)
    limit = f"{plain_decimal(tolerance)} USD, the greater of {absolute} USD and {percent}% of AGODA's amount"
    broken = _breaks(fact, AnomalyType.PRICE_MISMATCH)
    changes = []
    if broken:
        currency = fact["supplier_currency"]
        bounds = allowed_amounts(fact, _per_minor(rates, currency))
        if bounds is not None:
            changes.append(f"SUPPLIER's amount between {money(bounds[0], currency)} and {money(bounds[1], currency)}")
        if difference < _TOO_MANY_USD:
            changes.append(f"raise price.abs_tol_usd for {fact['supplier_id']} to {plain_decimal(difference)}")
    values = f"{values}; {plain_decimal(difference)} USD apart"
    margin = tolerance - difference
    return RuleResult("price", AnomalyType.PRICE_MISMATCH.value, broken, values, limit, margin, "USD", changes)


def _rate_missing(fact: Fact, rates: Sequence[Rate]) -> list[RuleResult]:
    if not _breaks(fact, AnomalyType.FX_RATE_MISSING):
        return []
    unknown = sorted({rate.currency for rate in rates if rate.usd_per_unit is None})
    first = days_before(fact["fx_date"], MAX_RATE_AGE_DAYS)
    change = f"a rate for {' and '.join(unknown)} of a date from {first} to {fact['fx_date']} (`reco fx load FILE`)"
    values = f"no rate for {', '.join(unknown)}, and not the same amount of the same currency"
    limit = f"at most {MAX_RATE_AGE_DAYS} days old on {fact['fx_date']}"
    return [RuleResult("rate", AnomalyType.FX_RATE_MISSING.value, True, values, limit, changes=[change])]


def _status(fact: Fact) -> RuleResult:
    says = {side: fact[f"{side.prefix}_status"] for side in Side}
    values = ", ".join(f"{side.value} {status or 'nothing'}" for side, status in says.items())
    broken = _breaks(fact, AnomalyType.STATUS_MISMATCH)
    changes = []
    if broken:
        wanted, other = says[Side.AGODA], says[Side.SUPPLIER]
        day = f"a newer version with an event time of {fact['reco_date']}"
        changes = [f"{day}: from SUPPLIER with status {wanted}, or from AGODA with status {other}"]
    kind, applies = AnomalyType.STATUS_MISMATCH.value, _is_pair(fact)
    return RuleResult("status", kind, broken, values, "the same", changes=changes, applies=applies)


def _skew(fact: Fact) -> RuleResult:
    kind, apart, allowed = AnomalyType.TIMESTAMP_SKEW.value, fact["skew_seconds"], fact["allowed_skew_seconds"]
    limit = duration(Decimal(allowed))
    if apart is None:
        return RuleResult("skew", kind, False, "not measured", limit, applies=_is_pair(fact))
    broken = _breaks(fact, AnomalyType.TIMESTAMP_SKEW)
    changes = []
    if broken:
        changes = [
            f"SUPPLIER's event time {_beside(fact, Side.AGODA)}",
            *_raised("allowed_skew", fact, apart, _MAX_SKEW),
        ]
    return RuleResult(
        "skew", kind, broken, f"event times {duration(apart)} apart", limit, allowed - apart, "s", changes
    )


def _raised(name: str, fact: Fact, seconds: Decimal, greatest: int) -> list[str]:
    """The limit that would do, in whole seconds; none where no policy may go so far."""
    whole = math.ceil(seconds)
    return [f"raise {name} for {fact['supplier_id']} to {duration_of(whole)}"] if whole <= greatest else []


def _duplicates(fact: Fact, side: Side) -> RuleResult:
    kind, sent = f"DUPLICATE_{side.value}", fact[f"{side.prefix}_duplicates"] or []
    counts: dict[int, int] = {}
    for event in sent:
        counts[event["version"]] = counts.get(event["version"], 0) + 1
    repeated = {version: count for version, count in sorted(counts.items()) if count > 1}
    told = ", ".join(f"version {version} as {count} different events" for version, count in repeated.items())
    count = fact[f"{side.prefix}_events"] or 0
    values = told or f"{count} event{'' if count == 1 else 's'} of this date{', each version once' if count else ''}"
    changes = []
    if repeated:
        versions = ", ".join(f"version {version}" for version in repeated)
        changes = [f"no later event does: {side.value} has to send {versions} once, with one event id and content"]
    broken = kind in fact["anomaly_types"]
    return RuleResult(f"duplicates of {side.value}", kind, broken, values, "1 event a version", changes=changes)


def _delay(fact: Fact, side: Side) -> RuleResult:
    kind, took, allowed = f"DELAYED_{side.value}", fact[f"{side.prefix}_delay_seconds"], fact["max_delay_seconds"]
    rule, limit = f"delay of {side.value}", duration(Decimal(allowed))
    if took is None:
        return RuleResult(rule, kind, False, "no event of this date", limit, applies=False)
    broken = kind in fact["anomaly_types"]
    changes = []
    if broken:
        changes = [
            f"no later event does: {side.value} has to publish {duration(took - allowed)} sooner",
            *_raised("max_delay", fact, took, _MAX_DELAY),
        ]
    values = f"published {duration(took)} after it happened"
    return RuleResult(rule, kind, broken, values, limit, allowed - took, "s", changes)
