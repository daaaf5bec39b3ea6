"""What the demo is made of: steps with their time, children with their logs, and the memory all of them take."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console

from jobs.cli import processes
from jobs.common.errors import FAILED, UserError

#: Lines of a failed child's log that are shown.
LOG_LINES = 20
#: A look at a JVM's pages takes 50 ms of a processor. It keeps what it has taken: a peak is seen a second later too.
_SAMPLE_SECONDS = 1.0
_POLL_SECONDS = 0.2
# An exception raised by a signal is lost where it falls into a finaliser or a fork; the event is not.
_interrupted = threading.Event()


class Steps:
    """Runs named steps one after another, each shown with the seconds it took."""

    def __init__(self, logs: Path, env: Mapping[str, str], console: Console) -> None:
        self.seconds: dict[str, float] = {}
        self._logs = logs
        self._env = {**os.environ, **env}
        self._console = console
        self._worker: subprocess.Popen[bytes] | None = None
        logs.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        """Starts the process that `spark` commands run in."""
        words = [sys.executable, "-m", "jobs.cli.demo_worker", str(self._logs)]
        self._worker = processes.spawn(words, self._logs / "spark.log", env=self._env, stdin=subprocess.PIPE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._worker is not None:
            _end(self._worker)

    def spark(self, name: str, *words: str) -> str:
        """Runs a reco command in the one process that has a Spark session, and returns what it printed.

        Raises UserError with the log's last lines where it fails.
        """
        with self.spark_runs(name, *words):
            pass
        return (self._logs / f"{name}.out").read_text(encoding="utf-8")

    @contextmanager
    def spark_runs(self, name: str, *words: str) -> Iterator[Callable[[], None]]:
        """The same while something else is done; its end is waited for. What is given raises where it has failed."""
        worker = self._worker
        assert worker is not None, "commands run within the context"
        assert worker.stdin is not None
        answer = self._logs / f"{name}.code"

        def check() -> None:
            if _interrupted.is_set():
                raise KeyboardInterrupt
            if not answer.exists() and worker.poll() is not None:
                raise self._failure(words, worker.returncode, self._logs / "spark.log")
            if answer.exists() and (code := int(answer.read_text())):
                raise self._failure(words, code, self._logs / "spark.log")

        with suppress(BrokenPipeError):
            worker.stdin.write(json.dumps([name, *words]).encode() + b"\n")
            worker.stdin.flush()
        yield check
        while not answer.exists():
            check()
            time.sleep(_POLL_SECONDS)
        check()

    def ask_spark_to_stop(self) -> None:
        """Has the command that runs until it is stopped end after the work in hand."""
        assert self._worker is not None
        self._worker.send_signal(signal.SIGTERM)

    @staticmethod
    def _failure(words: Sequence[str], code: int, log: Path) -> UserError:
        what = f"`{' '.join(words[:8])}` ended with {code}"
        return UserError(f"{what}; the last lines of its log {log}:\n{tail(log)}", FAILED)

    @contextmanager
    def step(self, title: str, draws: bool = False) -> Iterator[None]:
        """One step; where it fails, the error says in which step. `draws`: it shows by itself how far it is."""
        started = time.monotonic()
        try:
            if self._console.is_terminal and not draws:
                with self._console.status(f"{title} …"):
                    yield
            else:
                yield
        except UserError as error:
            raise UserError(f"The demo failed at the step “{title}”: {error}", error.exit_code) from error
        except Exception as error:
            raise UserError(
                f"The demo failed at the step “{title}”: {type(error).__name__}: {error}", FAILED
            ) from error
        took = time.monotonic() - started
        self.seconds[title] = round(took, 1)
        self._console.print(f"  {title:<44}{took:7.1f} s", highlight=False)

    def child(self, name: str, *arguments: str, meanwhile: Callable[[], None] | None = None) -> str:
        """Runs `python -m ARGUMENTS` to its end and returns what it printed; NAME.out and NAME.log keep both streams.

        `meanwhile` is called again and again. Raises UserError with the log's last lines where it fails. However this
        ends, nothing of it is left running.
        """
        out, log = self._logs / f"{name}.out", self._logs / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_bytes(b"")
        # The shell only parts what is printed from what is logged, and is gone before the program starts.
        apart = ["/bin/sh", "-c", 'exec "$@" >"$0"', str(out)]
        process = processes.spawn([*apart, sys.executable, "-m", *arguments], log, env=self._env)
        try:
            code = _wait(process, meanwhile)
        finally:
            _end(process)
        if code != 0:
            raise self._failure(arguments, code, log)
        return out.read_text(encoding="utf-8", errors="replace")

    @contextmanager
    def beside(self, name: str, *arguments: str) -> Iterator[Callable[[], str]]:
        """Runs `python -m ARGUMENTS` while something else is done, and tells it to end afterwards.

        What is given says what it has printed so far; it raises UserError, with the log's last lines, where it has
        ended by itself.
        """
        out, log = self._logs / f"{name}.out", self._logs / f"{name}.log"
        log.write_bytes(b"")
        out.write_bytes(b"")
        apart = ["/bin/sh", "-c", 'exec "$@" >"$0"', str(out)]
        process = processes.spawn([*apart, sys.executable, "-m", *arguments], log, env=self._env)

        def said() -> str:
            if _interrupted.is_set():
                raise KeyboardInterrupt
            if process.poll() is not None:
                raise self._failure(arguments, process.returncode, log)
            return out.read_text(encoding="utf-8")

        try:
            yield said
        finally:
            _end(process)

    def reco(self, *arguments: str, meanwhile: Callable[[], None] | None = None) -> str:
        """Runs a reco command to its end."""
        return self.child(arguments[0], "jobs.cli.main", *arguments, meanwhile=meanwhile)


def tail(log: Path) -> str:
    """The last lines of a log, indented."""
    with log.open(encoding="utf-8", errors="replace") as file:
        return "\n".join(f"    {line.rstrip()[:400]}" for line in deque(file, LOG_LINES))


def _wait(process: subprocess.Popen[bytes], meanwhile: Callable[[], None] | None) -> int:
    """The child's exit code; KeyboardInterrupt where a signal says so meanwhile."""
    while True:
        if _interrupted.is_set():
            raise KeyboardInterrupt
        if meanwhile:
            meanwhile()
        with suppress(subprocess.TimeoutExpired):
            return process.wait(_POLL_SECONDS)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stops the child, then whatever of its session is left: a JVM that its driver left behind."""
    processes.stop(process)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


class Memory:
    """Samples the resident memory of this process and all its descendants; `peak` in bytes, None where unknown."""

    def __init__(self) -> None:
        self.peak: int | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(_SAMPLE_SECONDS):
            now = resident_bytes(os.getpid())
            if now is not None:
                self.peak = max(self.peak or 0, now)


def resident_bytes(root: int) -> int | None:
    """Resident memory of a process and its descendants, summed; None where there is no /proc.

    Pages that several share are counted once where the kernel tells (Linux, proc_pid_smaps(5), `Pss`): what a JVM
    forks for a moment has all of its pages.
    """
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError, ValueError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    if root not in parents:
        return None
    family = {root}
    # Parents before children in most cases, and repeated until nobody new is found in the others.
    while new := {pid for pid, parent in parents.items() if parent in family and pid not in family}:
        family |= new
    return sum(_share(pid) for pid in family)


def _share(pid: int) -> int:
    with suppress(OSError):  # it may have ended
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            return next(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:"))
        except (PermissionError, FileNotFoundError, StopIteration):
            stat = Path(f"/proc/{pid}/statm").read_text().split()
            return int(stat[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP end the demo in order, with nothing left running; those that are ignored stay so."""
    _interrupted.clear()

    def interrupt(_number: int, _frame: object) -> None:
        _interrupted.set()
        raise KeyboardInterrupt

    known = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    before = {number: signal.signal(number, interrupt) for number in known if known[number] != signal.SIG_IGN}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
