"""Replays of closes, and what the last one of each close said."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from threading import Lock
from typing import Any

from jobs.common.errors import DONE
from jobs.console.background import Background, Ended
from jobs.console.text import moment


class ReplayState(StrEnum):
    """How the last replay of a close stands. NONE: there was none since this console started."""

    NONE = "NONE"
    RUNNING = "RUNNING"
    PROVED = "PROVED"
    DIFFERS = "DIFFERS"
    FAILED = "FAILED"


@dataclass(frozen=True)
class Replayed:
    """The last replay of a close: who asked for it and when, and what it said.

    says: the command's own sentences. differences: recorded and replayed count of each outcome and kind that differ.
    """

    close_id: str
    state: ReplayState = ReplayState.NONE
    by: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    recorded_hash: str | None = None
    replayed_hash: str | None = None
    says: list[str] = field(default_factory=list)
    differences: dict[str, tuple[int, int]] = field(default_factory=dict)


class Replays:
    """Starts them and remembers the last one of each close; thread-safe."""

    def __init__(self, background: Background) -> None:
        self._background, self._lock = background, Lock()
        self._last: dict[str, Replayed] = {}

    def last(self, close_id: str) -> Replayed:
        """The last replay of that close."""
        with self._lock:
            return self._last.get(close_id) or Replayed(close_id)

    def start(self, close_id: str, user: str, done: Callable[[Replayed], None]) -> tuple[Replayed, bool]:
        """Begin one, of which `done` is told at its end; the one that runs where it is of this close, and False.

        UserError where something else runs.
        """

        def then(ended: Ended) -> None:
            found = replace(_read(begun, ended), finished_at=datetime.now(UTC))
            with self._lock:
                self._last[close_id] = found
            done(found)

        with self._lock:
            last = self._last.get(close_id)
            if last is not None and last.state is ReplayState.RUNNING:
                return last, False
            begun = Replayed(close_id, ReplayState.RUNNING, user, datetime.now(UTC))
            what = f"Close {close_id} is being replayed for {user} since {moment(begun.started_at)}"
            self._background.start(what, ["replay", close_id], {}, then)
            self._last[close_id] = begun
            return begun, True


def _read(begun: Replayed, ended: Ended) -> Replayed:
    try:
        told: dict[str, Any] = json.loads(ended.out)
    except ValueError:
        return replace(begun, state=ReplayState.FAILED, says=ended.failed.splitlines())
    return replace(
        begun,
        state=ReplayState.PROVED if ended.code == DONE and told["equal"] else ReplayState.DIFFERS,
        recorded_hash=told["recorded_hash"],
        replayed_hash=told["replayed_hash"],
        says=told["says"],
        differences={name: (pair[0], pair[1]) for name, pair in told["differences"].items()},
    )
