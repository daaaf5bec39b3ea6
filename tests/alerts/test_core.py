"""The core by tables and by chance: what alerts, when, how often, and that no incident is lost."""

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.alerts.intake import Change, Evidence, hold, prove
from jobs.alerts.model import Life
from jobs.alerts.plan import Action, acknowledge, trying
from jobs.alerts.routes import Routes
from jobs.console.views import query_of
from tests.alerts.support import START, Core, change, routes_of

SKEW = "event times 25200.000 s apart, 900 s allowed"


@pytest.fixture
def core(tmp_path: Path) -> Core:
    return Core(routes_of(tmp_path))


def skews(count: int, **more: Any) -> list[Change]:
    return [change(f"P-{number}", explanation=SKEW, **more) for number in range(count)]


def titles(core: Core) -> list[str]:
    return [message.title for _, message in core.sent]


def test_one_cause_is_one_message_that_says_what_it_is_and_what_it_costs(core: Core) -> None:
    core.tell(*skews(412))
    prove(core.state, list(core.state.breaks), {name: Evidence("hours:−7", "PAYMENT") for name in core.state.breaks})
    (message,) = core.run(600)
    assert message.title == "SUP-007: 412 payments, all −7 h: time zone?"
    assert message.lines[0] == "4,120.00 USD at risk; MEDIUM; 412 TIMESTAMP_SKEW"
    assert message.lines[1].count("P-") == 5
    assert (message.count, message.amount) == (412, Decimal(4120))


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        (skews(5, supplier="S&P, Ü"), {"supplier": ["S&P, Ü"], "type": ["TIMESTAMP_SKEW"]}),
        ([change("A", "MISSING_AGODA", severity="HIGH")], {"supplier": ["SUP-007"], "severity": ["HIGH"]}),
        ([change("A", supplier=f"SUP-{n}") for n in range(9)], {}),
    ],
)
def test_a_link_is_a_search_that_the_console_knows(
    tmp_path: Path, changes: list[Change], found: dict[str, list[str]]
) -> None:
    core = Core(routes_of(tmp_path, link="https://reco.example/exceptions?{filter}"))
    core.tell(*changes)
    (message,) = core.run(40)
    assert message.link is not None
    place, _, query = message.link.partition("?")
    assert place == "https://reco.example/exceptions"
    known = query_of(parse_qsl(query))
    assert {name: getattr(known, name) for name in parse_qs(query)} == found


def test_what_has_no_common_cause_is_grouped_by_supplier_and_severity(core: Core) -> None:
    core.tell(change("A", "MISSING_AGODA", severity="HIGH"), change("B", "PRICE_MISMATCH", severity="HIGH"))
    core.tell(change("C", "MISSING_AGODA", "SUP-008", severity="LOW", amount=None))
    core.run(60)
    assert sorted(titles(core)) == ["SUP-007: 2 breaks, HIGH", "SUP-008: 1 break, LOW"]
    assert core.sent[-1][1].lines[0] == "0.00 USD at risk and 1 that cannot be priced; LOW; 1 MISSING_AGODA"


def test_group_wait_interval_and_repeat(core: Core) -> None:
    core.tell(*skews(5))
    assert core.run(29) == []
    core.tell(*skews(6))
    assert [message.count for message in core.run(1)] == [6]
    core.tell(*skews(7))
    assert core.run(299, step=13) == []
    (update,) = core.run(2, step=1)
    assert (update.action, update.count) == (Action.UPDATE, 7)
    assert core.run(14_098, step=99) == []
    assert [message.action for message in core.run(30)] == [Action.REMIND]


def test_a_message_that_comes_again_changes_nothing(core: Core) -> None:
    changes = skews(6)
    core.tell(*changes)
    core.run(40)
    prove(core.state, list(core.state.breaks), {})
    before = dict(core.state.breaks)
    core.tell(*changes)
    assert core.state.breaks == before  # nor is anything looked up again
    assert core.run(700) == []


@pytest.mark.parametrize(
    "quiet",
    [
        {"state": "PENDING"},
        {"held_by": "silence"},
    ],
)
def test_pending_and_held_breaks_never_alert(core: Core, quiet: dict[str, Any]) -> None:
    core.tell(change(None, "FEED_SILENT"))  # so that what it holds is no orphan
    core.run(60)
    silence = next(iter(core.state.breaks))
    more = {name: silence if name == "held_by" else value for name, value in quiet.items()}
    core.tell(*skews(50, **more))
    assert core.run(10_000, step=100) == []
    core.tell(*skews(50, state="RESOLVED"))
    assert core.run(100) == []


def test_a_silent_feed_is_one_message_and_what_it_held_alerts_only_if_it_stays_open(core: Core) -> None:
    silence = change(None, "FEED_SILENT")
    missing = [change(f"M-{n}", "MISSING_SUPPLIER", held_by=silence.id) for n in range(30)]
    core.tell(silence, *missing)
    assert [m.title for m in core.run(1_000)] == ["SUP-007: its feed is silent: is it down?"]
    core.tell(change(None, "FEED_SILENT", state="RESOLVED"))
    core.tell(*[change(f"M-{n}", "MISSING_SUPPLIER", state="RESOLVED") for n in range(29)])
    assert [m.action for m in core.run(599)] == [Action.RESOLVE]
    assert [m.title for m in core.run(60)] == ["SUP-007: 1 break, MEDIUM"]


def test_what_the_lake_says_is_held_stops_alerting_and_orphans_do_not_stay_silent(core: Core) -> None:
    core.tell(*[change(f"M-{n}", "MISSING_SUPPLIER") for n in range(9)])
    hold(core.state, "nobody-tells-of-it", list(core.state.breaks), core.now)
    assert core.run(599) == []
    core.run(2, step=1)
    assert [message.count for message in core.run(31)] == [9]


def test_what_a_feed_let_go_alerts_in_another_instance_too(core: Core) -> None:
    silence = change(None, "FEED_SILENT")
    core.tell(silence, *[change(f"M-{n}", "MISSING_SUPPLIER", held_by=silence.id) for n in range(9)])
    core.tell(change(None, "FEED_SILENT", state="RESOLVED"))
    core.run(100)
    core.reload()
    assert core.run(490) == []
    assert [message.count for message in core.run(60)] == [9]


def test_a_close_opens_what_the_stream_does_not_know_and_nothing_that_it_holds_or_awaits(core: Core) -> None:
    core.tell(change("A", state="PENDING"), change("B", held_by="silence"))
    core.tell(*[change(name, is_final=True, by="2026-03-09/1") for name in "ABC"])
    assert [core.state.breaks[change(name).id].life for name in "ABC"] == [Life.PENDING, Life.HELD, Life.OPEN]
    core.tell(change("C", is_final=True, state="RESOLVED"))
    assert core.run(500) == []


def test_it_is_resolved_once_nothing_has_been_open_for_a_while(core: Core) -> None:
    core.tell(*skews(8))
    core.run(40)
    core.tell(*skews(8, state="RESOLVED"))
    core.run(10)
    core.tell(*skews(8))  # it flutters
    assert core.run(100) == []
    core.tell(*skews(8, state="RESOLVED"))
    (over,) = core.run(60)
    assert over.title == "Resolved: SUP-007: 8 activities, all 7 h apart: time zone?"
    assert over.lines[0].startswith("At most 80.00 USD at risk")
    assert core.state.incidents == {}
    assert core.run(20_000, step=500) == []


def test_what_is_over_before_it_was_told_is_never_told(core: Core) -> None:
    core.tell(*skews(8))
    core.run(20)
    core.tell(*skews(8, state="RESOLVED"))
    assert core.run(500) == []
    assert core.state.incidents == {}


def test_worse_is_said_aloud_and_more_is_not(core: Core) -> None:
    core.tell(*skews(5))
    core.run(40)
    core.tell(change("P-worse", explanation=SKEW, severity="CRITICAL"))
    assert [message.action for message in core.run(301)] == [Action.REMIND]


def test_a_mail_is_not_sent_for_every_change(tmp_path: Path) -> None:
    mail = {"kind": "email", "host": "localhost", "security": "none", "sender": "a@b.example", "to": ["c@d.example"]}
    core = Core(routes_of(tmp_path, sinks={"mail": mail}, routes=[{"name": "all", "sinks": ["mail"]}]))
    core.tell(*skews(5))
    core.run(40)
    core.tell(*skews(9))
    assert core.run(700) == []
    core.tell(*skews(10))
    assert [message.count for message in core.run(10)] == [10]


def test_an_acknowledged_incident_is_told_so_once_and_not_repeated(core: Core) -> None:
    core.tell(*skews(5))
    core.run(40)
    assert acknowledge(core.state, next(iter(core.state.incidents)), "Ann")
    assert not acknowledge(core.state, "no such", "Ann")
    (told,) = core.run(20_000, step=500)
    assert told.action is Action.ACKNOWLEDGE
    assert told.lines[-1] == "Acknowledged by Ann"


def test_a_flood_is_a_handful_of_messages(core: Core) -> None:
    for second in range(60):
        core.tell(*[change(f"X-{second}-{n}", "PRICE_MISMATCH", f"SUP-{n:03}") for n in range(100)])
        core.run(1)
    core.run(240)
    assert len(core.sent) <= 6
    told = {supplier for _, message in core.sent for supplier in message.suppliers}
    assert len(told) == 100  # nobody is left out
    flood = next(message for _, message in core.sent if len(message.suppliers) > 1)
    assert " suppliers: " in flood.title
    assert "more" in flood.lines[1]
    resolved = [
        change(f"X-{s}-{n}", "PRICE_MISMATCH", f"SUP-{n:03}", state="RESOLVED") for s in range(60) for n in range(100)
    ]
    core.tell(*resolved)
    core.run(700)
    assert core.state.incidents == {}
    assert core.sent[-1][1].action is Action.RESOLVE


def test_many_random_deviations_are_no_cause(core: Core) -> None:
    says = "AGODA {} minor units of USD (1 USD), SUPPLIER {} minor units of USD (1 USD): 1 USD apart, 1 USD allowed"
    core.tell(
        *[change(f"R-{n}", "PRICE_MISMATCH", explanation=says.format(10_000, 10_100 + n * 10)) for n in range(300)]
    )
    (message,) = core.run(60)
    assert message.title == "SUP-007: 300 breaks, MEDIUM"


def test_planned_work_is_silent_and_what_is_open_after_it_is_told(tmp_path: Path) -> None:
    window = {"supplier": ["SUP-0*"], "since": "2026-02-25T06:00:00Z", "until": "2026-02-25T07:00:00Z", "why": "x"}
    core = Core(routes_of(tmp_path, maintenance=[window]))
    core.now = 1_772_000_000.0 - 1_772_000_000.0 % 86_400 + 6 * 3600  # 2026-02-25T06:00:00Z
    core.tell(*skews(5))
    assert core.run(3_599, step=60) == []
    assert len(core.run(30, step=1)) == 1


def test_a_sink_that_is_down_is_stood_in_for_and_told_when_it_is_back(tmp_path: Path) -> None:
    hook = {"kind": "webhook", "url": "http://127.0.0.1:1/", "secret": "env:S"}
    sinks = {"first": {**hook, "fallback": "second"}, "second": hook}
    core = Core(routes_of(tmp_path, sinks=sinks, routes=[{"name": "all", "sinks": ["first"]}]))
    core.down.add("first")
    core.tell(*skews(5))
    core.run(40)
    assert [(one.sink, one.instead_of) for one, _ in core.sent] == [("second", "first")]
    assert core.sent[0][1].lines[-1] == "Told here because first does not answer."
    core.down.clear()
    core.run(10)
    core.tell(*skews(5, state="RESOLVED"))
    core.run(60)
    assert Counter((one.sink, one.action) for one, _ in core.sent) == {
        (sink, action): 1 for sink in sinks for action in (Action.TRIGGER, Action.RESOLVE)
    }


def test_what_may_have_been_sent_before_a_crash_is_resolved_too(core: Core) -> None:
    """The message was given to the sink, and then the process died: nobody knows whether it arrived."""
    core.tell(*skews(5))
    core.run(20)
    core.now += 20
    (given,) = core.due()
    trying(core.state, given)
    core.reload()
    core.tell(*skews(5, state="RESOLVED"))
    assert [message.action for message in core.run(60)] == [Action.RESOLVE]
    assert core.state.incidents == {}


def test_a_sink_that_never_took_it_is_not_waited_for_for_ever(core: Core) -> None:
    core.down.add("hook")
    core.tell(*skews(5))
    core.run(60)
    core.tell(*skews(5, state="RESOLVED"))
    core.run(86_000, step=1_000)
    assert len(core.state.incidents) == 1
    core.run(2_000, step=1_000)
    assert core.state.incidents == {}


def test_a_flood_whose_sinks_are_gone_from_the_file_goes_elsewhere(core: Core, tmp_path: Path) -> None:
    core.tell(*[change("A", supplier=f"SUP-{n}") for n in range(9)])
    core.run(31)
    assert len(core.sent) == 1
    hook = {"kind": "webhook", "url": "http://127.0.0.1:1/", "secret": "env:S"}
    core.routes = routes_of(tmp_path, sinks={"new": hook}, routes=[{"name": "all", "sinks": ["new"]}])
    assert [message.count for message in core.run(10)] == [9]


def _small_routes(folder: Path) -> Routes:
    return routes_of(folder, causes={"min_count": 2}, flood=2)


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["OPEN", "OPEN", "PENDING", "RESOLVED"]),
            st.integers(0, 5),
            st.sampled_from(["SUP-1", "SUP-2", "SUP-3", "SUP-4"]),
            st.sampled_from(["MEDIUM", "CRITICAL"]),
        ),
        st.sampled_from([1.0, 40.0, 400.0]),
        st.just("restart"),
    ),
    max_size=40,
)


@pytest.fixture(scope="module")
def small_routes(tmp_path_factory: pytest.TempPathFactory) -> Routes:
    return _small_routes(tmp_path_factory.mktemp("routes"))


@settings(max_examples=150, deadline=None)
@given(steps=STEPS)
def test_every_open_break_is_told_and_everything_told_ends(small_routes: Routes, steps: list[Any]) -> None:
    """Whatever happens in whatever order, with restarts between: in the end nobody misses a thing or waits forever."""
    core = Core(small_routes)
    for step in steps:
        if step == "restart":
            core.reload()
        elif isinstance(step, float):
            core.run(step, step=10)
        else:
            state, number, supplier, severity = step
            core.tell(change(f"A-{number}", supplier=supplier, state=state, severity=severity, explanation=SKEW))
    core.run(1_000, step=20)
    open_ = [one for one in core.state.breaks.values() if one.life is Life.OPEN]
    alive = [one for one in core.state.incidents.values() if one.told and one.flood is None]
    assert sum(one.told["hook"].summary.count for one in alive) == len(open_)
    assert {s for one in alive for s in one.told["hook"].summary.suppliers} == {one.supplier for one in open_}
    core.tell(*[change(one.activity, supplier=one.supplier, state="RESOLVED") for one in open_])
    core.run(1_000, step=20)
    assert core.state.incidents == {}
    last = {delivery.item: delivery.action for delivery, _ in core.sent}
    assert set(last.values()) <= {Action.RESOLVE}
    assert core.now > START
