"""What one of the relays does for all of them: heartbeats, the look at the backlog, the removal of old rows."""

import time
from collections.abc import Callable

from jobs.common import log
from jobs.common.metrics import REGISTRY
from jobs.common.settings import Settings
from jobs.ingest.heartbeats import Partitions, beat, raw_topics
from jobs.ingest.outbox import AwayError
from jobs.ingest.outbox_table import OutboxTable
from jobs.ingest.publisher import Publisher
from jobs.ingest.stopping import Stopping

#: Rows removed by one statement, and how long removing may hold publishing up at a time, seconds.
TIDY_ROWS, TIDY_SECONDS = 2_000, 0.5
#: How long the last word of a relay waits for transactions that are open, seconds.
LAST_WORD_SECONDS = 10.0
#: How far the clocks of the database and of this machine may be apart unmentioned, seconds.
_SKEW_SECONDS = 60


class Voice:
    """Speaks for the sides of the settings, for each as soon as nobody else does; as long as the outbox is open."""

    def __init__(
        self,
        settings: Settings,
        outbox: OutboxTable,
        publisher: Publisher,
        partitions: Partitions,
        clock: Callable[[], float],
    ) -> None:
        """`clock`: this machine's, seconds since 1970."""
        self._settings, self._outbox, self._publisher, self._partitions = settings, outbox, publisher, partitions
        self._clock = clock
        self._log = log.get_logger(__name__)
        self._mine: set[str] = set()
        #: Looks and tidies, and says nothing.
        self.is_mute = False
        self._due = 0.0

    def speak_if_due(self) -> int:
        """Every outbox.heartbeat_seconds: look, speak, tidy; how many rounds of heartbeats were sent."""
        if time.monotonic() < self._due:
            return 0
        self._due = time.monotonic() + self._settings.outbox.heartbeat_seconds
        backlog = self._outbox.backlog()
        REGISTRY.put("reco_relay_backlog_rows", backlog.rows)
        REGISTRY.put("reco_relay_backlog_age_seconds", backlog.age_seconds)
        sent = self._speak(self._outbox.complete_until()) if self._may_speak() else 0
        if self._mine:
            self._tidy()
        return sent

    def last_word(self, stopping: Stopping) -> int:
        """A heartbeat that covers all rows there are now, as soon as it is true; how many rounds were sent."""
        if self.is_mute or not self._may_speak():
            return 0
        now = int(self._outbox.now().timestamp() * 1000)
        end = time.monotonic() + LAST_WORD_SECONDS
        while (until := self._outbox.complete_until()) < now and not stopping.asked and time.monotonic() < end:
            stopping.sleep(0.1)
        if until < now:
            self._log.warning(
                "the last heartbeat is early", why="a transaction is still open", milliseconds=now - until
            )
        return self._speak(until)

    def _may_speak(self) -> bool:
        for side in self._settings.outbox.sides:
            if side not in self._mine and self._outbox.speak_for(side):
                self._mine.add(side)
                self._log.info("speaks", side=side)
        return bool(self._mine)

    def _speak(self, until_ms: int) -> int:
        here = int(self._clock() * 1000)
        if abs(until_ms - here) > _SKEW_SECONDS * 1000:
            self._log.warning("heartbeat and clock apart", milliseconds=until_ms - here)
        # Ahead of the record's own time it would be taken for an error in a clock; an earlier time is as true.
        until_ms = min(until_ms, here)
        sent = 0
        for side in sorted(self._mine) if not self.is_mute else ():
            # Noted first: whoever speaks next says more, whatever becomes of us in between.
            if self._outbox.move_on(side, until_ms):
                beat(self._publisher, self._partitions, raw_topics(self._settings)[side], until_ms)
                REGISTRY.put("reco_relay_heartbeat_timestamp_seconds", until_ms / 1000, side=side)
                sent += 1
        return sent

    def _tidy(self) -> None:
        hours = self._settings.outbox.keep_hours
        end = time.monotonic() + TIDY_SECONDS
        while hours is not None and time.monotonic() < end:
            try:
                if self._outbox.tidy(hours, TIDY_ROWS) < TIDY_ROWS:
                    return
            except AwayError as error:
                # No reason to publish later; a connection that is gone is found by the next who asks.
                self._log.error("old rows stay", why=str(error))
                return
