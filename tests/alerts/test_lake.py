"""What is read of the lake: causes from both sides, what a silent feed holds, closes and their digest."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import write_deltalake

from jobs.alerts.intake import Change, prove
from jobs.alerts.lake import evidence, exceptions_of, held_by, new_closes
from jobs.alerts.signature import Half, from_explanation, from_halves, say
from jobs.common.arrow import polars_schema
from jobs.common.settings import Lake, Settings
from schemas.tables import TABLES
from tests.alerts.support import START, Core, change, routes_of

AT = datetime.fromtimestamp(START, UTC)
DAY = date(2026, 2, 24)


def put(settings: Settings, name: str, rows: Sequence[dict[str, Any]]) -> None:
    """Appends rows; columns left out are null. Maps are written as lists of key and value, as Polars reads them."""
    pair = pl.List(pl.Struct({"key": pl.String, "value": pl.Int64}))
    fields = [field for field in TABLES[name].schema.fields if field.dataType.typeName() != "map"]
    maps = [field.name for field in TABLES[name].schema.fields if field.dataType.typeName() == "map"]
    schema = {**polars_schema(type(TABLES[name].schema)(fields)), **dict.fromkeys(maps, pair)}
    frame = pl.DataFrame([{key: row.get(key) for key in schema} for row in rows], schema=schema, orient="row")
    write_deltalake(settings.table_path(name), frame, mode="append")


@pytest.fixture
def place(tmp_path: Path) -> Settings:
    return Settings(lake=Lake(root=str(tmp_path / "lake")))


def sides(agoda: dict[str, Any] | None, supplier: dict[str, Any] | None) -> dict[str, Any]:
    whole = {"activity_type": "PAYMENT", "amount_minor": 10_000, "currency": "USD", "status": "PAID", "version": 1}
    found: dict[str, Any] = {}
    for name, side in (("agoda", agoda), ("supplier", supplier)):
        if side is not None:
            found |= {f"{name}_{key}": value for key, value in {**whole, "event_time": AT, **side}.items()}
    return found


SEVEN = AT - timedelta(hours=7, seconds=20)
CAUSES: list[tuple[str, dict[str, Any] | None, dict[str, Any] | None, str]] = [
    ("TIMESTAMP_SKEW", {}, {"event_time": SEVEN}, "all −7 h: time zone?"),
    ("TIMESTAMP_SKEW", {}, {"event_time": AT + timedelta(hours=5, minutes=30)}, "all +5.5 h: time zone?"),
    ("TIMESTAMP_SKEW", {}, {"event_time": AT + timedelta(minutes=22)}, ""),
    ("PRICE_MISMATCH", {}, {"amount_minor": 1_000_000}, "all 100 times AGODA's amount: minor units"),
    ("PRICE_MISMATCH", {}, {"amount_minor": 100}, "all 1/100 times AGODA's amount"),
    ("PRICE_MISMATCH", {"amount_minor": 12_345}, {"amount_minor": 12_654}, "all +2.5% of AGODA's amount"),
    ("PRICE_MISMATCH", {"amount_minor": 30_000}, {"amount_minor": 29_100}, "all −3% of AGODA's amount"),
    ("PRICE_MISMATCH", {}, {"currency": "EUR"}, "the same number in USD at AGODA and in EUR at the supplier"),
    ("PRICE_MISMATCH", {}, {"currency": "EUR", "amount_minor": 9_000}, ""),
    ("PRICE_MISMATCH", {"amount_minor": 0}, {}, ""),
    ("STATUS_MISMATCH", {}, {"status": "BOOKED"}, "AGODA says PAID, the supplier BOOKED"),
    ("STATUS_MISMATCH", {}, {"status": "REFUNDED", "activity_type": "REFUND"}, "sign turned round?"),
    (
        "STATUS_MISMATCH",
        {"status": "REFUNDED", "activity_type": "REFUND", "version": 2},
        {},
        "AGODA says REFUNDED, the supplier PAID",
    ),
    ("MISSING_SUPPLIER", {}, None, "missing at the supplier, nearly all"),
    ("MISSING_AGODA", None, {}, "missing at AGODA, nearly all"),
    ("FX_RATE_MISSING", {"currency": "XAU"}, {"currency": "XAU"}, "no exchange rate for XAU: load it"),
    ("DUPLICATE_SUPPLIER", {}, {}, "sent twice by the supplier"),
    ("DELAYED_AGODA", {}, {}, "published late by AGODA"),
]


@pytest.mark.parametrize(("kind", "agoda", "supplier", "said"), CAUSES)
def test_each_cause_is_seen_in_both_sides(
    place: Settings, kind: str, agoda: dict[str, Any] | None, supplier: dict[str, Any] | None, said: str
) -> None:
    key = {"supplier_id": "SUP-007", "activity_id": "A", "verdict_date": AT.date()}
    other = {**sides({}, {}), **key, "activity_id": "B", "verdict_at": AT}
    old = {**sides({"status": "FAILED"}, {"amount_minor": 1}), **key, "verdict_at": AT - timedelta(hours=1)}
    put(place, "nrt_results", [{**sides(agoda, supplier), **key, "verdict_at": AT}, old, other])
    core = Core(routes_of(Path(place.lake.root).parent))
    core.tell(change("A", kind))
    found = evidence(place, list(core.state.breaks.values()))
    (proof,) = found.values()
    there = agoda if agoda is not None else supplier or {}
    assert proof.activity_type == there.get("activity_type", "PAYMENT")
    if said:
        assert said in say(kind, proof.signature)
    else:
        assert proof.signature == ""


PRICES = "AGODA {} minor units of {} (1.00 USD), SUPPLIER {} minor units of {} (no USD rate): 9.00 USD apart"


@pytest.mark.parametrize(
    ("kind", "text", "signature"),
    [
        ("TIMESTAMP_SKEW", "event times 25200.000 s apart, 900 s allowed", "apart:7"),
        ("TIMESTAMP_SKEW", "event times 1300.000 s apart, 900 s allowed", ""),
        ("STATUS_MISMATCH", "AGODA says PAID, SUPPLIER says BOOKED", "status:PAID>BOOKED"),
        ("PRICE_MISMATCH", PRICES.format(100, "USD", 10_000, "USD"), "factor:100"),
        ("PRICE_MISMATCH", PRICES.format(100, "USD", 100, "THB"), "currency:USD>THB"),
        ("FX_RATE_MISSING", PRICES.format(100, "XAU", 90, "XAU"), "rate:XAU>XAU"),
        ("MISSING_AGODA", "SUPPLIER reports 5 minor units of USD (0.05 USD), AGODA nothing", ""),
        ("PRICE_MISMATCH", "something else", ""),
        ("PRICE_MISMATCH", None, ""),
        ("TIMESTAMP_SKEW", "event times 1.2.3 s apart", ""),
        ("TIMESTAMP_SKEW", f"event times {'9' * 400} s apart", ""),
        ("PRICE_MISMATCH", PRICES.format("9" * 5_000, "USD", 1, "USD"), ""),
        ("FEED_SILENT", None, "all"),
        ("SOMETHING_NEW", "?", ""),
    ],
)
def test_the_sentence_is_the_last_resort(kind: str, text: str | None, signature: str) -> None:
    assert from_explanation(kind, text) == signature


def test_nothing_known_is_no_cause() -> None:
    for kind in ("TIMESTAMP_SKEW", "PRICE_MISMATCH", "MISSING_AGODA", "SOMETHING_NEW"):
        assert from_halves(kind, Half(), Half()) == ""


def test_a_lake_that_is_not_there_yet_says_nothing(place: Settings) -> None:
    assert new_closes(place, {}) == []
    assert exceptions_of(place, None) == []
    assert held_by(place, "SUP-007", "x") == []
    assert evidence(place, []) == {}


def test_what_a_silent_feed_holds(place: Settings) -> None:
    rows = [("a", "SUP-007", "s"), ("b", "SUP-007", None), ("c", "SUP-008", "s"), ("d", "SUP-007", "t")]
    put(
        place,
        "nrt_exceptions",
        [{"exception_id": name, "supplier_id": supplier, "held_by": held} for name, supplier, held in rows],
    )
    assert held_by(place, "SUP-007", "s") == ["a"]


def close_row(day: date, revision: int, at: datetime, **more: Any) -> dict[str, Any]:
    total = {"supplier_id": "SUP-007", "keys_in": 5, "matched": 3, "mismatched": 1, "missing": 1}
    usd = {"amount_in_usd": Decimal(50), "matched_usd": Decimal(30), "mismatched_usd": Decimal(15)}
    totals = [{**total, **usd, "missing_usd": Decimal(5), "side": side} for side in ("AGODA", "SUPPLIER") for _ in "12"]
    return {
        "close_id": f"{day}-r{revision}",
        "reco_date": day,
        "revision": revision,
        "provisional": False,
        "finished_at": at,
        "facts": 6,
        "anomalies": 2,
        "outcomes": [{"key": "MATCHED", "value": 3}],
        "anomaly_counts": [{"key": "MISSING_AGODA", "value": 2}],
        "amount_at_risk_usd": Decimal("20.5"),
        "control_totals": totals,
        **more,
    }


def test_closes_are_seen_once_in_their_order_with_their_totals(place: Settings) -> None:
    put(place, "closes", [close_row(DAY, 1, AT)])
    (first,) = new_closes(place, {})
    assert first.title == "Close of 2026-02-24"
    assert first.lines[0] == "6 activities: 3 MATCHED"
    assert first.lines[1] == "2 breaks, 20.50 USD at risk; 2 MISSING_AGODA"
    sums = "10 came in (100.00 USD) = 6 matched (60.00 USD), 2 mismatched (30.00 USD), 2 missing (10.00 USD)"
    assert first.lines[2:] == (f"AGODA: {sums}", f"SUPPLIER: {sums}")
    seen = {first.id: first.ended}
    assert new_closes(place, seen) == []
    # One that ended a moment before the last one that was seen, and was written after it.
    late = close_row(DAY - timedelta(days=1), 2, AT - timedelta(minutes=1), changed_facts=1, moved_usd=Decimal(-3))
    put(place, "closes", [close_row(DAY, 2, AT + timedelta(hours=1), provisional=True), late])
    assert [(one.id, one.is_provisional) for one in new_closes(place, seen)] == [
        ("2026-02-23-r2", False),
        ("2026-02-24-r2", True),
    ]
    assert new_closes(place, seen)[0].lines[-1] == "1 facts changed since the revision before, -3.00 USD moved"


def test_exceptions_of_a_close_are_told_with_their_cause(place: Settings, tmp_path: Path) -> None:
    ids = {n: change(f"A-{n}", "PRICE_MISMATCH").id for n in range(9)}
    common = {"supplier_id": "SUP-007", "anomaly_type": "PRICE_MISMATCH", "severity": "HIGH"}
    rows = [
        {**common, "exception_id": ids[n], "activity_id": f"A-{n}", "state": "OPEN", "close_id": "one"}
        for n in range(8)
    ]
    rows += [{**common, "exception_id": ids[8], "activity_id": "A-8", "state": "RESOLVED", "close_id": "one"}]
    put(place, "exceptions", [{**row, "amount_at_risk_usd": Decimal("9.90")} for row in rows])
    key = {"supplier_id": "SUP-007", "reco_date": DAY}
    put(
        place,
        "reconciliation_facts",
        [{**sides({}, {"amount_minor": 1_000_000}), **key, "activity_id": f"A-{n}"} for n in range(8)],
    )
    assert len(exceptions_of(place, None)) == 8
    assert exceptions_of(place, ["another"]) == []
    changes: list[Change] = exceptions_of(place, ["one"])
    core = Core(routes_of(tmp_path))
    core.tell(*changes)
    prove(core.state, list(core.state.breaks), evidence(place, list(core.state.breaks.values())))
    (message,) = core.run(60)
    assert message.title == ("SUP-007: 8 payments, all 100 times AGODA's amount: minor units taken for major ones?")
    assert message.amount == Decimal("79.20")
    core.tell(*[replace(one, state="RESOLVED", by="two") for one in changes])
    assert [one.title for one in core.run(60)] == [f"Resolved: {message.title}"]


@pytest.mark.parametrize("hour", [0, -1])
def test_what_the_stream_saw_after_the_closed_day_is_newer_than_its_close(
    place: Settings, tmp_path: Path, hour: int
) -> None:
    common = {
        "supplier_id": "SUP-007",
        "anomaly_type": "PRICE_MISMATCH",
        "severity": "HIGH",
        "first_seen_at": AT - timedelta(days=1),
    }
    answered, again = (change(name, "PRICE_MISMATCH").id for name in ("answered", "again"))
    closed = {**common, "last_seen_date": DAY, "close_id": "one", "amount_at_risk_usd": Decimal(5)}
    put(place, "exceptions", [
        {**closed, "exception_id": answered, "activity_id": "answered", "state": "OPEN"},
        {**closed, "exception_id": again, "activity_id": "again", "state": "RESOLVED", "resolved_date": DAY},
    ])  # fmt: skip
    after = datetime.combine(DAY, time(), UTC) + timedelta(days=1, hours=hour)
    streamed = {**common, "amount_at_risk_usd": Decimal(7), "result_id": "r"}
    put(place, "nrt_exceptions", [
        {**streamed, "exception_id": answered, "activity_id": "answered", "state": "RESOLVED", "resolved_at": after},
        {**streamed, "exception_id": again, "activity_id": "again", "state": "OPEN", "opened_at": after},
    ])  # fmt: skip
    core = Core(routes_of(tmp_path))
    core.tell(change("again", "PRICE_MISMATCH", severity="HIGH", amount="7"), *exceptions_of(place, ["one"]))
    assert sorted(core.state.breaks) == [again if hour == 0 else answered]
    first = exceptions_of(place, None)  # as a new service reads it
    assert [(one.state, one.amount) for one in first] == [("OPEN", Decimal(5)) if hour else ("RESOLVED", Decimal(7))]
