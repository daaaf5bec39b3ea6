"""Leaves a supplier alone that does not answer: a circuit, open for longer each time it fails."""

from collections.abc import Callable
from enum import StrEnum

from jobs.ingest.polling.failure import PollFailedError

#: Polls in a row that fail before the circuit opens; one that fails for a lasting reason opens it at once.
FAILURES = 3

_FIRST_SECONDS = 30.0
_LONGEST_SECONDS = 900.0


class CircuitState(StrEnum):
    """CLOSED: polled as agreed. OPEN: left alone for a while. HALF_OPEN: one poll is tried."""

    CLOSED = "CLOSED"
    OPEN = "OPEN"
    HALF_OPEN = "HALF_OPEN"


class Circuit:
    """One supplier's. `clock`: seconds that only rise."""

    def __init__(self, every: float, clock: Callable[[], float]) -> None:
        self._every, self._clock = every, clock
        self._failures = self._opened = 0
        self._due = clock()
        self.state = CircuitState.CLOSED

    @property
    def wait(self) -> float:
        """Seconds until the next poll; 0 where it is due."""
        return max(self._due - self._clock(), 0.0)

    def begin(self) -> None:
        """A poll begins."""
        if self.state is CircuitState.OPEN:
            self.state = CircuitState.HALF_OPEN

    def succeeded(self, *, is_end: bool) -> None:
        """It was read to its end, or (not `is_end`) there is more to be read at once."""
        self._failures = self._opened = 0
        self.state = CircuitState.CLOSED
        self._due = self._clock() + (self._every if is_end else 0.0)

    def failed(self, error: PollFailedError) -> None:
        """It was not; it is polled again after its interval, or when the circuit lets it, or when it said itself."""
        self._failures += 1
        pause = float(self._every)
        if error.lasting or self._failures >= FAILURES or self.state is CircuitState.HALF_OPEN:
            self.state = CircuitState.OPEN
            pause = max(pause, min(_FIRST_SECONDS * 2**self._opened, _LONGEST_SECONDS))
            self._opened = min(self._opened + 1, 10)
        if error.retry_after is not None and error.retry_after > pause:
            self.state, pause = CircuitState.OPEN, error.retry_after
        self._due = self._clock() + pause
