"""Child processes that never outlive their parent, and process ids that can be trusted after a reboot."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from jobs.common.children import KERNEL_BINDS, bound


def spawn(
    command: Sequence[str],
    log: Path,
    *,
    env: dict[str, str] | None = None,
    detached: bool = False,
    stdin: int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Start a command with its output appended to `log`; `stdin` as subprocess takes it.

    It gets SIGTERM when this process dies, however that happens (also by kill -9), unless `detached`, which gives it a
    session of its own. It is kept out of the terminal's Ctrl-C either way: its owner stops it in order.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    whole = list(command) if detached else bound(command)
    with log.open("ab") as out:
        process = subprocess.Popen(
            whole, stdin=stdin, stdout=out, stderr=subprocess.STDOUT, env=env, start_new_session=True
        )
    if not detached and not KERNEL_BINDS:
        _watch(os.getpid(), process.pid)
    return process


def stop(process: subprocess.Popen[bytes], seconds: float = 20.0) -> int:
    """SIGTERM, then SIGKILL after so many seconds; returns the exit code."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()


def is_alive(pid: int) -> bool:
    """True where the process runs; one that has ended and was not yet waited for does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    status = Path(f"/proc/{pid}/stat")
    try:
        return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def write_pid(file: Path, pid: int) -> None:
    """Remember a process, with the time it started: numbers are given again."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{pid} {_started(pid)}")


def read_pid(file: Path) -> int | None:
    """The remembered process where it still runs, else None."""
    try:
        pid, started = file.read_text().split(maxsplit=1)
    except (OSError, ValueError):
        return None
    return int(pid) if is_alive(int(pid)) and _started(int(pid)) == started else None


def wait_until(done: Callable[[], bool], seconds: float, every: float = 0.1) -> bool:
    """True as soon as `done()`, False when the time is over."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(every)
    return True


def terminate(pid: int, seconds: float = 30.0) -> bool:
    """End a process that is not our child: SIGTERM, then SIGKILL. True where it went by itself."""
    try:
        os.kill(pid, signal.SIGTERM)
        if wait_until(lambda: not is_alive(pid), seconds):
            return True
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return True
    wait_until(lambda: not is_alive(pid), 5)
    return False


def _started(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        told = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return told.stdout.strip()


def _watch(parent: int, child: int) -> None:
    """Where the kernel cannot do it: a small process that waits for the parent's end."""
    loop = f"while kill -0 {parent} && kill -0 {child}; do sleep 1; done; kill {child}"
    subprocess.Popen(["/bin/sh", "-c", loop], start_new_session=True, stderr=subprocess.DEVNULL)
