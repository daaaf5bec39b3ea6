"""Wrong passwords slow their senders down: by user and by address, within a window of time."""

import time
from collections import deque
from collections.abc import Callable
from threading import Lock

WINDOW_SECONDS = 15 * 60.0
#: Names and addresses that are remembered; the oldest are forgotten first, so that a flood cannot fill the memory.
_KNOWN = 10_000


class Attempts:
    """Counts wrong attempts by key; thread-safe."""

    def __init__(self, allowed: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`allowed`: wrong attempts of a key in WINDOW_SECONDS, after which it has to wait; `clock` in seconds."""
        self._allowed, self._clock, self._lock = allowed, clock, Lock()
        self._failed: dict[str, deque[float]] = {}

    def wait_seconds(self, *keys: str) -> int:
        """How long the slowest of the keys has to wait; 0 where none has."""
        with self._lock:
            return max((self._wait(key) for key in keys), default=0)

    def failed(self, *keys: str) -> None:
        """Count a wrong attempt of each key."""
        now = self._clock()
        with self._lock:
            for key in keys:
                times = self._failed.pop(key, None) or deque(maxlen=self._allowed)
                times.append(now)
                self._failed[key] = times
            while len(self._failed) > _KNOWN:
                del self._failed[next(iter(self._failed))]

    def succeeded(self, key: str) -> None:
        """Forget the wrong attempts of the key."""
        with self._lock:
            self._failed.pop(key, None)

    def _wait(self, key: str) -> int:
        times = self._failed.get(key)
        if times is None or len(times) < self._allowed:
            return 0
        return max(0, -int(-(times[0] + WINDOW_SECONDS - self._clock()) // 1))
