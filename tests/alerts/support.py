"""What tests of the alerting service share: breaks to tell, the core without Kafka, servers that behave like sinks."""

import itertools
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml
from confluent_kafka import Producer
from confluent_kafka.cimpl import NewTopic

from jobs.alerts.incidents import refresh
from jobs.alerts.intake import Change, let_orphans_go, take
from jobs.alerts.model import digest
from jobs.alerts.plan import Delivery, delivered, plan, trying
from jobs.alerts.routes import Routes, read_routes
from jobs.alerts.state import State
from jobs.alerts.wording import Message, worded
from jobs.common.kafka import admin

START = 1_772_000_000.0
_numbers = itertools.count()


def routes_of(folder: Path, **parts: Any) -> Routes:
    """Routes of a file in the folder: one webhook `hook` that takes everything, unless said otherwise."""
    hook = {"kind": "webhook", "url": "http://127.0.0.1:1/", "secret": "env:HOOK_SECRET"}
    data = {"version": 1, "sinks": {"hook": hook}, "routes": [{"name": "all", "sinks": ["hook"]}], **parts}
    file = folder / "alerts.yaml"
    file.write_text(yaml.safe_dump(json.loads(json.dumps(data)), sort_keys=False))  # no aliases
    return read_routes(file)


def change(
    activity: str | None,
    kind: str = "TIMESTAMP_SKEW",
    supplier: str = "SUP-007",
    *,
    state: str = "OPEN",
    severity: str = "MEDIUM",
    amount: str | None = "10",
    explanation: str = "",
    held_by: str | None = None,
    by: str | None = None,
    is_final: bool = False,
) -> Change:
    """An exception as it is told."""
    return Change(
        id=digest(supplier, activity, kind),
        supplier=supplier,
        activity=activity,
        kind=kind,
        state=state,
        severity=severity,
        amount=None if amount is None else Decimal(amount),
        by=by or f"result-{next(_numbers)}",
        held_by=held_by,
        explanation=explanation,
        is_final=is_final,
    )


def message_of(one: Change) -> bytes:
    """The same as the stream's message."""
    return json.dumps(
        {
            "resultId": one.by,
            "kind": "EXCEPTION",
            "supplierId": one.supplier,
            "activityId": one.activity,
            "exceptionId": one.id,
            "anomalyType": one.kind,
            "state": one.state,
            "heldBy": one.held_by,
            "severity": one.severity,
            "amountAtRiskUsd": None if one.amount is None else float(one.amount),
            "explanation": one.explanation,
        }
    ).encode()


def make_topic(servers: str, name: str, partitions: int) -> None:
    """A topic, there when this returns."""
    client = admin({"bootstrap.servers": servers})
    client.create_topics([NewTopic(name, partitions, 1)])[name].result()


def send(servers: str, topic: str, changes: Sequence[Change | bytes]) -> None:
    """Put messages on the topic, keyed as the stream keys them."""
    producer = Producer({"bootstrap.servers": servers, "queue.buffering.max.messages": 500_000, "linger.ms": 5})
    for one in changes:
        if isinstance(one, bytes):
            producer.produce(topic, one)
        else:
            producer.produce(topic, message_of(one), (one.activity or one.supplier).encode())
        producer.poll(0)
    assert producer.flush(60) == 0


@dataclass
class Core:
    """The core with a clock that is set by hand, and sinks that take everything unless they are `down`."""

    routes: Routes
    now: float = START
    state: State = field(default_factory=State)
    down: set[str] = field(default_factory=set)
    sent: list[tuple[Delivery, Message]] = field(default_factory=list)

    def tell(self, *changes: Change) -> None:
        for one in changes:
            take(self.state, one, self.now, self.routes.group.release)

    def run(self, seconds: float = 0.0, step: float = 5.0) -> list[Message]:
        """Let so much time pass; returns what was sent meanwhile."""
        before, end = len(self.sent), self.now + seconds
        while True:
            self._step()
            if self.now >= end:
                return [message for _, message in self.sent[before:]]
            self.now = min(self.now + step, end)

    def due(self) -> list[Delivery]:
        let_orphans_go(self.state, self.now, self.routes.group.release)
        refresh(self.state, self.routes, self.now)
        return plan(self.state, self.routes, lambda sink, _item: sink in self.down, self.now)

    def reload(self) -> None:
        """The state as another instance would load it: everything, through its records."""
        known = self.state
        known.dirty |= {("break", name) for name in known.breaks} | {("incident", name) for name in known.incidents}
        fresh = State()
        for key, value in known.records():
            fresh.load(key, value)
        fresh.loaded()
        self.state = fresh

    def _step(self) -> None:
        for delivery in self.due():
            trying(self.state, delivery)
            if delivery.sink not in self.down:
                self.sent.append((delivery, worded(delivery, self.routes.link)))
                delivered(self.state, delivery, {"ts": str(len(self.sent))}, self.now)


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class FakeHttp:
    """A real HTTP server that answers as `answer` says and keeps what it was asked."""

    def __init__(self, answer: Callable[[Request], tuple[int, dict[str, str], bytes]] | None = None) -> None:
        self.requests: list[Request] = []
        self.answer = answer or (lambda _request: (200, {}, b"{}"))
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                request = Request(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                status, headers, content = outer.answer(request)
                outer.requests.append(request)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Until the condition holds. Raises AssertionError past the deadline."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"no {what} within {seconds} s"
        time.sleep(0.02)
