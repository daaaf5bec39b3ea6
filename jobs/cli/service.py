"""A program that `reco up` keeps running: started again when it dies, after a delay that grows."""

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jobs.cli import processes
from jobs.common.errors import USAGE, UserError
from jobs.common.log import get_logger

FIRST_DELAY = 1.0  # seconds before what died is started again; doubled each time
LONGEST_DELAY = 60.0
WELL_AGAIN = 60.0  # what ran this long is forgiven its earlier deaths


class Service:
    """One program, its log, and how it is."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        environment: Callable[[], Mapping[str, str]],
        lacking: Callable[[], str | None] = lambda: None,
        *,
        vital: bool = False,
    ) -> None:
        """`lacking` says why it cannot start yet; it is asked again and again. A `vital` one must not refuse to run."""
        self.name, self._command, self.log = name, command, log
        self._environment, self._lacking, self._vital = environment, lacking, vital
        self._process: subprocess.Popen[bytes] | None = None
        self.restarts = 0
        self.why: str | None = None
        self._delay, self._since, self._next = FIRST_DELAY, 0.0, 0.0

    @property
    def pid(self) -> int | None:
        """Its process, as far as is known."""
        return self._process.pid if self._process else None

    def told(self) -> dict[str, Any]:
        """How it is, for the stack's state; `why` it does not run, where that is known."""
        return {f"{self.name}_pid": self.pid, f"{self.name}_restarts": self.restarts, f"{self.name}_why": self.why}

    def tend(self) -> bool:
        """Start it where it should run and does not; True where something has changed.

        Raises UserError where a vital one refuses its settings: it would do so again.
        """
        now = time.monotonic()
        if self._process is not None:
            code = self._process.poll()
            return code is not None and self._ended(code, now)
        if now < self._next:
            return False
        before, self.why = self.why, self._lacking()
        if self.why is not None:
            self._next = now + FIRST_DELAY
            return self.why != before
        self._process = processes.spawn(self._command, self.log, env=dict(self._environment()))
        self._since = now
        return True

    def ask_to_stop(self) -> None:
        """Tell it to end, without waiting for it."""
        if self._process and self._process.poll() is None:
            self._process.terminate()

    def stop(self, seconds: float) -> None:
        """End it; by force after so many seconds."""
        if self._process:
            processes.stop(self._process, seconds)

    def _ended(self, code: int, now: float) -> bool:
        self._process = None
        self.why = last_line(self.log) if code == USAGE else None
        if code == USAGE and self._vital:
            raise UserError(f"The {self.name} refuses its settings: {self.why} (log: {self.log})")
        if now - self._since > WELL_AGAIN:
            self._delay = FIRST_DELAY
        wait = LONGEST_DELAY if code == USAGE else self._delay
        get_logger("up").warning(
            f"the {self.name} ended and is started again", code=code, seconds=wait, log=str(self.log)
        )
        self.restarts += 1
        self._next, self._delay = now + wait, min(self._delay * 2, LONGEST_DELAY)
        return True


def last_line(log: Path) -> str:
    """The last thing a child said."""
    try:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    return lines[-1] if lines else "it said nothing"
