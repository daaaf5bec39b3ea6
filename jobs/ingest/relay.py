"""The relay: publishes the outbox table to the raw topics, and says up to when everything is published."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from confluent_kafka import KafkaError, KafkaException

from jobs.common import log
from jobs.common.errors import FAILED, UserError
from jobs.common.metrics import REGISTRY
from jobs.common.settings import Settings
from jobs.ingest.heartbeats import BrokerAwayError, Partitions, raw_topics
from jobs.ingest.outbox import AwayError, Row
from jobs.ingest.outbox_table import OutboxTable
from jobs.ingest.publisher import GivenUpError, Outgoing, Publisher, Refused
from jobs.ingest.stopping import Stopping, Waits
from jobs.ingest.voice import Voice

#: How long a claim waits for the broker, seconds, before it is given back: meanwhile its rows are locked.
PATIENCE_SECONDS = 20.0
#: Between two lines of the log about what was published, seconds.
_SAY_SECONDS = 10.0
#: Rows that others keep us from are looked at again so soon, seconds; then after twice as long, and so on.
_BLOCKED_SECONDS = 0.01


@dataclass
class Done:
    """What a relay has done: rows confirmed by the broker, rows parked, rounds of heartbeats."""

    published: int = 0
    parked: int = 0
    heartbeats: int = 0


class RefusedError(Exception):
    """The broker refuses records for a reason that is not theirs, like a topic that is not there."""


class Relay:
    """Moves rows from the outbox to the topics, batch by batch, until stopped or until none is left."""

    def __init__(
        self,
        settings: Settings,
        outbox: OutboxTable,
        stopping: Stopping,
        clock: Callable[[], float] = time.time,
        *,
        is_backfill: bool = False,
    ) -> None:
        """`clock`: this machine's, seconds since 1970; the broker stamps heartbeats by it.

        `is_backfill`: rows are history; each record's time is that of its row's creation, and no heartbeat is sent.
        """
        self.done = Done()
        self._settings, self._outbox, self._stopping, self._clock = settings, outbox, stopping, clock
        self._is_backfill = is_backfill
        if is_backfill:
            outbox.tell_creation()
        self._log = log.get_logger(__name__)
        self._topics = raw_topics(settings)
        self._partitions = Partitions(settings)
        self._waits = {what: Waits(stopping.sleep) for what in ("broker", "database")}
        self._waited, self._was_empty = 0.0, False
        self._said = time.monotonic()
        for what in self._waits:
            REGISTRY.put("reco_relay_waiting", 0, what=what)

    def run(self, *, until_empty: bool = False) -> Done:
        """The relay. Broker and database are waited for.

        UserError where a table, a topic or a right is missing, or with `until_empty` where it was stopped before.
        """
        started = False
        while not self._stopping.asked:
            try:
                self._outbox.open()
                if not started:
                    self._outbox.check()
                self._find_topics(started)
                started, self._waited = True, 0.0
                self._publisher = Publisher(self._settings, self._hold, self._gives_up)
                voice = Voice(self._settings, self._outbox, self._publisher, self._partitions, self._clock)
                voice.is_mute = self._is_backfill
                if self._serve(voice, until_empty):
                    break
            except AwayError as error:
                self._wait("database", error)
            except UserError as error:
                if not started:
                    raise
                self._wait("database", error)
            except (BrokerAwayError, GivenUpError, RefusedError, KafkaException) as error:
                self._outbox.close()  # nothing stays locked while we wait
                self._wait("broker", error)
            finally:
                self._outbox.close()
        self._tell(last=True)
        if until_empty and not self._was_empty:
            raise UserError(
                f"Stopped before the outbox was empty, after {self.done.published:,} rows; what is left is published "
                "when the relay runs again.",
                FAILED,
            )
        return self.done

    def _serve(self, voice: Voice, until_empty: bool) -> bool:
        """Batches, and between them what else is to be done; True at the end, when none is left or we are stopped."""
        poll = self._settings.outbox.poll_milliseconds / 1000
        blocked = _BLOCKED_SECONDS
        while not self._stopping.asked:
            moved = self._batch()
            self.done.heartbeats += voice.speak_if_due()
            # Not sooner: a database that answers some of our questions only would be asked again and again at once.
            self._answers("database")
            self._tell()
            if moved:
                blocked = _BLOCKED_SECONDS
                continue
            if until_empty and not self._outbox.backlog().rows:
                self._was_empty = True
                self.done.heartbeats += voice.last_word(self._stopping)
                return True
            blocked = min(blocked * 2, poll)
            self._outbox.wait(blocked if moved is None else poll)
        return True

    def _batch(self) -> int | None:
        """Publish one claim; how many rows were settled, None where others stood before all of them."""
        claimed = self._outbox.claim()
        if not claimed:
            self._outbox.release()
            return 0
        rows = self._outbox.in_order(claimed)
        if not rows:
            self._outbox.release()
            return None
        parked = [
            (row, f"aggregatetype is {row.aggregatetype!r:.60}, not agoda or supplier")
            for row in rows
            if row.aggregatetype not in self._topics
        ]
        known = [row for row in rows if row.aggregatetype in self._topics]
        # The database writes while the broker does; it keeps that only once the broker has confirmed.
        refused = self._publish(known, lambda: self._outbox.mark_early(known)) if known else []
        too_large, others = self._sort_out(known, refused)
        published = known
        if refused:
            stuck = {row.aggregate for row, _reason in others}
            gone = {row.id for row, _reason in too_large}
            published = [row for row in known if row.id not in gone and row.aggregate not in stuck]
        self._outbox.settle(published, parked + too_large)
        self._count(published, parked, too_large)
        if others:
            raise RefusedError(f"{len(others)} rows were refused: {others[0][1]}")
        self._answers("broker")
        return len(published) + len(parked) + len(too_large)

    def _publish(self, rows: Sequence[Row], meanwhile: Callable[[], None] | None = None) -> list[Refused]:
        self._waited = 0.0
        topics, now = self._topics, int(self._clock() * 1000)
        return self._publisher.publish(
            [
                Outgoing(
                    topics[side], activity.encode(), payload, (("id", str(row_id).encode()),), stamp=min(created, now)
                )
                for row_id, side, activity, payload, _seq, created in rows
            ],
            meanwhile,
        )

    def _sort_out(
        self, rows: Sequence[Row], refused: Sequence[Refused]
    ) -> tuple[list[tuple[Row, str]], list[tuple[Row, str]]]:
        """(rows that are too large, with the reason; rows refused for what is not their fault, likewise).

        A broker whose limit is lower than ours refuses whole batches for one record: each is tried alone.
        """
        too_large: list[tuple[Row, str]] = []
        others: list[tuple[Row, str]] = []
        for one in refused:
            row, last = rows[one.index], one
            if one.code == KafkaError.MSG_SIZE_TOO_LARGE:
                again = self._publish([row])
                if not again:
                    continue
                last = again[0]
            named = (row, f"{len(row.payload):,} bytes: {last.reason}")
            (too_large if last.code == KafkaError.MSG_SIZE_TOO_LARGE else others).append(named)
        return too_large, others

    def _count(
        self, published: Sequence[Row], odd: Sequence[tuple[Row, str]], too_large: Sequence[tuple[Row, str]]
    ) -> None:
        numbers = Counter(row.aggregatetype for row in published)
        for side in self._topics:
            REGISTRY.add("reco_relay_published_total", numbers[side], side=side)
        for reason, rows in (("AGGREGATE_TYPE", odd), ("TOO_LARGE", too_large)):
            REGISTRY.add("reco_relay_parked_total", len(rows), reason=reason)
            for row, why in rows:
                self._log.error("parked", id=str(row.id), aggregateid=row.aggregateid, seq=row.seq, why=why)
        self.done.published += len(published)
        self.done.parked += len(odd) + len(too_large)

    # -- waiting -------------------------------------------------------------------------------------------------

    def _find_topics(self, started: bool) -> None:
        """Raises UserError where one is missing at the start; one that vanishes later is waited for."""
        try:
            for side in self._settings.outbox.sides:
                self._partitions.of(self._topics[side])
        except UserError as error:
            if started:
                raise BrokerAwayError(str(error)) from error
            raise
        REGISTRY.put("reco_relay_waiting", 0, what="broker")

    def _hold(self, seconds: float) -> None:
        """Called while the broker keeps a batch waiting."""
        self._waited = seconds
        REGISTRY.put("reco_relay_waiting", 1, what="broker")
        self._log.warning("waiting", what="broker", seconds=round(seconds))

    def _gives_up(self) -> bool:
        return self._waited >= PATIENCE_SECONDS or self._stopping.is_over()

    def _wait(self, what: str, error: Exception) -> None:
        REGISTRY.put("reco_relay_waiting", 1, what=what)
        why = str(error) or "records were not confirmed in time; their rows are published again"
        self._log.warning("waiting", what=what, why=why)
        self._waits[what].grow()

    def _answers(self, what: str) -> None:
        self._waits[what].over()
        REGISTRY.put("reco_relay_waiting", 0, what=what)

    def _tell(self, *, last: bool = False) -> None:
        if last or time.monotonic() - self._said >= _SAY_SECONDS:
            self._said = time.monotonic()
            self._log.info("stopped" if last else "relayed", **asdict(self.done))
