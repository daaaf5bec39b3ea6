"""Replays of closes: `reco replay` as a process of its own, one at a time, and what the last one of each close said."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from jobs.common import log, replay_scratch
from jobs.common.children import bound
from jobs.common.errors import DONE, UserError
from jobs.common.settings import Settings
from jobs.console.text import moment

#: Seconds that a replay has to clean up once it is told to end.
_GRACE_SECONDS = 20.0
#: Pages come first.
_NICE = 10
#: What a replay is told of the settings; neither holds a secret.
_SECTIONS = {"lake", "daily"}


class State(StrEnum):
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
    state: State = State.NONE
    by: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    recorded_hash: str | None = None
    replayed_hash: str | None = None
    says: list[str] = field(default_factory=list)
    differences: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def seconds(self) -> float | None:
        """How long it took."""
        both = self.started_at and self.finished_at
        return (self.finished_at - self.started_at).total_seconds() if both else None  # type: ignore[operator]


class Replays:
    """Runs them in the background; thread-safe. They end with this process."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._lock = settings, Lock()
        self._last: dict[str, Replayed] = {}
        self._running: str | None = None

    @property
    def can_run(self) -> bool:
        """Without a JVM a replay needs a lake that is a folder of this machine."""
        return self._settings.is_local_lake

    def last(self, close_id: str) -> Replayed:
        """The last replay of that close."""
        with self._lock:
            return self._last.get(close_id) or Replayed(close_id)

    def start(self, close_id: str, user: str, done: Callable[[Replayed], None]) -> tuple[Replayed, bool]:
        """Begin one, of which `done` is told at its end; the one that runs where it is of this close, and False.

        UserError where it is of another.
        """
        with self._lock:
            if self._running is not None:
                running = self._last[self._running]
                if self._running != close_id:
                    raise UserError(
                        f"Close {running.close_id} is being replayed for {running.by} since "
                        f"{moment(running.started_at)}, and there is one replay at a time; try again in a moment."
                    )
                return running, False
            begun = Replayed(close_id, State.RUNNING, user, datetime.now(UTC))
            self._last[close_id], self._running = begun, close_id
        Thread(target=self._run, args=(begun, done), daemon=True).start()
        return begun, True

    def _run(self, begun: Replayed, done: Callable[[Replayed], None]) -> None:
        try:
            ended = self._replayed(begun)
        except Exception:
            log.get_logger(__name__).error("replay failed", close_id=begun.close_id, exc_info=True)
            ended = replace(begun, state=State.FAILED, says=["It could not be started; the console's log says why."])
        ended = replace(ended, finished_at=datetime.now(UTC))
        try:
            done(ended)
        finally:
            with self._lock:
                self._last[begun.close_id], self._running = ended, None

    def _replayed(self, begun: Replayed) -> Replayed:
        """Run the command to its end, or to the end of its time; in the thread that it is bound to."""
        minutes = self._settings.console.replay_minutes
        with tempfile.TemporaryDirectory(prefix="reco-replay-") as folder:
            file = Path(folder) / "settings.yaml"
            file.write_text(self._settings.model_dump_json(include=_SECTIONS))
            command = [sys.executable, "-m", "jobs.cli.main", "replay", "--engine", "duckdb", "--json"]
            process = subprocess.Popen(
                bound([*command, "--settings", str(file), "--", begun.close_id]),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            with suppress(OSError):  # it has ended already
                os.setpriority(os.PRIO_PROCESS, process.pid, _NICE)
            try:
                out, said = process.communicate(timeout=60 * minutes)
            except subprocess.TimeoutExpired:
                _end(process)
                took = f"It took longer than {minutes} minutes and was ended; console.replay_minutes is the limit."
                return replace(begun, state=State.FAILED, says=[f"{took} `reco replay {begun.close_id}` has none."])
            finally:
                replay_scratch.sweep(self._settings.lake.root)
        return _read(begun, process.returncode, out, said)


def _end(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    try:
        process.communicate(timeout=_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def _read(begun: Replayed, code: int, out: str, said: str) -> Replayed:
    try:
        told: dict[str, Any] = json.loads(out)
    except ValueError:  # it failed: the last line that is no line of the log says why
        lines = [line for line in said.splitlines() if line.strip() and not line.startswith("{")]
        ended = (
            f"It was killed by signal {-code}: see whether the machine lacks memory." if code < 0 else f"Code {code}."
        )
        why = log.hide_secrets(lines[-1]) if lines else ended
        return replace(begun, state=State.FAILED, says=[why])
    return replace(
        begun,
        state=State.PROVED if code == DONE and told["equal"] else State.DIFFERS,
        recorded_hash=told["recorded_hash"],
        replayed_hash=told["replayed_hash"],
        says=told["says"],
        differences={name: (pair[0], pair[1]) for name, pair in told["differences"].items()},
    )
