"""The message after closes: one a close, and one for all that come one upon another."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from jobs.alerts.digests import add
from jobs.alerts.lake import Close
from jobs.alerts.plan import Action
from tests.alerts.support import START, Core, routes_of

QUIET = 90.0
FIRST = Close(
    "2026-02-01-r1", START, False, "Close of 2026-02-01", ("5 activities",), 5, 2, Decimal("20.5"), None, None
)


def again(day: int) -> Close:
    """A close of that day that moved as many dollars, and left a hundred times as many at risk."""
    title = f"Close of 2026-02-{day:02}, revision 2"
    counts = 100, 3, Decimal(100 * day), 2, Decimal(day)
    return Close(f"2026-02-{day:02}-r2", START, False, title, ("100 activities",), *counts)


def test_a_close_alone_is_told_as_it_is(tmp_path: Path) -> None:
    core = Core(routes_of(tmp_path, digest=["hook"]))
    add(core.state, FIRST, core.now, QUIET)
    assert core.run(QUIET - 1) == []
    (message,) = core.run(1)
    assert (message.action, message.title, message.lines) == (Action.DIGEST, FIRST.title, FIRST.lines)
    assert core.run(600) == []


def test_thirty_closes_are_one_message(tmp_path: Path) -> None:
    core = Core(routes_of(tmp_path, digest=["hook"]))
    for day in range(1, 29):
        add(core.state, again(day), core.now, QUIET)
        assert core.run(60) == []
    core.state.dirty |= {("digest", name) for name in core.state.digests}
    core.reload()
    (message,) = core.run(QUIET)
    assert message.title == "28 closes"
    assert message.lines[:2] == (
        "2,800 activities: 84 breaks, 40,600.00 USD at risk",
        "28 closed again: 56 facts changed since the revisions before, 406.00 USD moved",
    )
    assert message.lines[2] == "Close of 2026-02-19, revision 2: 3 breaks, 1,900.00 USD at risk; 19.00 USD moved"
    assert message.lines[-1] == "and 18 more, which moved less"
    assert len(message.lines) == 13


def test_a_run_without_end_is_told_of_within_the_hour_and_what_follows_apart(tmp_path: Path) -> None:
    core = Core(routes_of(tmp_path, digest=["hook"]))
    sent = []
    for number in range(70):
        add(core.state, replace(again(1), id=f"close-{number}"), core.now, QUIET)
        sent += core.run(60)
    sent += core.run(QUIET)
    assert [message.title for message in sent] == ["60 closes", "10 closes"]


def test_without_a_wait_it_is_what_one_look_found(tmp_path: Path) -> None:
    core = Core(routes_of(tmp_path, digest=["hook"]))
    for closes in ((FIRST, again(2)), (again(3),)):
        for close in closes:
            add(core.state, close, core.now, 0.0)
        told = [message.title for message in core.run()]
        assert told == (["2 closes"] if len(closes) == 2 else ["Close of 2026-02-03, revision 2"])
        core.run(5)
