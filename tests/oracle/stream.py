"""What the stream's exceptions must come to when everything has arrived and every grace has passed."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal

from tests.oracle.close import (
    ZERO,
    delayed,
    duplicate_at_risk,
    duplicated_versions,
    latest,
    pair_rules,
    severity,
    to_usd,
)
from tests.oracle.model import SOURCES, Event, Fx, Policy

OpenBreaks = dict[tuple[str, str, str], tuple[str, Decimal | None]]


def open_breaks(
    events: Iterable[Event], policies: Mapping[str, Policy], fx: Fx, default: Policy | None = None
) -> OpenBreaks:
    """(supplier, activity, anomaly type) → (severity, amount at risk) of NRT_HOURLY suppliers, on latest versions."""
    by_key: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in events:
        by_key[event.key].append(event)
    found: OpenBreaks = {}
    for key, deliveries in by_key.items():
        policy = policies.get(key[0], default or Policy())
        if policy.mode == "NRT_HOURLY":
            found |= {
                (*key, kind): (severity(usd, policy), usd) for kind, usd in _breaks(deliveries, policy, fx).items()
            }
    return found


def _breaks(deliveries: list[Event], policy: Policy, fx: Fx) -> dict[str, Decimal | None]:
    a, s = latest(deliveries, "AGODA"), latest(deliveries, "SUPPLIER")
    of_rates = a or s
    assert of_rates is not None
    day = of_rates.event_time.date()
    a_usd, s_usd = (None if e is None else to_usd(e.amount_minor, e.currency, day, fx) for e in (a, s))
    at_risk, _ = pair_rules(a, s, a_usd, s_usd, policy)
    for source in SOURCES:
        versions = duplicated_versions(deliveries, source)
        if versions:
            at_risk[f"DUPLICATE_{source}"] = duplicate_at_risk(versions, day, fx)
        if delayed(deliveries, source, policy):
            at_risk[f"DELAYED_{source}"] = ZERO
    return at_risk
