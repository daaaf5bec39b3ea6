"""Commands that people start from the console: each a process of its own, one at a time, ended with this one."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Thread

from jobs.common import log, replay_scratch
from jobs.common.children import bound
from jobs.common.errors import UserError
from jobs.common.settings import Settings

#: Seconds that a command has to clean up once it is told to end.
_GRACE_SECONDS = 20.0
#: Pages come first.
_NICE = 10


@dataclass(frozen=True)
class Ended:
    """What a command ended with; `failed`: its own sentence where it printed no result, or why it has none."""

    code: int | None
    out: str = ""
    failed: str = ""


class Background:
    """Runs one command of reco at a time on DuckDB, without a JVM; thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._lock = settings, Lock()
        self._running: str | None = None

    @property
    def can_run(self) -> bool:
        """Without a JVM the lake must be a folder of this machine."""
        return self._settings.is_local_lake

    def start(self, what: str, words: Sequence[str], files: Mapping[str, str], then: Callable[[Ended], None]) -> None:
        """Begin `reco` with these words, in which a file's name stands for its path; `then` is told how it ended.

        UserError where something runs already; `what` says so to the next.
        """
        if not self.can_run:
            raise UserError(
                f"The lake {self._settings.lake.root} is no folder of the console's machine, which has no JVM: say "
                f"`reco {' '.join(words)}`."
            )
        with self._lock:
            if self._running is not None:
                raise UserError(f"{self._running}, and there is one such job at a time; try again in a moment.")
            self._running = what
        # To the kernel it is the child of this thread, which waits for it.
        Thread(target=self._run, args=(words, files, then), daemon=True).start()

    def _run(self, words: Sequence[str], files: Mapping[str, str], then: Callable[[Ended], None]) -> None:
        try:
            with tempfile.TemporaryDirectory(prefix="reco-console-") as folder:
                ended = self._ended(words, files, Path(folder))
        except Exception:
            log.get_logger(__name__).error("not run", words=list(words), exc_info=True)
            ended = Ended(None, failed="It could not be started; the console's log says why.")
        finally:
            replay_scratch.sweep(self._settings.lake.root)
        with self._lock:
            self._running = None
        then(ended)

    def _ended(self, words: Sequence[str], files: Mapping[str, str], folder: Path) -> Ended:
        for name, text in {**files, "settings.json": self._told()}.items():
            (folder / name).write_text(text, encoding="utf-8")
        chosen = [str(folder / word) if word in files else word for word in words]
        more = ["--engine", "duckdb", "--json", "--settings", str(folder / "settings.json")]
        process = subprocess.Popen(
            bound([sys.executable, "-m", "jobs.cli.main", *chosen, *more]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        with suppress(OSError):  # it has ended already
            os.setpriority(os.PRIO_PROCESS, process.pid, _NICE)
        minutes = self._settings.console.job_minutes
        try:
            out, said = process.communicate(timeout=60 * minutes)
        except subprocess.TimeoutExpired:
            _end(process)
            limit = f"It took longer than {minutes:g} minutes and was ended: console.job_minutes is the limit"
            return Ended(None, failed=f"{limit}, `reco {words[0]}` on a command line has none.")
        return Ended(process.returncode, out, _sentence(process.returncode, said).replace(f"{folder}/", ""))

    def _told(self) -> str:
        """What a command needs of the settings, of which nothing is secret."""
        settings = self._settings
        told = settings.model_dump(mode="json", include={"lake", "daily"})
        folder = settings.formats.folder or settings.policies_file.parent / "formats"
        return json.dumps({**told, "formats": {"folder": str(folder.absolute())}})


def _end(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    try:
        process.communicate(timeout=_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def _sentence(code: int, said: str) -> str:
    """What the command said for people, without the lines of its log."""
    lines = [line for line in said.splitlines() if line.strip() and not line.startswith("{")]
    if lines:
        return str(log.hide_secrets("\n".join(lines)))
    return f"It was killed by signal {-code}: does the machine lack memory?" if code < 0 else f"It ended with {code}."
