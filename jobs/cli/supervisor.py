"""What `reco up` keeps running: the broker, and the streaming job, which is started again when it dies."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

from jobs.cli import processes
from jobs.cli.broker import Broker, free_port
from jobs.common import fx, policies
from jobs.common.errors import DONE, USAGE, UserError
from jobs.common.kafka import create_topics
from jobs.common.log import get_logger
from jobs.common.settings import Settings

FIRST_DELAY = 1.0  # seconds before a dead stream is started again; doubled each time
LONGEST_DELAY = 60.0
WELL_AGAIN = 60.0  # a stream that ran this long is forgiven its earlier deaths


class Supervisor:
    """Owner of the children; whatever ends it, they end too."""

    def __init__(self, settings: Settings, stream_command: Sequence[str] | None) -> None:
        """`stream_command` None keeps only the broker."""
        self.settings = settings
        self.home = settings.local.home
        self._command = stream_command
        self._stopping = threading.Event()
        self._stream: subprocess.Popen[bytes] | None = None
        self._restarts = 0
        self._metrics: str | None = None
        self._log = get_logger("up")

    def run(self) -> int:
        """Until SIGTERM or Ctrl-C; returns the exit code. Raises UserError where something cannot start."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        processes.write_pid(pid_file(self.home), os.getpid())
        broker = Broker(self.home, self.settings.local.broker_port, prefer=_preferred_port(self.settings))
        try:
            broker.start()
            create_topics(broker.bootstrap_servers, self.settings)
            _fill_configuration(self.settings)
            stream = self._start(broker)
            self._tell("running", broker, stream)
            return self._watch(broker, stream)
        finally:
            # The stream first: it commits what it holds, and would only complain about a broker that is gone.
            if self._stream:
                processes.stop(self._stream, 60)
            broker.stop()
            state_file(self.home).unlink(missing_ok=True)
            pid_file(self.home).unlink(missing_ok=True)

    def _start(self, broker: Broker) -> subprocess.Popen[bytes] | None:
        if self._command and not self._stopping.is_set():
            port = self.settings.metrics.port or free_port()
            self._metrics = f"http://{self.settings.metrics.host}:{port}/metrics"
            env = {
                **os.environ,
                "RECO_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers,
                "RECO_METRICS__PORT": str(port),
            }
            self._stream = processes.spawn(self._command, self.home / "stream.log", env=env)
        return self._stream

    def _watch(self, broker: Broker, stream: subprocess.Popen[bytes] | None) -> int:
        delay, since = FIRST_DELAY, time.monotonic()
        while not self._stopping.wait(0.2):
            if broker.pid is None:
                self._log.warning("the broker died and is started again", log=str(broker.log))
                broker.start()
                self._tell("running", broker, stream)
            if stream is None or stream.poll() is None:
                continue
            log = self.home / "stream.log"
            if stream.returncode == USAGE:
                raise UserError(f"The streaming job refuses its settings: {last_line(log)} (log: {log})")
            if time.monotonic() - since > WELL_AGAIN:
                delay = FIRST_DELAY
            self._log.warning(
                "the stream ended and is started again", code=stream.returncode, seconds=delay, log=str(log)
            )
            self._restarts += 1
            self._tell("restarting", broker, None)
            if self._stopping.wait(delay):
                break
            delay, since = min(delay * 2, LONGEST_DELAY), time.monotonic()
            stream = self._start(broker)
            self._tell("running", broker, stream)
        return DONE

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping.set()

    def _tell(self, state: str, broker: Broker, stream: subprocess.Popen[bytes] | None) -> None:
        told = {
            "state": state,
            "pid": os.getpid(),
            "bootstrap_servers": broker.bootstrap_servers,
            "broker_pid": broker.pid,
            "stream_pid": stream.pid if stream else None,
            "stream_restarts": self._restarts,
            "metrics": self._metrics,
            "lake": self.settings.lake.root,
            "home": str(self.home),
        }
        written = state_file(self.home).with_suffix(".new")
        written.write_text(json.dumps(told))
        written.replace(state_file(self.home))


def pid_file(home: Path) -> Path:
    """Which process keeps the stack of this folder."""
    return home / "up.pid"


def state_file(home: Path) -> Path:
    """What it says about itself."""
    return home / "up.json"


def read_state(home: Path) -> dict[str, Any] | None:
    """What the running stack says about itself; None where none runs, or not yet."""
    try:
        told: dict[str, Any] = json.loads(state_file(home).read_text())
    except (OSError, ValueError):
        return None
    return told if processes.read_pid(pid_file(home)) == told.get("pid") else None


def last_line(log: Path) -> str:
    """The last thing a child said."""
    try:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    return lines[-1] if lines else "it said nothing"


def stream_command(settings_file: Path | None) -> list[str]:
    """How the streaming job is started as a child."""
    chosen = ["--settings", str(settings_file)] if settings_file else []
    return [sys.executable, "-m", "jobs.cli.main", "stream", *chosen]


def _preferred_port(settings: Settings) -> int | None:
    """The port that clients expect, where the settings name a broker on this machine."""
    named = urlsplit(f"//{settings.kafka.bootstrap_servers.split(',')[0]}")
    return named.port if named.hostname in ("localhost", "127.0.0.1") else None


def _fill_configuration(settings: Settings) -> None:
    """On a new lake: the policies, and the rates where a file is named, so that the first event has both."""
    now = datetime.now(UTC)
    if policies.current_policies(settings)[0] == 0 and settings.policies_file.exists():
        policies.apply(settings, settings.policies_file, now)
    if settings.fx_file and fx.current_rates(settings).is_empty():
        fx.load(settings, settings.fx_file, now)
