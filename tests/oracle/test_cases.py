"""The truth tables' hand-worked values and the oracle hold each other."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.oracle import close as oracle
from tests.oracle.build import DAY, FX
from tests.oracle.model import EXPONENTS, Policy, first_publications, stamped
from tests.reco_rules.cases import Scenario, Table, days, events, pairs, price, risk


def rows(table: Table) -> Any:
    """One test a row, the row by column name as `row`."""
    return pytest.mark.parametrize("row", [pytest.param(r, id=r["case_name"]) for r in table.records])


def scenarios(cases: tuple[Scenario, ...]) -> Any:
    """One test a scenario."""
    assert len({case.name for case in cases}) == len(cases)
    return pytest.mark.parametrize("case", [pytest.param(c, id=c.name) for c in cases])


@rows(price.TO_USD)
def test_to_usd(row: dict[str, Any]) -> None:
    assert EXPONENTS[row["currency"]] == row["exponent"]
    if row["amount_minor"] is not None:
        # The tables price USD by an explicit 1; the oracle needs none.
        fx = {} if row["usd_per_unit"] is None else {(DAY, row["currency"]): row["usd_per_unit"]}
        assert oracle.to_usd(row["amount_minor"], row["currency"], DAY, fx) == row["expected_usd"]


@rows(price.RATES)
def test_rates(row: dict[str, Any]) -> None:
    fx = {(day, currency): value for day, currency, value in price.KNOWN_RATES}
    assert oracle.rate(row["currency"], row["day"], fx) == row["expected_rate"]


@rows(price.TOLERANCES)
def test_tolerances(row: dict[str, Any]) -> None:
    if row["agoda_usd"] is not None:
        policy = Policy(abs_tol_usd=row["abs_tol_usd"], pct_tol=row["pct_tol"])
        assert oracle.price_tolerance(row["agoda_usd"], policy) == row["expected_tolerance_usd"]


@rows(price.PRICE_DIFFERS)
def test_price_differs(row: dict[str, Any]) -> None:
    a, s = row["agoda_usd"], row["supplier_usd"]
    if a is not None and s is not None:
        assert abs(a - s) == row["expected_diff_usd"]
        policy = Policy(abs_tol_usd=row["abs_tol_usd"], pct_tol=row["pct_tol"])
        assert (abs(a - s) > oracle.price_tolerance(a, policy)) is row["expected"]


@rows(risk.SEVERITIES)
def test_severities(row: dict[str, Any]) -> None:
    policy = Policy(high_usd=row["high_usd"], critical_usd=row["critical_usd"])
    assert oracle.severity(row["at_risk_usd"], policy) == row["expected"]


@rows(pairs.SKEW)
def test_skew(row: dict[str, Any]) -> None:
    a, s = row["agoda_event_time"], row["supplier_event_time"]
    if a is not None and s is not None:
        skew = abs(a - s)
        assert skew / timedelta(milliseconds=1) == row["expected_skew_seconds"] * 1000
        assert (skew > timedelta(seconds=row["allowed_skew_seconds"])) is row["expected"]


@scenarios(events.DUPLICATES)
def test_duplicates(case: Scenario) -> None:
    result = oracle.close(case.events, {}, FX, DAY)
    fact = next(iter(result.facts.values()))
    found = {
        kind.removeprefix("DUPLICATE_"): broken["amount_at_risk_usd"]
        for (_, _, kind), broken in result.anomalies.items()
        if kind.startswith("DUPLICATE_")
    }
    counts = {name: fact[name] for name in ("agoda_events", "supplier_events")}
    assert {**counts, "at_risk": found} == dict(case.expected)


@scenarios(events.DELAYS)
def test_delays(case: Scenario) -> None:
    for source in ("AGODA", "SUPPLIER"):
        delays = [e.kafka_time - e.event_time for e in first_publications(case.events) if e.source == source]
        expected = case.expected[f"{source.lower()}_delay_seconds"]
        longest = max(delays) / timedelta(milliseconds=1) if delays else None
        assert longest == (None if expected is None else expected * 1000)
        assert oracle.delayed(case.events, source, case.policy) is (source in case.expected["delayed"])


@scenarios(days.OWNERSHIP)
def test_ownership(case: Scenario) -> None:
    dated = oracle.reco_dates([stamped(event, case.policy) for event in case.events])
    assert {event.event_id: day.day for event, day in dated} == case.expected
    again = oracle.reco_dates([stamped(event, case.policy) for event in reversed(case.events)])
    assert [day for _, day in again] == [day for _, day in dated]


@scenarios(days.LATEST)
def test_latest(case: Scenario) -> None:
    for source, amount in case.expected.items():
        for order in (case.events, case.events[::-1]):
            found = oracle.latest(order, source)
            assert (found.amount_minor if found else None) == amount


@scenarios(days.LATEST_TIES)
def test_latest_ties(case: Scenario) -> None:
    for order in (case.events, case.events[::-1]):
        found = oracle.latest(order, "AGODA")
        assert found is not None
        assert replace(found, **case.expected) == found
