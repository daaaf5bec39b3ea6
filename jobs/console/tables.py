"""The lake as the console reads it: each table opened once a version, without a JVM."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from threading import Event, RLock, Thread
from time import monotonic
from typing import Any, TypeVar

import polars as pl
from deltalake import DeltaTable

from jobs.common import log
from jobs.common.lake import open_table, scan
from jobs.common.settings import Settings
from jobs.console.recent import Recent

Found = TypeVar("Found")
#: How long a table of a lake that is no folder counts as new, seconds: asking for its version is a request.
_FRESH_SECONDS = 5.0
#: The stream writes every few seconds, and what rests on a table is made anew each time. Its making rests for so many
#: times as long as it took, seconds at most.
_RESTS, _LONGEST_REST_SECONDS = 5, 30.0
#: What nobody asked for in so long is too old to be shown while it is made again; and how long they then wait for it.
_OLDEST_SECONDS, _PATIENCE_SECONDS = 45.0, 20.0
#: Answers of searches that are kept; one over a million exceptions takes 4 MB.
_KEPT = 16


@dataclass
class _Behind:
    """How what is made behind stands: since when it rests, and when it was last as new as its tables."""

    was_newest: float = field(default_factory=monotonic)
    rests_until: float = 0.0
    making: Event | None = None


class Tables:
    """Keeps tables open and what was made of them, until one has a new version; thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = RLock()
        self._open: dict[str, tuple[DeltaTable, float, object]] = {}
        self._made: dict[str, tuple[tuple[object, ...], Any, int]] = {}
        self._numbers = count(1)
        self._locks: dict[str, RLock] = {}
        self._behind: dict[str, _Behind] = {}
        self.recent = Recent(_KEPT)

    def table(self, name: str) -> DeltaTable | None:
        """The table at its newest version; None where it has not been created yet."""
        with self._lock:
            held = self._open.get(name)
            if held is not None and self._is_newest(name, *held):
                return held[0]
            # A new object a version: readers of the older one keep theirs.
            fresh = open_table(self.settings, name)
            if fresh is None:
                self._open.pop(name, None)
            else:
                self._open[name] = fresh, monotonic(), self._identity(name, fresh)
            return fresh

    def version(self, name: str) -> tuple[int, object] | None:
        """The newest version of the table and what tells it from another in its place; None where there is none."""
        with self._lock:
            return None if self.table(name) is None else (self._open[name][0].version(), self._open[name][2])

    def scan(self, name: str) -> pl.LazyFrame | None:
        """The rows of the newest version; None where the table has not been created yet."""
        found = self.table(name)
        # Listing a table's files costs more than most of our questions.
        return None if found is None else self.made(f"scan of {name}", (name,), lambda: scan(found))

    def made(self, what: str, of: tuple[str, ...], make: Callable[[], Found], also: object = None) -> Found:
        """What `make` makes of the tables named, made again when one of them has a new version, or `also` changed."""
        return self.numbered(what, of, make, also)[1]

    def numbered(
        self, what: str, of: tuple[str, ...], make: Callable[[], Found], also: object = None
    ) -> tuple[int, Found]:
        """The same with a number that no other making has: an `also` for what rests on it."""
        with self._lock:
            versions = (*(self.version(name) for name in of), also)
            held = self._made.get(what)
            if held is not None and held[0] == versions:
                return held[2], held[1]
            making = self._locks.setdefault(what, RLock())
        with making:  # who asks for something else does not wait
            with self._lock:
                held = self._made.get(what)
                if held is not None and held[0] == versions:
                    return held[2], held[1]
                self._made.pop(what, None)  # let go first: two of the largest need not fit in memory
            made = make()
            with self._lock:
                number = next(self._numbers)
                self._made[what] = versions, made, number
            return number, made

    def made_behind(self, what: str, of: tuple[str, ...], make: Callable[[Found | None], Found]) -> Found:
        """The same, for what takes long: whoever asks while it is made again gets what there was before.

        `make` is given what there was. It then rests for some times as long as its making took, half a minute at most;
        nobody is shown what is older than that and its making: they wait for it.
        """
        with self._lock:
            versions = (*(self.version(name) for name in of), None)
            held, behind = self._made.get(what), self._behind.setdefault(what, _Behind())
            if held is not None:
                if held[0] == versions:
                    behind.was_newest = monotonic()
                elif not behind.making and monotonic() >= behind.rests_until:
                    behind.making = Event()
                    Thread(target=self._make, args=(what, versions, make, behind), daemon=True).start()
        if held is None:
            return self.made(what, of, lambda: make(None))
        if held[0] != versions and behind.making and monotonic() - behind.was_newest > _OLDEST_SECONDS:
            behind.making.wait(_PATIENCE_SECONDS)
            held = self._made.get(what, held)
        found: Found = held[1]
        return found

    def last(self, what: str) -> Any:
        """What was made last under that name; None where nothing was. Whoever makes it is waited for."""
        with self._lock:
            making = self._locks.setdefault(what, RLock())
        with making:  # it lets go what there was before
            held = self._made.get(what)
            return None if held is None else held[1]

    def held(self, what: str) -> tuple[int, Any]:
        """What was made last under that name, and its number."""
        with self._lock:
            _, found, number = self._made[what]
            return number, found

    def _make(self, what: str, versions: tuple[object, ...], make: Callable[[Any], Any], behind: "_Behind") -> None:
        started, done = monotonic(), behind.making
        try:
            made = make(self.last(what))
            with self._lock:
                self._made[what] = (versions, made, next(self._numbers))
                behind.was_newest = started
        except Exception:  # a table that cannot be read now is read with a later request
            log.get_logger(__name__).warning("not read", what=what, exc_info=True)
        finally:
            with self._lock:
                now = monotonic()
                behind.rests_until = now + min(_RESTS * (now - started), _LONGEST_REST_SECONDS)
                behind.making = None
            if done is not None:
                done.set()

    def _is_newest(self, name: str, held: DeltaTable, opened: float, identity: object) -> bool:
        """Where the lake is a folder, its files tell."""
        if not self.settings.is_local_lake:
            return monotonic() - opened < _FRESH_SECONDS
        return self._identity(name, held) == identity and not self._commit(name, held.version() + 1).exists()

    def _identity(self, name: str, held: DeltaTable) -> object:
        """Another table may have come to the same place, and to the same version."""
        if not self.settings.is_local_lake:
            return held.metadata().id
        try:
            told = self._commit(name, held.version()).stat()
        except OSError:
            return None
        return told.st_ino, told.st_mtime_ns

    def _commit(self, name: str, version: int) -> Path:
        return Path(self.settings.table_path(name)) / "_delta_log" / f"{version:020}.json"
