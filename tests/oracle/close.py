"""The close of one date, by walking the contract's sections 5 and 6 key by key."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from tests.oracle.model import EXACT, EXPONENTS, SOURCES, Event, Fx, Policy, first_publications, stamped

Fact = dict[str, object]
Break = dict[str, object]
MICRO = Decimal("0.000001")
ZERO = Decimal("0.000000")
MAX_RATE_AGE_DAYS = 7
SIDE_FIELDS = ("event_id", "amount_minor", "currency", "status", "version", "event_time")


@dataclass(frozen=True)
class Close:
    """Facts by (supplier, activity), anomalies by (supplier, activity, type)."""

    facts: dict[tuple[str, str], Fact]
    anomalies: dict[tuple[str, str, str], Break]


def close(
    events: Iterable[Event],
    policies: Mapping[str, Policy],
    fx: Fx,
    day: date,
    history_days: int = 7,
    default: Policy | None = None,
) -> Close:
    """The authoritative verdicts of `day`. `policies` by supplier; a supplier not in it has `default`."""
    by_key: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in events:
        by_key[event.key].append(event)
    result = Close({}, {})
    for key, deliveries in by_key.items():
        policy = policies.get(key[0], default or Policy())
        verdict = _close_key([stamped(event, policy) for event in deliveries], policy, fx, day, history_days)
        if verdict is None:
            continue
        fact, breaks = verdict
        result.facts[key] = fact
        for kind, found in breaks.items():
            result.anomalies[(*key, kind)] = found
    return result


def reco_dates(events: Iterable[Event]) -> list[tuple[Event, date]]:
    """Each distinct event of one key with the day it belongs to, in order of time (section 6)."""
    dated: list[tuple[Event, date]] = []
    for event in sorted(first_publications(events), key=lambda e: (e.event_time, e.source, e.rank)):
        assert event.grace_seconds is not None, "stamp the grace first"
        grace = timedelta(seconds=event.grace_seconds)
        own = event.event_time.date()
        midnight = datetime(own.year, own.month, own.day, tzinfo=UTC)
        takes = own
        if dated:
            predecessor, its_date = dated[-1]
            follows = event.event_time - predecessor.event_time < grace
            near = event.event_time < midnight + 2 * grace
            if follows and near and its_date == own - timedelta(days=1):
                takes = its_date
        dated.append((event, takes))
    return dated


def latest(events: Iterable[Event], source: str) -> Event | None:
    """The latest version of one side; None where it has no event."""
    return max((event for event in events if event.source == source), key=lambda e: e.rank, default=None)


def rate(currency: str, day: date, fx: Fx) -> Decimal | None:
    """US dollars for a whole unit by the latest rate on or before `day`, at most 7 days old."""
    if currency == "USD":
        return Decimal(1)
    for age in range(MAX_RATE_AGE_DAYS + 1):
        found = fx.get((day - timedelta(days=age), currency))
        if found is not None:
            return found
    return None


def round_usd(value: Decimal) -> Decimal:
    """To 6 decimals, half up."""
    return value.quantize(MICRO, rounding=ROUND_HALF_UP, context=EXACT)


def to_usd(amount_minor: int, currency: str, day: date, fx: Fx) -> Decimal | None:
    """The amount in US dollars; None where no rate is known."""
    known = rate(currency, day, fx)
    if known is None:
        return None
    whole = Decimal(amount_minor).scaleb(-EXPONENTS[currency], context=EXACT)
    return round_usd(EXACT.multiply(whole, known))


def price_tolerance(agoda_usd: Decimal, policy: Policy) -> Decimal:
    """The greatest difference that still is no break."""
    return round_usd(max(policy.abs_tol_usd, round_usd(EXACT.multiply(policy.pct_tol, agoda_usd))))


def duplicated_versions(events: Iterable[Event], source: str) -> list[list[Event]]:
    """The distinct events of each version of one side that was sent as more than one event."""
    versions: dict[int, list[Event]] = defaultdict(list)
    for event in first_publications(events):
        if event.source == source:
            versions[event.version].append(event)
    return [sent for sent in versions.values() if len(sent) > 1]


def delayed(events: Iterable[Event], source: str, policy: Policy) -> bool:
    """Whether one side's event was first published too long after it happened."""
    limit = timedelta(seconds=policy.max_delay)
    return any(e.kafka_time - e.event_time > limit for e in first_publications(events) if e.source == source)


def duplicate_at_risk(versions: Sequence[Sequence[Event]], day: date, fx: Fx) -> Decimal | None:
    """Greatest distance between one version's payloads; 0 where all agree; None where a needed rate is missing."""
    greatest = ZERO
    for sent in versions:
        if len({(event.currency, event.amount_minor) for event in sent}) == 1:
            continue
        priced = [to_usd(event.amount_minor, event.currency, day, fx) for event in sent]
        known = [usd for usd in priced if usd is not None]
        if len(known) < len(priced):
            return None
        greatest = max(greatest, max(known) - min(known))
    return greatest


def severity(at_risk: Decimal | None, policy: Policy) -> str:
    """CRITICAL, HIGH, MEDIUM or LOW."""
    if at_risk is None:
        return "HIGH"
    if at_risk >= policy.critical_usd:
        return "CRITICAL"
    if at_risk >= policy.high_usd:
        return "HIGH"
    return "MEDIUM" if at_risk > 0 else "LOW"


def _close_key(
    deliveries: Sequence[Event], policy: Policy, fx: Fx, day: date, history_days: int
) -> tuple[Fact, dict[str, Break]] | None:
    dated = reco_dates(deliveries)
    today = [event for event, its in dated if its == day]
    if not today:
        return None
    window = [event for event, its in dated if day - timedelta(days=history_days) <= its <= day]
    a, s = latest(window, "AGODA"), latest(window, "SUPPLIER")
    of_rates = a or s
    assert of_rates is not None, "today's events lie in the window"
    fx_day = of_rates.event_time.date()
    usd = {side: _priced(event, fx_day, fx) for side, event in (("agoda", a), ("supplier", s))}
    at_risk, numbers = pair_rules(a, s, usd["agoda"], usd["supplier"], policy)
    outcome = "MATCHED" if not at_risk else "MISMATCHED"
    if a is None or s is None:
        outcome = "MISSING_SUPPLIER" if s is None else "MISSING_AGODA"
    for source in SOURCES:
        versions = duplicated_versions(today, source)
        if versions:
            at_risk[f"DUPLICATE_{source}"] = duplicate_at_risk(versions, fx_day, fx)
        if delayed(today, source, policy):
            at_risk[f"DELAYED_{source}"] = ZERO
    fact: Fact = {"reco_date": day, "supplier_id": of_rates.supplier_id, "activity_id": of_rates.activity_id}
    fact |= {"outcome": outcome, "anomaly_types": sorted(at_risk)}
    for side, event in (("agoda", a), ("supplier", s)):
        fact |= {f"{side}_{name}": None if event is None else getattr(event, name) for name in SIDE_FIELDS}
        fact[f"{side}_amount_usd"] = usd[side]
    fact |= numbers
    for source in SOURCES:
        fact[f"{source.lower()}_events"] = sum(event.source == source for event in today)
    breaks: dict[str, Break] = {
        kind: {"severity": severity(money, policy), "amount_at_risk_usd": money} for kind, money in at_risk.items()
    }
    return fact, breaks


def _priced(event: Event | None, day: date, fx: Fx) -> Decimal | None:
    return None if event is None else to_usd(event.amount_minor, event.currency, day, fx)


def pair_rules(
    a: Event | None, s: Event | None, a_usd: Decimal | None, s_usd: Decimal | None, policy: Policy
) -> tuple[dict[str, Decimal | None], Fact]:
    """Rules 1 to 4: amount at risk by break, and the fact's price and skew columns."""
    numbers: Fact = {"price_diff_usd": None, "price_tolerance_usd": None, "skew_seconds": None}
    if s is None:
        return {"MISSING_SUPPLIER": a_usd}, numbers
    if a is None:
        return {"MISSING_AGODA": s_usd}, numbers
    at_risk: dict[str, Decimal | None] = {}
    both = a_usd is not None and s_usd is not None
    if a_usd is not None and s_usd is not None:
        difference, tolerance = abs(a_usd - s_usd), price_tolerance(a_usd, policy)
        numbers |= {"price_diff_usd": difference, "price_tolerance_usd": tolerance}
        if difference > tolerance:
            at_risk["PRICE_MISMATCH"] = difference
    elif (a.currency, a.amount_minor) != (s.currency, s.amount_minor):
        at_risk["FX_RATE_MISSING"] = None
    if a.status != s.status:
        at_risk["STATUS_MISMATCH"] = max(a_usd, s_usd) if both else None  # type: ignore[type-var]
    skew = abs(a.event_time - s.event_time)
    numbers["skew_seconds"] = Decimal(skew // timedelta(milliseconds=1)).scaleb(-3)
    if skew > timedelta(seconds=policy.allowed_skew):
        at_risk["TIMESTAMP_SKEW"] = ZERO
    return at_risk, numbers
