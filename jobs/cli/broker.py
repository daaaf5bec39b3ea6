"""A real Kafka broker on this machine: one KRaft node from jars, a child process, its state in a folder."""

import json
import os
import socket
import subprocess
import time
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path
from random import sample
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaException

from jobs.cli import processes
from jobs.common.errors import FAILED, UserError
from jobs.common.jars import broker_jars
from jobs.common.kafka import ADDRESS_FILE, admin
from jobs.common.settings import Settings

HOST = "127.0.0.1"
_FOREVER = 2**63 - 1
TEN_YEARS_MS = 10 * 365 * 86_400_000
_TRIES = 3
#: Below those that the kernel hands to outgoing connections, one of which could take it before the broker does.
_PORTS = range(20_000, 32_000)
_LOG4J = """\
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{yyyy-MM-dd'T'HH:mm:ss,SSS}{UTC}Z %p %c{1} %m%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
"""


class Broker:
    """The broker of one folder. What it holds stays there from one start to the next, its port too where still free."""

    def __init__(
        self, home: Path, port: int | None = None, *, prefer: int | None = None, detached: bool = False
    ) -> None:
        """`port` must be free, or starting fails; `prefer` is taken where it is. Unless `detached` it dies with us."""
        self.home = Path(home).absolute()
        self.folder = self.home / "broker"
        self.log = self.folder / "broker.log"
        self._wanted = port
        self._prefer = prefer
        self._detached = detached
        self._port: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap_servers(self) -> str:
        """`host:port` of a started broker."""
        if self._port is None:
            raise UserError(f"The broker of {self.home} has not been started.", FAILED)
        return f"{HOST}:{self._port}"

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self, seconds: float = 60.0) -> Self:
        """Start and wait until it answers. Raises UserError: port taken, folder in use, no jars, no start in time."""
        running = processes.read_pid(self.folder / "broker.pid")
        if running:
            raise UserError(f"A broker already runs in {self.home} (process {running}): stop it with `reco down`.")
        classpath = os.pathsep.join(map(str, broker_jars()))
        java = ["-cp", classpath, f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}"]
        self._make_folder()
        for tries_left in reversed(range(_TRIES)):
            try:
                self._launch(java, seconds)
                break
            except UserError:
                # A port that was free a moment ago may be another's by the time the broker asks for it.
                if self._wanted is not None or not tries_left or "Address already in use" not in self._logged():
                    raise
        (self.home / ADDRESS_FILE).write_text(self.bootstrap_servers)
        return self

    def _launch(self, java: list[str], seconds: float) -> None:
        self._port, controller = self._choose_ports()
        self._configure(self._port, controller)
        if not (self.folder / "data" / "meta.properties").exists():
            self._format(java)
        heap = ["-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-Duser.timezone=UTC"]
        command = [_java(), *heap, *java, "kafka.Kafka", str(self.folder / "server.properties")]
        self.log.write_bytes(b"")
        self._process = processes.spawn(command, self.log, detached=self._detached)
        processes.write_pid(self.folder / "broker.pid", self._process.pid)
        try:
            self.wait_ready(seconds)
        except BaseException:
            self.kill()
            raise

    def wait_ready(self, deadline: float) -> None:
        """Return once it answers a metadata request; UserError where it ended, or after `deadline` seconds."""
        end = time.monotonic() + deadline
        client = None
        while True:
            if self.pid is None:
                raise UserError(f"The broker did not start: {self._complaint()} (log: {self.log}).", FAILED)
            if _is_open(self._port):
                try:
                    client = client or admin(
                        {"bootstrap.servers": self.bootstrap_servers, "reconnect.backoff.ms": "50"}
                    )
                    if client.list_topics(timeout=1).brokers:
                        return
                except KafkaException:
                    pass
            if time.monotonic() > end:
                raise UserError(f"The broker does not answer after {deadline:.0f} s, see its log {self.log}.", FAILED)
            time.sleep(0.1)

    def stop(self) -> None:
        """A clean stop; nothing to do where it does not run."""
        if self._process:
            processes.stop(self._process)
        self._forget()

    def kill(self) -> None:
        """End it with kill -9, as a power cut would; what was acknowledged is there after the next start."""
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._forget()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _forget(self) -> None:
        self._process = None
        (self.folder / "broker.pid").unlink(missing_ok=True)
        (self.home / ADDRESS_FILE).unlink(missing_ok=True)

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "log4j2.properties").write_text(_LOG4J)
        except OSError as error:
            raise UserError(
                f"Cannot write to {self.folder} ({error.strerror}): set local.home to another folder."
            ) from None

    def _choose_ports(self) -> tuple[int, int]:
        file = self.folder / "ports.json"
        before = json.loads(file.read_text()) if file.exists() else {}
        if self._wanted is not None:
            if not _is_free(self._wanted):
                raise UserError(
                    f"Port {self._wanted} on {HOST} is taken: stop what listens there, or set local.broker_port to "
                    "another port, or leave it out and a free one is chosen."
                )
            port = self._wanted
        else:
            port = next((p for p in (self._prefer, before.get("broker")) if p and _is_free(p)), None) or free_port()
        controller = before.get("controller")
        if not controller or controller == port or not _is_free(controller):
            controller = free_port(not_this=port)
        file.write_text(json.dumps({"broker": port, "controller": controller}))
        return port, controller

    def _configure(self, port: int, controller: int) -> None:
        text = "".join(f"{key}={value}\n" for key, value in self._options(port, controller).items())
        (self.folder / "server.properties").write_text(text)

    def _options(self, port: int, controller: int) -> dict[str, object]:
        return {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{HOST}:{controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller}",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
            "log.dirs": self.folder / "data",
            "auto.create.topics.enable": "false",
            # Larger than the 1 MiB of the contract: what is too large must reach quarantine.
            "message.max.bytes": 8 * 2**20,
            "replica.fetch.max.bytes": 8 * 2**20,
            # Replays carry the times of long ago; nothing is thrown away, and no segment rolls for an old time.
            "log.message.timestamp.type": "CreateTime",
            "log.message.timestamp.before.max.ms": _FOREVER,
            # But no time in nanoseconds, which Spark's Kafka source cannot read.
            "log.message.timestamp.after.max.ms": TEN_YEARS_MS,
            "log.retention.ms": -1,
            "log.retention.bytes": -1,
            "log.roll.ms": _FOREVER,
            # One node, one machine.
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 1,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "share.coordinator.state.topic.num.partitions": 1,
            "group.initial.rebalance.delay.ms": 0,
            "controlled.shutdown.enable": "false",
            # A node that comes back is let in once its earlier session has run out, nine seconds by default.
            "broker.session.timeout.ms": 3_000,
            "broker.heartbeat.interval.ms": 500,
            "log.cleaner.threads": 1,
            "log.cleaner.dedupe.buffer.size": 8 * 2**20,
            "num.network.threads": 2,
            "num.io.threads": 2,
        }

    def _format(self, java: list[str]) -> None:
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        properties = str(self.folder / "server.properties")
        command = [_java(), "-Xmx128m", "-XX:TieredStopAtLevel=1", *java, "kafka.tools.StorageTool", "format"]
        told = subprocess.run(
            [*command, f"--cluster-id={cluster}", "-c", properties], capture_output=True, text=True, check=False
        )
        if told.returncode:
            last = (told.stderr.strip() or told.stdout.strip()).splitlines()[-1:]
            raise UserError(f"The broker's folder {self.folder} could not be prepared: {' '.join(last)}.", FAILED)

    def _logged(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def _complaint(self) -> str:
        lines = self._logged().splitlines()
        wrong = [
            line for line in lines if " ERROR " in line or " FATAL " in line or "rror:" in line or "xception" in line
        ]
        return (wrong or lines or ["it said nothing"])[0][:300]


def refuse_security(settings: Settings) -> None:
    """UserError where the settings mean another broker than one of ours, which knows neither TLS nor users."""
    if settings.kafka.security.protocol != "PLAINTEXT":
        raise UserError(
            "This starts a broker of its own, which knows no TLS and no users: take settings without kafka.security, "
            "or start the programs one by one against your broker (`reco stream`, …)."
        )


def _java() -> str:
    home = os.environ.get("JAVA_HOME")
    return str(Path(home, "bin", "java")) if home else "java"


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _is_open(port: int | None) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((HOST, port or 0)) == 0


def free_port(not_this: int = 0) -> int:
    """A port of this machine that nobody listens on now."""
    return next(port for port in sample(_PORTS, len(_PORTS)) if port != not_this and _is_free(port))
