"""`reco alerts`: tells people what is broken and what it costs, a few messages instead of thousands."""

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from threading import Event
from types import FrameType
from typing import Annotated

import typer

from jobs.alerts.ask import ask_acknowledgement
from jobs.alerts.desk import sender_of
from jobs.alerts.plan import Action
from jobs.alerts.routes import Routes, read_routes
from jobs.alerts.service import Leader, run, run_once
from jobs.alerts.sink_config import lacking
from jobs.alerts.sinks import SinkFailedError
from jobs.alerts.store import ensure_topic
from jobs.alerts.wording import Message
from jobs.common import log
from jobs.common.command import one_line
from jobs.common.errors import DONE, FAILED, UserError
from jobs.common.metrics import endpoint
from jobs.common.options import AsJson, Debug, SettingsFile
from jobs.common.output import print_json, print_table, say
from jobs.common.settings import Settings, load_settings


def command(
    once: Annotated[bool, typer.Option("--once", help="Tell what is due, without a group's wait, and end.")] = False,
    check: Annotated[
        Path | None, typer.Option("--check", metavar="FILE", help="Check a file of routes, show it, and end.")
    ] = None,
    test: Annotated[
        list[str] | None, typer.Option("--test", metavar="SINK", help="Send a test message to this sink, and end.")
    ] = None,
    ack: Annotated[
        str | None, typer.Option("--ack", metavar="INCIDENT", help="Say that --by is at it: it is not repeated.")
    ] = None,
    by: Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who is at the incident.")] = None,
    settings_file: SettingsFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Tell sinks (alerts.routes, docs/alerts.md) of open breaks, until stopped; a second instance stands by.

    Exit code 1 with --once or --test where a sink did not take a message, or the lake could not be read.

    Example: reco alerts --check conf/alerts.yaml
    """
    log.configure(debug=debug, as_json=True if as_json else None)
    settings = load_settings(settings_file)
    if check is not None:
        return _show(read_routes(check), as_json=as_json)
    if (ack is None) != (by is None):
        raise UserError("--ack INCIDENT and --by NAME belong together.")
    routes = read_routes(Path(settings.alerts.routes))
    tried = {name: sink for name, sink in routes.sinks.items() if not test or name in test}
    if ack is None and (wrong := lacking(tried)):
        raise UserError("\n".join(f"{settings.alerts.routes}: {sentence}" for sentence in wrong))
    if test:
        return _test(routes, test, as_json=as_json)
    ensure_topic(settings)
    if ack is not None and by is not None:
        ask_acknowledgement(settings, ack, by)
        if as_json:
            print_json({"incident": ack, "acknowledged_by": by})
        else:
            say(f"Noted for the incident {ack}: {by} is at it.")
        return DONE
    return _serve(settings, routes, once=once, as_json=as_json)


def _serve(settings: Settings, routes: Routes, *, once: bool, as_json: bool) -> int:
    metrics = settings.metrics.model_copy(update={"port": settings.alerts.metrics_port})
    with endpoint(metrics, key="alerts.metrics_port"), _until_signal() as stop:
        if not once:
            return run(settings, routes, stop)
        return _outcome(run_once(settings, routes, stop), as_json=as_json)


def _outcome(leader: Leader, *, as_json: bool) -> int:
    sent = leader.desk.sent
    failed = {name: trouble.why for name, trouble in leader.desk.troubles.items()}
    left = sorted({one.sink for one in leader.left} | set(failed))
    unread = None if leader.results.is_caught_up else "the topic of results was not read to its end; run it again"
    unread = unread or leader.watch.trouble
    if as_json:
        summary = {"incidents": len(leader.state.incidents), "sent": sent, "not_sent": failed, "left": left}
        print_json({**summary, "not_read": unread})
    else:
        rows = [[name, count, failed.get(name)] for name, count in sent.items()]
        print_table(f"Told of {len(leader.state.incidents):,} incidents", ["sink", "sent", "failed"], rows)
        if unread:
            say(f"Not all was read: {unread}")
    return FAILED if left or unread else DONE


def _show(routes: Routes, *, as_json: bool) -> int:
    rows = [
        [one.name, ", ".join(one.severity), ", ".join(one.supplier), ", ".join(one.kind), ", ".join(one.sinks)]
        for one in routes.routes
    ]
    if as_json:
        print_json({"sinks": sorted(routes.sinks), "routes": [one.model_dump() for one in routes.routes]})
    else:
        print_table("Routes, the first that matches", ["route", "severity", "supplier", "kind", "sinks"], rows)
        say(f"{len(routes.sinks)} sinks: {', '.join(sorted(routes.sinks))}. Try each: reco alerts --test SINK")
    return DONE


def _test(routes: Routes, names: Sequence[str], *, as_json: bool) -> int:
    unknown = [name for name in names if name not in routes.sinks]
    if unknown:
        raise UserError(f"There is no sink {', '.join(unknown)}; there are {', '.join(routes.sinks)}.")
    outcomes = {name: _try(routes, name) for name in names}
    if as_json:
        print_json({name: {"why": why} for name, why in outcomes.items()})
    else:
        print_table("Test messages", ["sink", "outcome"], [[n, why or "taken"] for n, why in outcomes.items()])
    return FAILED if any(outcomes.values()) else DONE


def _try(routes: Routes, name: str) -> str | None:
    """Send, and resolve at once; returns why it was not taken."""
    now = time.time()
    sender = sender_of(name, routes.sinks[name])
    handle: dict[str, str] = {}
    try:
        for action in (Action.TRIGGER, Action.RESOLVE):
            handle = sender.send(_test_message(action, now), handle)
    except (SinkFailedError, UserError) as error:
        return one_line(error)
    finally:
        sender.close()
    return None


def _test_message(action: Action, now: float) -> Message:
    title = "A test of the reconciliation's alerts" if action is Action.TRIGGER else "Resolved: a test of the alerts"
    lines = ("Nothing is broken; whoever set up this sink wanted to see that it works.",)
    amount = Decimal(0)
    return Message(f"test-{now:.0f}", f"test-{now:.0f}:{action}", action, title, lines, "LOW", (), (), 0, amount, now)


@contextmanager
def _until_signal() -> Iterator[Event]:
    """An event that SIGTERM and Ctrl-C set, while in the context."""
    stop = Event()

    def ask(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {name: signal.signal(name, ask) for name in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
