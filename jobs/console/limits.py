"""Wrong passwords slow their senders down: by user and by address, within a window of time."""

import time
from collections import deque
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address, ip_network
from threading import Lock

WINDOW_SECONDS = 15 * 60.0
#: Names and addresses that are remembered; the oldest are forgotten first, so that a flood cannot fill the memory.
_KNOWN = 10_000


def of_address(address: str) -> str:
    """The key of an address: of IPv6 the network of 64 bits, all of which whoever has one of them has."""
    try:
        found = ip_address(address)
    except ValueError:
        return f"address {address}"
    return f"address {ip_network((found, 64), strict=False) if isinstance(found, IPv6Address) else found}"


class Attempts:
    """Counts wrong attempts by key; thread-safe."""

    def __init__(self, allowed: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`allowed`: wrong attempts of a key in WINDOW_SECONDS, after which it has to wait; `clock` in seconds."""
        self._allowed, self._clock, self._lock = allowed, clock, Lock()
        self._failed: dict[str, deque[float]] = {}

    def begin(self, *keys: str) -> int:
        """How long the slowest of the keys has to wait; 0 where none has, and then the attempt counts already.

        Many attempts at once would else all be let through before the first of them has failed.
        """
        now = self._clock()
        with self._lock:
            wait = max((self._wait(key) for key in keys), default=0)
            for key in () if wait else keys:
                times = self._failed.pop(key, None) or deque(maxlen=self._allowed)
                times.append(now)
                self._failed[key] = times
            while len(self._failed) > _KNOWN:
                del self._failed[next(iter(self._failed))]
        return wait

    def succeeded(self, forgiven: str, *others: str) -> None:
        """The attempt was right: forget all of the first key, and this one of the others."""
        with self._lock:
            self._failed.pop(forgiven, None)
            for key in others:
                times = self._failed.get(key)
                if times:
                    times.pop()

    def _wait(self, key: str) -> int:
        times = self._failed.get(key)
        if times is None or len(times) < self._allowed:
            return 0
        return max(0, -int(-(times[0] + WINDOW_SECONDS - self._clock()) // 1))
