"""Causes by table: which breaks of one supplier become which messages, and which must not."""

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from jobs.alerts.intake import Evidence, prove
from jobs.alerts.plan import Action
from jobs.alerts.signature import Half, from_halves
from tests.alerts.support import Core, change, routes_of

AT = datetime(2026, 3, 9, 10, tzinfo=UTC)
WHOLE = Half("PAYMENT", 10_000, "USD", "PAID", AT, 1, Decimal(100))
Pair = tuple[str, Half | None, Half | None]
DICE = random.Random(7)


def pair(kind: str, agoda: dict[str, Any] | None = None, supplier: dict[str, Any] | None = None) -> Pair:
    return kind, replace(WHOLE, **(agoda or {})), replace(WHOLE, **(supplier or {}))


def skewed(seconds: float) -> Pair:
    return pair("TIMESTAMP_SKEW", {}, {"event_time": AT + timedelta(seconds=seconds)})


def priced(agoda: int, supplier: int, **more: Any) -> Pair:
    return pair("PRICE_MISMATCH", {"amount_minor": agoda}, {"amount_minor": supplier, **more})


def missing(kind: str) -> Pair:
    return "MISSING_SUPPLIER", replace(WHOLE, activity_type=kind), None


def many(count: int, *pairs: Pair) -> list[Pair]:
    return [pairs[n % len(pairs)] for n in range(count)]


def amounts(count: int) -> list[int]:
    return [DICE.randrange(5_000, 500_000) for _ in range(count)]


HOUR = 3_600
SEVEN = [skewed(-7 * HOUR + DICE.gauss(0, 90)) for _ in range(20)]
RANDOM_SKEWS = [skewed(DICE.uniform(16 * 60, 12 * HOUR) * DICE.choice((1, -1))) for _ in range(200)]
RANDOM_PRICES = [priced(a, int(a * DICE.uniform(0.2, 3))) for a in amounts(200)]
BOOKED = pair("STATUS_MISMATCH", {"status": "PAID"}, {"status": "BOOKED"})
FAILED = pair("STATUS_MISMATCH", {"status": "PAID"}, {"status": "FAILED"})
REFUNDED = pair("STATUS_MISMATCH", {}, {"status": "REFUNDED", "activity_type": "REFUND"})
YEN = {"currency": "JPY", "amount_usd": Decimal("0.67")}
ZONE, REST = "all −7 h: time zone?", "MEDIUM"

TABLE: list[tuple[str, Sequence[Pair], dict[str, int]]] = [
    ("hours, the clocks apart by seconds to minutes", SEVEN, {ZONE: 20}),
    ("half an hour", many(9, skewed(5.5 * HOUR)), {"all +5.5 h": 9}),
    ("either side of a change of clocks", [*many(9, skewed(-7 * HOUR)), *many(8, skewed(-6 * HOUR))], {
        "−7 h": 9, "−6 h": 8
    }),
    ("skews of no pattern", RANDOM_SKEWS, {REST: 200}),
    ("a fee", [priced(a, round(a * 1.025)) for a in amounts(30)], {"all +2.5%": 30}),
    ("a discount", [priced(a, round(a * 0.97)) for a in amounts(30)], {"all −3%": 30}),
    ("a fee in another currency", [
        priced(a, round(a * 0.8), currency="EUR", amount_usd=Decimal(103)) for a in amounts(30)
    ], {"all +3%": 30}),
    ("a fee on some, a discount on others", [
        *[priced(a, round(a * 1.03)) for a in amounts(20)], *[priced(a, round(a * 0.97)) for a in amounts(20)]
    ], {"all +3%": 20, "all −3%": 20}),
    ("prices of no pattern", RANDOM_PRICES, {REST: 200}),
    ("the wrong currency", many(9, priced(10_000, 10_000, currency="EUR", amount_usd=Decimal(108))), {
        "the same number in USD at AGODA and in EUR": 9
    }),
    ("the wrong currency, of other minor units", many(9, priced(10_000, 100, **YEN)), {
        "the same number in USD at AGODA and in JPY": 9
    }),
    ("two currencies, wrong amounts", [
        priced(10_000, 9_000 + 311 * n, currency="EUR", amount_usd=Decimal(97 + 3 * n)) for n in range(2, 12)
    ], {REST: 10}),
    ("minor for major units", [priced(a, a * 100) for a in amounts(9)], {"all 100 times": 9}),
    ("major for minor units, cut off", [priced(a, a // 100) for a in amounts(9)], {"all 1/100 times": 9}),
    ("the sign", many(9, REFUNDED), {"sign turned round": 9}),
    ("one pair of statuses", many(9, BOOKED), {"AGODA says PAID, the supplier BOOKED": 9}),
    ("two pairs of statuses", many(20, BOOKED, FAILED), {"BOOKED": 10, "FAILED": 10}),
    ("one type is missing", many(20, missing("PAYMENT")), {"missing at the supplier, nearly all": 20}),
    ("one type is missing, and a fifth of others", [*many(80, missing("PAYMENT")), *many(20, missing("BOOKING"))], {
        "nearly all": 80, REST: 20
    }),
    ("no type stands out", [*many(79, missing("PAYMENT")), *many(21, missing("BOOKING"))], {REST: 100}),
    ("too few", many(4, BOOKED), {REST: 4}),
    ("too few of each", [*many(4, BOOKED), *many(4, FAILED)], {REST: 8}),
    ("a few in a crowd of no pattern", [*RANDOM_PRICES, *[priced(a, a * 100) for a in amounts(6)]], {REST: 206}),
    ("a cause in a crowd of no pattern", [*RANDOM_PRICES, *[priced(a, a * 100) for a in amounts(60)]], {
        "all 100 times": 60, REST: 200
    }),
    ("two causes at once", [*SEVEN, *many(9, BOOKED)], {ZONE: 20, "BOOKED": 9}),
]  # fmt: skip


@pytest.fixture
def core(tmp_path: Path) -> Core:
    return Core(routes_of(tmp_path))


def tell(core: Core, pairs: Sequence[Pair], first: int = 0, **more: Any) -> None:
    """Each pair as an activity of its own, looked up as the service does."""
    for number, (kind, agoda, supplier) in enumerate(pairs, first):
        one = change(f"P-{number}", kind, **more)
        core.tell(one)
        there = agoda or supplier or Half()
        signature = from_halves(kind, agoda or Half(), supplier or Half())
        if more.get("state") != "RESOLVED":
            prove(core.state, [one.id], {one.id: Evidence(signature, there.activity_type or "")})


@pytest.mark.parametrize(("pairs", "said"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_causes_are_seen_and_not_imagined(core: Core, pairs: Sequence[Pair], said: dict[str, int]) -> None:
    tell(core, pairs)
    told = core.run(60)
    assert sorted(one.count for one in told) == sorted(said.values()), [one.title for one in told]
    for words, count in said.items():
        assert [one.count for one in told if words in one.title and one.count == count], [one.title for one in told]


def test_an_activity_broken_in_two_ways_is_in_both_incidents(core: Core) -> None:
    for number in range(9):
        tell(core, [skewed(-7 * HOUR)], number)
        tell(core, [priced(10_000, 1_000_000)], number)
    assert sorted(one.count for one in core.run(60)) == [9, 9]


def test_a_cause_that_grows_and_shrinks_stays_one_incident(core: Core) -> None:
    tell(core, many(9, BOOKED))
    core.run(60)
    tell(core, many(30, BOOKED))
    tell(core, many(1, FAILED), 100)
    core.run(400)
    tell(core, many(28, BOOKED), 2, state="RESOLVED")
    told = core.run(400)
    assert [(one.action, one.count) for one in told] == [(Action.UPDATE, 2)]
    assert len({one.id for _, one in core.sent if "BOOKED" in one.title}) == 1


def test_a_type_is_no_cause_any_more_once_the_others_are_missing_too(core: Core) -> None:
    tell(core, many(20, missing("PAYMENT")))
    core.run(60)
    tell(core, many(100, missing("BOOKING"), missing("REFUND")), 100)
    core.run(400)
    shown = [one.title for _, one in core.sent if one.action is Action.TRIGGER]
    assert shown[-1] == "SUP-007: 120 breaks, MEDIUM"


def test_what_goes_on_under_another_name_is_not_said_to_be_over(core: Core) -> None:
    """Four breaks of no pattern become five of a cause: the first incident ends, its breaks do not."""
    tell(core, many(4, BOOKED))
    (first,) = core.run(60)
    tell(core, many(1, BOOKED), 100)
    told = core.run(120)
    over = next(one for one in told if one.action is Action.RESOLVE)
    assert over.id == first.id
    assert over.lines[-1] == "Still open at SUP-007: 5 breaks, told of in other messages."
    tell(core, many(4, BOOKED), state="RESOLVED")
    tell(core, many(1, BOOKED), 100, state="RESOLVED")
    (over,) = core.run(120)
    assert not any("Still open" in line for line in over.lines)
