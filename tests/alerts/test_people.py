"""What people do in the console, folded into what alerts: acknowledged, resolved, come back, reopened."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from jobs.alerts.intake import Change, take
from jobs.alerts.people import folded
from jobs.alerts.plan import Action, acknowledge
from jobs.alerts.watch import Watch
from jobs.alerts.wording import Message
from jobs.common.arrow import polars_schema
from jobs.common.settings import Lake, Settings
from jobs.console.actions import folded as folded_by_console
from jobs.console.tables import Tables
from schemas.tables import TABLES
from tests.alerts.support import START, Core, change, routes_of
from tests.alerts.test_lake import DAY, put

AT = datetime.fromtimestamp(START, UTC)


class Desk:
    """The core with a lake: what it is told is looked up as the service does."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(lake=Lake(root=str(folder / "lake")))
        self.core = Core(routes_of(folder))
        self._watch_anew()

    def _watch_anew(self) -> None:
        self.watch = Watch(self.settings, self.core.routes, self.core.state)

    def tell(self, *changes: Change) -> None:
        for one in changes:
            take(self.core.state, one, self.core.now, 600)
            self.watch.heard(one)

    def run(self, seconds: float, step: float = 10) -> list[Message]:
        told: list[Message] = []
        for _ in range(int(seconds / step)):
            self.watch.look(self.core.now)
            assert self.watch.trouble is None
            told += self.core.run(step, step)
        return told

    def act(self, action: str, *changes: Change, by: str = "ann", hours: float = 0, **seen: Any) -> None:
        rows = [
            {"action_id": f"{action}{hours}{one.id}", "exception_id": one.id, "action": action, "acted_by": by, **seen}
            for one in changes
        ]
        put(self.settings, "exception_actions", [{**row, "acted_at": AT + timedelta(hours=hours)} for row in rows])

    def reload(self) -> None:
        self.core.reload()
        self._watch_anew()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def breaks(count: int, **more: Any) -> list[Change]:
    return [change(f"P-{number}", "STATUS_MISMATCH", explanation="", **more) for number in range(count)]


def test_what_everybody_acknowledged_is_not_repeated_and_what_is_new_is(desk: Desk) -> None:
    all_ = breaks(3)
    desk.tell(*all_)
    assert [message.action for message in desk.run(60)] == [Action.TRIGGER]
    desk.act("ACKNOWLEDGE", *all_[:2])
    assert desk.run(120) == []  # nobody is at the third
    desk.act("ACKNOWLEDGE", all_[2], by="bob", hours=1)
    (told,) = desk.run(60)
    assert (told.action, told.lines[-1]) == (Action.ACKNOWLEDGE, "Acknowledged by ann, bob")
    assert desk.run(20_000, 500) == []
    desk.reload()
    assert desk.run(2_000, 500) == []
    desk.tell(change("P-new", "STATUS_MISMATCH"))
    (told,) = desk.run(1_000, 500)  # longer open than a repeat, and nobody is at the new one
    assert (told.action, told.count) == (Action.REMIND, 4)
    assert not any("Acknowledged" in line for line in told.lines)
    desk.act("ACKNOWLEDGE", change("P-new", "STATUS_MISMATCH"), hours=2)
    assert [message.action for message in desk.run(1_000, 500)] == [Action.ACKNOWLEDGE]


def test_what_a_person_resolved_ends_its_incident_and_stays_quiet(desk: Desk) -> None:
    all_ = breaks(3)
    desk.tell(*all_)
    desk.run(60)
    desk.act("RESOLVE", *all_, seen_amount_at_risk_usd=Decimal(10))
    assert [message.action for message in desk.run(120)] == [Action.RESOLVE]
    desk.tell(*breaks(3))  # the stream says the same again
    assert desk.run(600) == []
    desk.reload()
    assert desk.run(600) == []
    desk.act("REOPEN", all_[0], hours=1)
    (told,) = desk.run(90)
    assert (told.action, told.count) == (Action.TRIGGER, 1)


def test_what_was_resolved_before_it_was_told_here_never_alerts(desk: Desk) -> None:
    desk.act("RESOLVE", *breaks(3), seen_amount_at_risk_usd=Decimal(10))
    desk.tell(*breaks(3))
    assert desk.run(600) == []


COMES_BACK: list[tuple[str, Callable[[Desk, Change], None]]] = [
    ("more money", lambda desk, _one: desk.tell(*breaks(1, amount="10.01"))),
    ("a later close", lambda desk, one: _close_sees(desk, one, DAY + timedelta(days=1))),
    ("opened again", lambda desk, one: _stream_reopens(desk, one, 2)),
]
STAYS: list[tuple[str, Callable[[Desk, Change], None]]] = [
    ("less money", lambda desk, _one: desk.tell(*breaks(1, amount="9.99"))),
    ("the same close again", lambda desk, one: _close_sees(desk, one, DAY)),
    ("the same life", lambda desk, one: _stream_reopens(desk, one, 1)),
]


def _close_sees(desk: Desk, one: Change, day: Any) -> None:
    row = {"exception_id": one.id, "supplier_id": one.supplier, "activity_id": one.activity, "last_seen_date": day}
    put(desk.settings, "exceptions", [{**row, "anomaly_type": one.kind, "state": "OPEN", "amount_at_risk_usd": 10}])
    desk.tell(change(one.activity, one.kind, is_final=True))


def _stream_reopens(desk: Desk, one: Change, times: int) -> None:
    put(desk.settings, "nrt_exceptions", [{"exception_id": one.id, "supplier_id": one.supplier, "reopened": times}])
    desk.tell(change(one.activity, one.kind, state="RESOLVED"), change(one.activity, one.kind))


@pytest.mark.parametrize(
    ("happens", "is_back"), [*((act, True) for _, act in COMES_BACK), *((act, False) for _, act in STAYS)],
    ids=[name for name, _ in (*COMES_BACK, *STAYS)],
)  # fmt: skip
def test_a_break_that_comes_back_alerts_again_with_its_history(
    desk: Desk, happens: Callable[[Desk, Change], None], is_back: bool
) -> None:
    (one,) = breaks(1)
    desk.tell(one)
    desk.act("ACKNOWLEDGE", one, hours=-1)
    seen: dict[str, Any] = {"seen_last_seen_date": DAY, "seen_reopened": 1, "seen_amount_at_risk_usd": Decimal(10)}
    desk.act("RESOLVE", one, **seen)
    assert desk.run(60) == []
    happens(desk, one)
    told = desk.run(90)
    assert [message.action for message in told] == ([Action.TRIGGER] if is_back else [])
    if is_back:
        assert "1 of them came back after somebody had resolved them" in told[0].lines
        assert not any("Acknowledged" in line for line in told[0].lines)
        desk.act("ACKNOWLEDGE", one, hours=1)
        desk.run(60)
        assert desk.core.state.breaks[one.id].acknowledged_by == "ann"


def test_both_ways_of_acknowledging_are_told_once(desk: Desk) -> None:
    desk.tell(*breaks(2))
    desk.run(60)
    acknowledge(desk.core.state, next(iter(desk.core.state.incidents)), "Ann")
    desk.run(60)
    desk.act("ACKNOWLEDGE", *breaks(2))
    desk.run(400)
    assert [message.action for _, message in desk.core.sent] == [Action.TRIGGER, Action.ACKNOWLEDGE, Action.UPDATE]


def test_what_a_silence_holds_does_not_alert_though_it_is_told_late(desk: Desk) -> None:
    """Told before the silence, and read after it: they lie in two partitions."""
    silence = change(None, "FEED_SILENT")
    missing = [change(f"M-{number}", "MISSING_SUPPLIER") for number in range(6)]
    rows = [{"exception_id": one.id, "supplier_id": one.supplier, "held_by": silence.id} for one in missing]
    put(desk.settings, "nrt_exceptions", rows)
    desk.tell(silence)
    desk.run(10)
    desk.tell(*missing)
    assert [message.kinds for message in desk.run(600)] == [("FEED_SILENT",)]


def test_the_console_folds_the_same_way(tmp_path: Path) -> None:
    """Two rooms that may not import each other read one table by one rule."""
    desk, (one, two, three) = Desk(tmp_path), breaks(3)
    desk.act("ACKNOWLEDGE", one, two, three)
    desk.act("RESOLVE", one, two, hours=1, by="bob", seen_reopened=3)
    desk.act("REOPEN", two, hours=2)
    desk.act("ACKNOWLEDGE", two, hours=3, by="cy")
    desk.act("COMMENT", three, hours=3)
    desk.act("ASSIGN", three, hours=4, assignee="dan")
    ours = folded(pl.scan_delta(desk.settings.table_path("exception_actions"))).sort("exception_id")
    theirs = folded_by_console(Tables(desk.settings)).sort("exception_id")
    shared = [name for name in theirs.columns if name in ours.columns]
    assert {"resolved", "acknowledged", "decided_by", "seen_reopened"} <= set(shared)
    assert ours.select(shared).equals(theirs.select(shared))
    assert polars_schema(TABLES["exception_actions"].schema)["acted_at"] == pl.Datetime("us", "UTC")
