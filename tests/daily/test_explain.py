"""What `reco explain` says of one activity: the close's own verdict, margins that are exact, changes that clear it."""

import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from jobs.common.command import run_function
from jobs.common.engines import Session
from jobs.common.errors import DONE, USAGE, UserError
from jobs.common.margins import allowed_amounts, duration
from jobs.common.settings import Settings
from jobs.daily.close import Report, close_day
from jobs.daily.explain import Key, command, explain
from jobs.daily.explain_text import Explanation, footing, show
from tests.daily import small_lake
from tests.daily.small_lake import DAY, SUPPLIER, event

Closed = tuple[Settings, Report]


def of(session: Session, closed: Closed, activity: str) -> Explanation:
    return explain(session, closed[0], Key(SUPPLIER, activity), DAY)


def changes(found: Explanation, kind: str) -> str:
    return "; ".join(text for rule in found.rules if rule.anomaly_type == kind for text in rule.changes)


def test_a_price_break(session: Session, closed: Closed, capsys: pytest.CaptureFixture[str]) -> None:
    found = explain(session, closed[0], Key(SUPPLIER, "BK-EUR"))
    assert (found.reco_date, found.outcome, found.anomaly_types) == (DAY, "MISMATCHED", ["PRICE_MISMATCH"])
    (price,) = [rule for rule in found.rules if rule.rule == "price"]
    assert price.broken
    assert price.margin == Decimal("-12.6")
    assert price.changes == [
        "SUPPLIER's amount between 91.67 EUR and 93.51 EUR",
        "raise price.abs_tol_usd for SUP-007 to 13.6",
    ]
    (one,) = found.breaks
    assert (one.severity, one.amount_at_risk_usd) == ("MEDIUM", Decimal("13.6"))
    show(found)
    told = capsys.readouterr().out
    for text in (
        "SUP-007 BK-EUR on 2026-03-10: MISMATCHED (PRICE_MISMATCH)",
        "80.00 EUR",
        "12.6 USD over",
        "would clear it: SUPPLIER's amount between 91.67 EUR and 93.51 EUR",
        "EUR: 1.08 USD (rate of 2026-03-09 for 2026-03-10, FX version 1)",
        "supplier.raw.activity/0@3",
        "HIGH from 100, CRITICAL from 1000 USD",
        "published by close 2026-03-10-r1",
    ):
        assert text in told


def test_everything_at_once(session: Session, closed: Closed) -> None:
    found = of(session, closed, "BK-MESSY")
    kinds = ["DELAYED_SUPPLIER", "DUPLICATE_AGODA", "STATUS_MISMATCH", "TIMESTAMP_SKEW"]
    assert found.anomaly_types == kinds
    assert [one.anomaly_type for one in found.breaks] == kinds
    assert [delivery.marks for delivery in found.deliveries] == [
        ["duplicate"],
        ["latest", "duplicate"],
        ["redelivery"],
        ["latest", "delayed"],
    ]
    assert "2026-03-10 11:45:00.000Z and 2026-03-10 12:15:00.000Z" in changes(found, "TIMESTAMP_SKEW")
    assert "raise allowed_skew for SUP-007 to 20m" in changes(found, "TIMESTAMP_SKEW")
    assert changes(found, "STATUS_MISMATCH") == (
        "a newer version with an event time of 2026-03-10: from SUPPLIER with status BOOKED, or from AGODA with status "
        "PAID"
    )
    assert "version 1 once" in changes(found, "DUPLICATE_AGODA")
    assert "raise max_delay for SUP-007 to 3h" in changes(found, "DELAYED_SUPPLIER")


def test_history_and_missing_rates(session: Session, closed: Closed) -> None:
    refund = of(session, closed, "BK-REFUND")
    assert refund.anomaly_types == ["STATUS_MISMATCH", "TIMESTAMP_SKEW"]
    assert [delivery.marks for delivery in refund.deliveries] == [["history"], ["latest", "history"], ["latest"]]
    baht = of(session, closed, "BK-BAHT")
    assert baht.anomaly_types == ["FX_RATE_MISSING"]
    assert baht.breaks[0].amount_at_risk_usd is None
    assert "a rate for THB of a date from 2026-03-03 to 2026-03-10" in changes(baht, "FX_RATE_MISSING")


@pytest.mark.parametrize(
    "agoda",
    [
        pytest.param({"before": 300}, id="before midnight"),
        pytest.param({"before": -300}, id="after midnight", marks=pytest.mark.long),
        pytest.param({"before": 30, "follows": 40}, id="carried over midnight", marks=pytest.mark.long),
    ],
)
def test_the_times_that_would_match_are_of_the_same_day(
    session: Session, tmp_path: Path, agoda: dict[str, int]
) -> None:
    """Seconds from AGODA's event to midnight, and from it to a second one; the grace is less than the skew."""
    midnight = datetime(2026, 3, 11 if agoda["before"] > 0 else 10, tzinfo=UTC)
    first = midnight - timedelta(seconds=agoda["before"])
    second = first + timedelta(seconds=agoda.get("follows", 0))

    def sent(source: str, activity: str, at: datetime, version: int = 1) -> dict[str, Any]:
        return event(source, activity, event_id=f"{source}{version}", event_time=at, version=version, grace_seconds=60)

    names = ("BK-EARLIEST", "BK-LATEST")
    settings = small_lake.make(
        tmp_path, [sent("AGODA", name, at, n) for name in names for n, at in enumerate({first: 0, second: 0}, start=1)]
    )
    found = explain(session, settings, Key(SUPPLIER, names[0]))
    assert (found.reco_date, found.anomaly_types) == (DAY, ["MISSING_SUPPLIER"])
    bounds = re.findall(r"2026-03-\d\d \d\d:\d\d:\d\d\.\d{3}Z", changes(found, "MISSING_SUPPLIER"))
    answers = [
        sent("SUPPLIER", name, datetime.fromisoformat(bound), 2) for name, bound in zip(names, bounds, strict=True)
    ]
    small_lake.append(settings, answers, 1000)
    for name in names:
        after = explain(session, settings, Key(SUPPLIER, name), DAY)
        assert (after.outcome, len(after.anomaly_types)) == ("MATCHED", 0), (name, bounds)
        for other in (DAY - timedelta(days=1), DAY + timedelta(days=1)):
            with pytest.raises(UserError, match=f"has no event of {other}"):
                explain(session, settings, Key(SUPPLIER, name), other)


def test_what_came_after_the_close(
    closed: Closed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """BK-ALONE was published as missing; its other side came since."""
    monkeypatch.setenv("RECO_LAKE__ROOT", closed[0].lake.root)
    assert run_function(command, [SUPPLIER, "BK-ALONE", "--date", "2026-03-10", "--json"], "explain") == DONE
    told = json.loads(capsys.readouterr().out)
    assert told["published"]["outcome"] == "MISSING_SUPPLIER"
    assert told["outcome"] == "MATCHED"
    assert told["rates"][0]["usd_per_unit"] == "0.0067"


def test_what_has_no_fact_yet(session: Session, closed: Closed) -> None:
    late = explain(session, closed[0], Key(SUPPLIER, "BK-LATE"))
    assert (late.reco_date, late.outcome, late.published) == (DAY, "MATCHED", None)
    assert "Close 2026-03-10-r1 has no fact of it: events, policies or rates came since" in footing(late)[-1]


def test_what_is_published_with_other_money_is_not_the_same(session: Session, tmp_path: Path) -> None:
    settings = small_lake.make(tmp_path, small_lake.pair("BK-1", 8_000))
    key = Key(SUPPLIER, "BK-1")
    assert footing(explain(session, settings, key))[-1] == "Not closed yet: no fact is published for 2026-03-10."
    close_day(session, settings, DAY, small_lake.NOON)
    assert footing(explain(session, settings, key))[-1] == "The same was published by close 2026-03-10-r1."
    small_lake.append(settings, [event("SUPPLIER", "BK-1", 100, version=2, event_id="S2")], 1000)
    told = footing(explain(session, settings, key))[-1]
    assert told.startswith("Close 2026-03-10-r1 published MISMATCHED (PRICE_MISMATCH) by other events or amounts: ")


def test_the_last_day_is_that_of_the_events_and_not_of_the_facts(session: Session, tmp_path: Path) -> None:
    """A late event drew one key to the day before its fact; another has a newer version that is not closed yet."""
    at = datetime(2026, 3, 10, 0, 30, tzinfo=UTC)
    drawn = event("AGODA", "BK-DRAWN", version=2, event_id="A2", event_time=at)
    settings = small_lake.make(tmp_path, [drawn, event("AGODA", "BK-NEWER"), event("AGODA", "BK-CLOSED")])
    close_day(session, settings, DAY, small_lake.NOON)
    before, after = at - timedelta(minutes=40), at + timedelta(days=2)
    odd = event("AGODA", "BK-ODD", supplier_id="SUP\n\x1b[2J")
    newer = event("AGODA", "BK-NEWER", version=2, event_id="A2", event_time=after)
    small_lake.append(settings, [event("AGODA", "BK-DRAWN", event_time=before), newer, odd], 1000)
    found = {name: explain(session, settings, Key(SUPPLIER, name)) for name in ("BK-DRAWN", "BK-NEWER", "BK-CLOSED")}
    assert [one.reco_date.day for one in found.values()] == [9, 12, 10]
    assert found["BK-DRAWN"].published is None
    assert found["BK-CLOSED"].published is not None
    with pytest.raises(UserError, match=r"BK-ODD is known of SUP\\n\\x1b\[2J\.$"):
        explain(session, settings, Key(SUPPLIER, "BK-ODD"))


@pytest.mark.parametrize("text", ["2026-W10-1", "9999-12-31"])
def test_a_day_that_cannot_be_judged_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_function(command, [SUPPLIER, "BK-OK", "--date", text], "explain") == USAGE
    assert capsys.readouterr().err.startswith(f"--date {text} is ")


@pytest.mark.parametrize(
    ("key", "on", "says"),
    [
        (Key(SUPPLIER, "BK-EURO"), DAY, "nearest activities of SUP-007 are BK-EUR"),
        (Key("SUP-070", "BK-OK"), None, "BK-OK is known of SUP-007"),
        (Key("SUP-8", "BK-NONE"), None, "nearest suppliers are SUP-007"),
        (Key(SUPPLIER, "BK-OK"), DAY.replace(day=2), "has no event of 2026-03-02; it has some of 2026-03-10"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_an_unknown_key_is_told_what_is_near(session: Session, closed: Closed, key: Key, on: object, says: str) -> None:
    with pytest.raises(UserError, match=says) as error:
        explain(session, closed[0], key, on)  # type: ignore[arg-type]
    assert error.value.exit_code == USAGE


@pytest.mark.parametrize(
    ("agoda", "per_minor", "expected"),
    [
        ("0", "0.01", (0, 50)),
        ("50.00", "0.01", (4950, 5050)),
        ("1000", "0.01", (99000, 101000)),
        ("1000", "0.0067", (147762, 150746)),
        ("0.000001", "0.000000001", (0, 500001499)),
        ("1000", "100000", None),
    ],
)
def test_the_smallest_and_greatest_amounts_are_exact(
    agoda: str, per_minor: str, expected: tuple[int, int] | None
) -> None:
    fact = {"agoda_amount_usd": Decimal(agoda), "abs_tol_usd": Decimal("0.5"), "pct_tol": Decimal("0.01")}
    assert allowed_amounts(fact, Decimal(per_minor)) == expected


def test_durations_read_well() -> None:
    assert [duration(Decimal(text)) for text in ("0", "59.5", "3600", "-3723.004")] == [
        *("0s", "59.5s", "1h"),
        "-1h 2m 3.004s",
    ]
