"""What `reco up` keeps running: the broker, the streaming job, the console and, where they are wanted, the alerts."""

import json
import os
import signal
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

from jobs.cli import processes, services
from jobs.cli.broker import Broker, free_port
from jobs.cli.service import Service
from jobs.common import fx, policies
from jobs.common.errors import DONE
from jobs.common.kafka import create_topics
from jobs.common.log import get_logger
from jobs.common.settings import Settings


class Supervisor:
    """Owner of the children; whatever ends it, they end too."""

    def __init__(self, settings: Settings, commands: Mapping[str, Sequence[str]]) -> None:
        """`commands`: what is kept running besides the broker, by name: `stream`, `console`, `alerts`."""
        self.settings = settings
        self.home = settings.local.home
        self._commands = commands
        self._stopping = threading.Event()
        self._metrics: str | None = None
        self._log = get_logger("up")

    def run(self) -> int:
        """Until SIGTERM or Ctrl-C; returns the exit code. Raises UserError where something cannot start."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        processes.write_pid(pid_file(self.home), os.getpid())
        broker = Broker(self.home, self.settings.local.broker_port, prefer=_preferred_port(self.settings))
        children: list[Service] = []
        try:
            broker.start()
            create_topics(broker.bootstrap_servers, self.settings)
            _fill_configuration(self.settings)
            children += [self._service(name, command, broker) for name, command in self._commands.items()]
            return self._watch(broker, children)
        finally:
            # The broker last: the stream commits what it holds, and would only complain about a broker that is gone.
            for child in children:
                child.ask_to_stop()
            for child in children:
                child.stop(60)
            broker.stop()
            state_file(self.home).unlink(missing_ok=True)
            pid_file(self.home).unlink(missing_ok=True)

    def _service(self, name: str, command: Sequence[str], broker: Broker) -> Service:
        def environment() -> dict[str, str]:
            more = {"RECO_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers}
            if name == "stream":
                port = self.settings.metrics.port or free_port()
                self._metrics = f"http://{self.settings.metrics.host}:{port}/metrics"
                more["RECO_METRICS__PORT"] = str(port)
            return services.child_environment(more)

        log, lacking = self.home / f"{name}.log", partial(services.lacking, name, self.settings)
        return Service(name, command, log, environment, lacking, vital=name == "stream")

    def _watch(self, broker: Broker, children: list[Service]) -> int:
        is_new = True
        while not self._stopping.is_set():
            if broker.pid is None:
                self._log.warning("the broker died and is started again", log=str(broker.log))
                broker.start()
                is_new = True
            changed = [child.tend() for child in children]
            if is_new or any(changed):
                self._tell(broker, children)
            is_new = False
            self._stopping.wait(0.2)
        return DONE

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping.set()

    def _tell(self, broker: Broker, children: list[Service]) -> None:
        console = self.settings.console
        stream = next((child for child in children if child.name == "stream"), None)
        told = {
            "state": "restarting" if stream and stream.pid is None else "running",
            "pid": os.getpid(),
            "bootstrap_servers": broker.bootstrap_servers,
            "broker_pid": broker.pid,
            "stream_pid": None,
            "stream_restarts": 0,
            **{name: value for child in children for name, value in child.told().items()},
            "metrics": self._metrics,
            "console": services.console_url(console.host, console.port) if "console" in self._commands else None,
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
