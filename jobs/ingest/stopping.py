"""Ending in order: SIGTERM and Ctrl-C are asked for between two steps, and waiting is cut short by them."""

import signal
import time
from collections.abc import Callable
from random import uniform
from types import FrameType, TracebackType
from typing import Any, Self

#: How long what is under way may go on after a stop was asked for, seconds.
LAST_SECONDS = 5.0
_SLICE_SECONDS = 0.2
_FIRST_WAIT, _LONGEST_WAIT = 0.25, 30.0


class Stopping:
    """In its context the first SIGTERM or Ctrl-C asks for an end in order; a second one ends at once."""

    def __init__(self) -> None:
        self._asked_at: float | None = None
        self._before: dict[signal.Signals, Any] = {}

    @property
    def asked(self) -> bool:
        """Whether the end was asked for."""
        return self._asked_at is not None

    def ask(self) -> None:
        """Ask for it."""
        if self._asked_at is None:
            self._asked_at = time.monotonic()

    def is_over(self) -> bool:
        """Whether it was asked for so long ago that what is under way is given up."""
        return self._asked_at is not None and time.monotonic() - self._asked_at > LAST_SECONDS

    def sleep(self, seconds: float) -> None:
        """Wait so long, or until the end is asked for."""
        end = time.monotonic() + seconds
        while not self.asked and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _SLICE_SECONDS))

    def __enter__(self) -> Self:
        for name in (signal.SIGTERM, signal.SIGINT):
            self._before[name] = signal.signal(name, self._signalled)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()

    def _signalled(self, _signal: int, _frame: FrameType | None) -> None:
        self.ask()
        self._give_back()

    def _give_back(self) -> None:
        while self._before:
            signal.signal(*self._before.popitem())


class Waits:
    """Growing delays between tries, from a quarter of a second to half a minute, a little uneven.

    `sleep`: waits so many seconds, or until the end is asked for.
    """

    def __init__(self, sleep: Callable[[float], object]) -> None:
        self._sleep, self._next = sleep, _FIRST_WAIT

    def grow(self) -> float:
        """Wait, longer than the last time; returns for how many seconds at most."""
        seconds = round(self._next * uniform(0.8, 1.2), 2)
        self._next = min(self._next * 2, _LONGEST_WAIT)
        self._sleep(seconds)
        return seconds

    def over(self) -> None:
        """What was waited for is there; the next wait is a short one again."""
        self._next = _FIRST_WAIT
