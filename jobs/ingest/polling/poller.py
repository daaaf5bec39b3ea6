"""One supplier's poller: polls when it is due, tells how it went, and leaves the others alone whatever happens."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

from jobs.common import log
from jobs.common.command import one_line
from jobs.common.errors import UserError
from jobs.common.polling import STATUS, file_of
from jobs.common.settings import Settings
from jobs.ingest.polling.circuit import Circuit
from jobs.ingest.polling.config import SupplierApi
from jobs.ingest.polling.deliver import Delivered, Delivery, Sink, Tally
from jobs.ingest.polling.failure import PollFailedError, StoppedError
from jobs.ingest.polling.job import Job
from jobs.ingest.polling.split import Page
from jobs.ingest.polling.state import State, Store, write_whole
from jobs.ingest.polling.walk import poll
from jobs.ingest.polling.web import Web

_TELL_SECONDS = 10.0


@dataclass
class Outcome:
    """How one poll went; `why` where it failed."""

    supplier: str
    is_end: bool
    why: str | None
    tally: Tally
    seconds: float


class Poller:
    """One supplier; for one thread. `told` is called whenever the circuit or the last success changed."""

    def __init__(
        self,
        settings: Settings,
        api: SupplierApi,
        sink: Sink,
        stop: Event,
        told: Callable[[], None],
        *,
        is_backfill: bool = False,
    ) -> None:
        self.api, self._stop, self._told = api, stop, told
        self.circuit = Circuit(api.every, time.monotonic)
        self.began = time.time()
        self.last_success: float | None = None
        self._store = Store(Path(settings.poll.state), api)
        self._delivery = Delivery(settings, api, sink, is_backfill=is_backfill)
        self._web: Web | None = None
        self._state: State | None = None
        self._status = file_of(Path(settings.poll.state), api.supplier, STATUS)
        self._told_at = time.monotonic()
        self._log = log.get_logger(__name__).bind(supplier=api.supplier)

    def run(self) -> None:
        """Poll whenever it is due, until asked to stop."""
        try:
            while not self._stop.wait(self.circuit.wait):
                self.poll_once()
        except StoppedError:
            pass
        finally:
            self.close()

    def run_to_end(self) -> Outcome | None:
        """Poll until there is no more, or it fails; None where it was asked to stop.

        A walk that began before, and was broken off, is not enough: rows may have been committed late behind it.
        """
        started, whole, ends = time.time(), Tally(), 0
        try:
            while True:
                outcome = self.poll_once()
                whole = whole.plus(outcome.tally)
                ends += outcome.is_end
                is_fresh = self._state is not None and (self._state.began or 0.0) >= started
                # The second of two ends is of a walk that began here, whatever the clock says.
                if outcome.why is not None or (outcome.is_end and (is_fresh or ends > 1)):
                    return replace(outcome, tally=whole, seconds=time.time() - started)
        except StoppedError:
            return None
        finally:
            self.close()

    def poll_once(self) -> Outcome:
        """One poll, with what becomes of the circuit. Raises StoppedError where it was asked to stop."""
        began = time.monotonic()
        self._delivery.tally = tally = Tally()
        self.circuit.begin()
        self._told()
        is_end, failure = False, None
        try:
            is_end = poll(self._job())
        except PollFailedError as error:
            failure = error
        except UserError as error:
            failure = PollFailedError(str(error), lasting=True)
        except StoppedError:
            raise
        except Exception as error:
            # A fault of ours with this supplier's answer is no reason to leave the others unpolled.
            self._log.exception("poll failed")
            failure = PollFailedError(f"The poller failed: {type(error).__name__}: {one_line(error)}.")
        if failure is None:
            self.circuit.succeeded(is_end=is_end)
            self.last_success = time.time() if is_end else self.last_success
        else:
            self.circuit.failed(failure)
            # Read anew from what was saved: what was in hand may be half-way.
            self._state = None
        why = None if failure is None else str(failure)
        outcome = Outcome(self.api.supplier, is_end, why, tally, time.monotonic() - began)
        self._end(outcome)
        return outcome

    def close(self) -> None:
        """Let go of the connections."""
        if self._web is not None:
            self._web.close()
            self._web = None

    def _job(self) -> Job:
        if self._web is None:
            self._web = Web(self.api, self._stop.is_set)
        if self._state is None:
            self._state = self._store.load()
        return Job(self.api, self._store, self._state, self._web.get, self._deliver, time.time)

    def _deliver(self, page: Page) -> Delivered:
        done = self._delivery.deliver(page)
        if time.monotonic() - self._told_at >= _TELL_SECONDS:
            self._tell(None)  # a first poll may take hours
        return done

    def _end(self, outcome: Outcome) -> None:
        fields = {**asdict(outcome.tally), "seconds": round(outcome.seconds, 3), "circuit": self.circuit.state.value}
        if outcome.why is None:
            self._log.info("polled", **fields)
        else:
            self._log.error("poll failed", **fields, why=outcome.why)
        self._told()
        self._tell(outcome.why)

    def _tell(self, why: str | None) -> None:
        """Write the file for `reco status`; where that fails, the next one mends it."""
        self._told_at = time.monotonic()
        now = datetime.now(UTC)
        told: dict[str, Any] = {
            "supplier": self.api.supplier,
            "circuit": self.circuit.state.value,
            **asdict(self._delivery.tally),
            "why": why,
            "told_at": _iso(now),
            "last_success_at": self._success(),
            "next_at": _iso(now + timedelta(seconds=self.circuit.wait)),
            "refused_kept": self._refused(),
        }
        try:
            write_whole(self._status, json.dumps(told, ensure_ascii=False).encode())
        except OSError as error:
            self._log.warning("progress not told", why=error.strerror)

    def _success(self) -> str | None:
        if self.last_success is not None:
            return _iso(datetime.fromtimestamp(self.last_success, UTC))
        try:
            told: Any = json.loads(self._status.read_bytes())["last_success_at"]
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return told if isinstance(told, str) else None

    def _refused(self) -> int:
        """How many records are kept that the broker did not take, of all polls."""
        return sum(1 for _ in self._status.with_suffix(".refused").glob("*.json"))


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
