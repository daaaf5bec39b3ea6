"""`reco poll`: reads suppliers' APIs and publishes what they say to the raw topic."""

import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import UTC
from pathlib import Path
from threading import Event
from types import FrameType
from typing import Annotated

import stamina.instrumentation
import typer

from jobs.common import log
from jobs.common.errors import DONE, FAILED, UserError
from jobs.common.kafka import BrokerAwayError
from jobs.common.kafka_reach import Right, partitions
from jobs.common.metrics import REGISTRY, endpoint
from jobs.common.options import AsJson, Debug, SettingsFile
from jobs.common.output import print_json, print_table, say
from jobs.common.settings import Settings, load_settings
from jobs.ingest.polling.circuit import CircuitState
from jobs.ingest.polling.config import SupplierApi, choose, is_future, read_suppliers, read_time
from jobs.ingest.polling.config_parts import CursorPaging, PagePaging, SincePaging
from jobs.ingest.polling.deliver import Sink
from jobs.ingest.polling.poller import Outcome, Poller
from jobs.ingest.polling.state import State, Store, locked
from jobs.ingest.stopping import Waits

_PATIENCE_SECONDS = 5.0
_OLDEST = "reco_poll_oldest_success_timestamp_seconds"


def command(
    once: Annotated[bool, typer.Option("--once", help="Poll each supplier until there is no more, then end.")] = False,
    supplier: Annotated[
        list[str] | None, typer.Option(help="Poll this supplier only; may be given several times.", metavar="S")
    ] = None,
    backfill: Annotated[
        bool,
        typer.Option(
            "--backfill",
            help="What is read is history: each record's time is when the supplier says that its item was changed.",
        ),
    ] = False,
    reset_to: Annotated[
        str | None,
        typer.Option(
            help="With one --supplier: note that it is read from here on next time, and end. A time with its offset, "
            "`start`, or `cursor:VALUE`."
        ),
    ] = None,
    settings_file: SettingsFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Poll the suppliers' APIs described in poll.folder and publish what is new to the supplier topic, until stopped.

    A broker that is away is waited for.
    Exit code 1 with --once where a supplier failed; the others are polled all the same.

    Example: reco poll --once --supplier SUP-007
    """
    log.configure(debug=debug, as_json=True if as_json else None)
    settings = load_settings(settings_file)
    folder = Path(settings.poll.folder)
    apis = choose(read_suppliers(folder), supplier or [], folder)
    if reset_to is not None:
        if len(supplier or []) != 1:
            raise UserError("--reset-to is for one supplier: name it with --supplier.")
        return _reset(settings, apis[0], reset_to, as_json=as_json)
    if backfill:
        _check_times(apis)
    stamina.instrumentation.set_on_retry_hooks([])
    metrics = settings.metrics.model_copy(update={"port": settings.poll.metrics_port})
    with endpoint(metrics, key="poll.metrics_port"), ExitStack() as locks, _until_signal() as stop:
        for api in apis:
            locks.enter_context(locked(Path(settings.poll.state), api.supplier))
        REGISTRY.put(_OLDEST, time.time())
        if not _broker_is_there(settings, stop):
            if once:
                raise UserError("Stopped before a broker answered; nothing was polled.", FAILED)
            return DONE
        if once:
            return run_once(settings, apis, stop, as_json=as_json, is_backfill=backfill)
        return run(settings, apis, stop, is_backfill=backfill)


def run(settings: Settings, apis: Sequence[SupplierApi], stop: Event, *, is_backfill: bool = False) -> int:
    """Poll each supplier in a thread of its own until `stop` is set."""
    pollers = _pollers(settings, apis, stop, is_backfill=is_backfill)
    with ThreadPoolExecutor(len(pollers), "poll") as pool:
        for future in [pool.submit(poller.run) for poller in pollers]:
            try:
                future.result()
            except BaseException:
                stop.set()
                raise
    return DONE


def run_once(
    settings: Settings, apis: Sequence[SupplierApi], stop: Event, *, as_json: bool, is_backfill: bool = False
) -> int:
    """Poll each until there is no more; says how it went with each. FAILED where any did not come to its end."""
    pollers = _pollers(settings, apis, stop, is_backfill=is_backfill)
    with ThreadPoolExecutor(len(pollers), "poll") as pool:
        ended = list(pool.map(Poller.run_to_end, pollers))
    outcomes = [outcome for outcome in ended if outcome is not None]
    if as_json:
        print_json([{**asdict(outcome), "seconds": round(outcome.seconds, 3)} for outcome in outcomes])
    else:
        _print(outcomes)
    return DONE if all(outcome is not None and outcome.why is None for outcome in ended) else FAILED


def _pollers(settings: Settings, apis: Sequence[SupplierApi], stop: Event, *, is_backfill: bool) -> list[Poller]:
    sink = Sink(settings, stop.is_set)
    pollers: list[Poller] = []

    def told() -> None:
        _measure(pollers)

    pollers += [Poller(settings, api, sink, stop, told, is_backfill=is_backfill) for api in apis]
    for kind in ("PUBLISHED", "UNCHANGED", "REFUSED"):
        REGISTRY.add("reco_poll_records_total", kind=kind)
    told()
    return pollers


def _measure(pollers: Sequence[Poller]) -> None:
    states = Counter(poller.circuit.state for poller in pollers)
    for state in CircuitState:
        REGISTRY.put("reco_poll_suppliers", states[state], circuit=state.value)
    # A supplier that has not been read to its end since the start counts from the start.
    oldest = min(poller.last_success or poller.began for poller in pollers)
    REGISTRY.put(_OLDEST, oldest)


def _print(outcomes: Sequence[Outcome]) -> None:
    rows = [
        [
            o.supplier,
            "failed" if o.why else "done",
            o.tally.pages,
            o.tally.published,
            o.tally.unchanged,
            o.tally.refused,
        ]
        for o in outcomes
    ]
    print_table("Polled", ["supplier", "outcome", "pages", "published", "unchanged", "refused"], rows)
    say(*(f"{outcome.supplier!a} FAILED: {outcome.why}" for outcome in outcomes if outcome.why))


def _reset(settings: Settings, api: SupplierApi, to: str, *, as_json: bool) -> int:
    """Forget how far it was read and note another place."""
    store = Store(Path(settings.poll.state), api)
    state = State(store.source)
    at = read_time(to)
    if isinstance(api.paging, PagePaging):
        raise UserError(f"{api.supplier!a} is read whole in each poll; there is no place to go on from.")
    if isinstance(api.paging, CursorPaging):
        if to.startswith("cursor:"):
            state.tips = [(0.0, to.removeprefix("cursor:"))]
        elif to != "start":
            raise UserError(f"--reset-to {to}: {api.supplier!a} is read by cursor; give start, or cursor:VALUE.")
    elif at is not None:
        if is_future(to):
            raise UserError(
                f"--reset-to {to}: lies in the future, from where nothing would be read; give a time before now."
            )
        state.high = at.astimezone(UTC).timestamp()
    elif to != "start":
        raise UserError(f"--reset-to {to}: give a time with its offset, like 2026-03-01T00:00:00Z, or start.")
    with locked(Path(settings.poll.state), api.supplier):
        store.save(state)
    if as_json:
        print_json({"supplier": api.supplier, "goes_on_from": to})
    else:
        say(f"The next poll of {api.supplier!a} goes on from {to}; what was published before counts once.")
    return DONE


def _check_times(apis: Sequence[SupplierApi]) -> None:
    """UserError where a supplier's items bear no time that a record could have."""
    for api in apis:
        if not isinstance(api.paging, SincePaging):
            raise UserError(
                f"--backfill: the items of {api.supplier!a} bear no time, since {api.file} pages by "
                f"{api.paging.kind}: page by updated_since, or poll it without --backfill (--supplier names those)."
            )


def _broker_is_there(settings: Settings, stop: Event) -> bool:
    """Wait until a broker answers; False where `stop` was set first.

    UserError where one answers, and not us, or we may not write to the supplier topic.
    """
    waits = Waits(stop.wait)
    while not stop.is_set():
        try:
            partitions(settings, {settings.topics.supplier_raw: (Right.WRITE,)}, seconds=_PATIENCE_SECONDS)
        except BrokerAwayError as error:
            log.get_logger(__name__).warning("waiting", what="broker", why=error.fact)
            waits.grow()
        else:
            return True
    return False


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
