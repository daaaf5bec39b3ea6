"""What `reco explain` proposes: a limit that `reco policies apply` takes, that clears the break, and no greater one."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.common.margins import Rate, rules_of
from jobs.common.policy_file import BUILT_IN, Policy, parse_policies
from reco_rules.vocabulary import AnomalyType

DAY, SUPPLIER = date(2026, 3, 10), "SUP-007"
MILLI, MICRO = Decimal("0.001"), Decimal("0.000001")
SKEW, DELAY, PRICE = AnomalyType.TIMESTAMP_SKEW, AnomalyType.DELAYED_AGODA, AnomalyType.PRICE_MISMATCH


def fact_of(kind: AnomalyType, **measured: Any) -> dict[str, Any]:
    """A judged pair with one break, as the built-in policy gives it."""
    times = dict.fromkeys(("agoda_event_time", "supplier_event_time"), datetime(2026, 3, 10, 12, tzinfo=UTC))
    sides: dict[str, Any] = {
        f"{side}_{name}": value
        for side in ("agoda", "supplier")
        for name, value in (
            *(("version", 1), ("amount_minor", 0), ("currency", "USD"), ("status", "BOOKED"), ("events", 1)),
            *(("amount_usd", Decimal(0)), ("duplicates", None), ("delay_seconds", Decimal(0))),
        )
    }
    limits: dict[str, Any] = {"abs_tol_usd": BUILT_IN.abs_tol_usd, "pct_tol": BUILT_IN.pct_tol}
    limits |= {"allowed_skew_seconds": BUILT_IN.allowed_skew, "max_delay_seconds": BUILT_IN.max_delay}
    pair = {"price_diff_usd": Decimal(0), "price_tolerance_usd": BUILT_IN.abs_tol_usd, "skew_seconds": Decimal(0)}
    key = {"supplier_id": SUPPLIER, "reco_date": DAY, "fx_date": DAY, "anomaly_types": [kind.value]}
    return {**sides, **times, **limits, **pair, **key, **measured}


def proposed(fact: Mapping[str, Any], kind: AnomalyType) -> str | None:
    """The part of a policies file that clears the break, as far as explain proposes one."""
    rates = [Rate(side, "USD", DAY, Decimal(1), DAY, None) for side in ("AGODA", "SUPPLIER")]
    told = [text for rule in rules_of(fact, rates, 7) if rule.anomaly_type == kind.value for text in rule.changes]
    found = [re.fullmatch(rf"raise (?:price\.)?(\w+) for {SUPPLIER} to (\S+)", text) for text in told]
    for one in filter(None, found):
        value = f'{{abs_tol_usd: "{one[2]}"}}' if one[1] == "abs_tol_usd" else one[2]
        return f"{'price' if one[1] == 'abs_tol_usd' else one[1]}: {value}"
    return None


def applied(part: str, folder: Path) -> Policy:
    """SUPPLIER's policy as `reco policies apply` reads it."""
    file = folder / "policies.yaml"
    file.write_text(f"version: 1\nsuppliers:\n  {SUPPLIER}: {{{part}}}\n")
    return parse_policies(file).policies[SUPPLIER]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all that is drawn."""
    return tmp_path_factory.mktemp("policies")


drawn = settings(max_examples=60, deadline=None)


@drawn
@given(st.integers(900_001, 86_400_000), st.integers(7_200_001, 604_800_000))
def test_a_raised_duration_clears_the_break(folder: Path, skew: int, delay: int) -> None:
    apart, late = skew * MILLI, delay * MILLI
    part = proposed(fact_of(SKEW, skew_seconds=apart), SKEW)
    assert part is not None
    assert apart <= applied(part, folder).allowed_skew < apart + 1
    part = proposed(fact_of(DELAY, agoda_delay_seconds=late), DELAY)
    assert part is not None
    assert late <= applied(part, folder).max_delay < late + 1


@pytest.mark.parametrize(
    ("apart", "part"),
    [("900.5", "15m1s"), ("3600.001", "1h1s"), ("1200.000", "20m"), ("86400", "1d"), ("86400.001", None)],
)
def test_a_second_that_is_begun_counts_whole(apart: str, part: str | None) -> None:
    found = proposed(fact_of(SKEW, skew_seconds=Decimal(apart)), SKEW)
    assert found == (None if part is None else f"allowed_skew: {part}")


@drawn
@given(st.integers(0, 10**18), st.integers(0, 10**21))
def test_a_raised_tolerance_clears_the_break(folder: Path, agoda: int, supplier: int) -> None:
    ours, theirs = agoda * MICRO, supplier * MICRO
    relative = (ours * BUILT_IN.pct_tol).quantize(MICRO, ROUND_HALF_UP)
    tolerance, apart = max(BUILT_IN.abs_tol_usd, relative), abs(ours - theirs)
    if apart <= tolerance:
        return
    priced = {"agoda_amount_usd": ours, "supplier_amount_usd": theirs, "price_tolerance_usd": tolerance}
    part = proposed(fact_of(PRICE, price_diff_usd=apart, **priced), PRICE)
    assert (part is None) == (apart >= 10**12)
    if part is not None:
        assert applied(part, folder).abs_tol_usd == apart


@pytest.mark.parametrize(
    ("agoda", "supplier", "between"),
    [
        ("10T23:55", "10T22:00", "2026-03-10 23:40:00.000Z and 2026-03-10 23:59:59.999Z"),
        ("10T00:05", "10T02:00", "2026-03-10 00:00:00.000Z and 2026-03-10 00:20:00.000Z"),
        ("11T00:05", "10T23:30", "2026-03-10 23:50:00.000Z and 2026-03-11 00:05:00.000Z"),
        ("08T23:55", "10T12:00", "2026-03-08 23:40:00.000Z and 2026-03-08 23:59:59.999Z"),
    ],
    ids=["before midnight", "after midnight", "carried over midnight", "of an earlier day"],
)
def test_a_time_that_clears_the_skew_is_of_the_same_day(agoda: str, supplier: str, between: str) -> None:
    times = {
        f"{side}_event_time": datetime.fromisoformat(f"2026-03-{at}:00+00:00")
        for side, at in (("agoda", agoda), ("supplier", supplier))
    }
    [skew] = [rule for rule in rules_of(fact_of(SKEW, **times), [], 7) if rule.broken]
    assert skew.changes[0] == f"SUPPLIER's event time between {between}"
