"""`kill -9` of the poller at random moments, while suppliers commit rows: each row they committed is in the topic."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.ingest.polling.support import Rig
from tests.streaming.feed import wait_for

SEED = int(os.environ.get("RECO_KILLS_SEED", "5"))
SIZE = 40
#: Seconds by which a row is committed after it got its place and time; the overlap is longer.
LATEST = 1.5
OVERLAP = "3s"
PAGING: dict[str, dict[str, Any]] = {
    "FEED": {"kind": "cursor", "param": "after", "next": "next"},
    # In the order of commits, and without an overlap that would make up for a cursor that moves too soon.
    "LOG": {"kind": "cursor", "param": "after", "next": "next"},
    "TIME": {
        "kind": "updated_since",
        "param": "since",
        "updated": "at",
        "time": "epoch_millis",
        "order": "ascending",
        "size_param": "n",
        "size": SIZE,
    },
    "TOKEN": {
        "kind": "updated_since",
        "param": "since",
        "updated": "at",
        "time": "epoch_millis",
        "token_param": "token",
        "next": "next",
    },
    "LIST": {"kind": "page", "page_param": "page"},
}


class Suppliers:
    """A table of rows for all ways of paging, to which rows are added all the time, some of them committed late."""

    def __init__(self, rng: Random, rows: int) -> None:
        self._rng, self._lock, self._end = rng, threading.Lock(), threading.Event()
        self._visible: list[dict[str, Any]] = []
        self._waiting: list[tuple[float, dict[str, Any]]] = []
        self._number = self._committed = 0
        self.requests = 0
        for number in range(rows):
            # Not all of one millisecond: they would be more than one answer holds by time alone.
            self._waiting.append((0.0, self._row(time.time() - 60 + number / 50)))
        self._show(time.time())

    def _row(self, at: float) -> dict[str, Any]:
        self._number += 1
        return {"activityId": f"BK-{self._number}", "n": self._number, "at": int(at * 1000)}

    @contextmanager
    def committing(self) -> Iterator[None]:
        """Rows are added while in the context; at its end all are committed."""
        thread = threading.Thread(target=self._commit)
        thread.start()
        try:
            yield
        finally:
            self._end.set()
            thread.join()

    def _commit(self) -> None:
        while not self._end.wait(0.01):
            with self._lock:
                row = self._row(time.time())
                late = self._rng.random() * LATEST if self._rng.random() < 0.5 else 0.0
                self._waiting.append((time.time() + late, row))
                self._show(time.time())
        with self._lock:
            self._show(time.time() + LATEST)

    def _show(self, now: float) -> None:
        due = [row for at, row in self._waiting if at <= now]
        self._waiting = [(at, row) for at, row in self._waiting if at > now]
        for row in due:
            self._committed += 1
            row["commit"] = self._committed
        self._visible = sorted([*self._visible, *due], key=lambda row: row["n"])

    def numbers(self) -> set[int]:
        with self._lock:
            return {row["n"] for row in self._visible}

    def answer(self, name: str, asked: dict[str, str]) -> dict[str, Any]:
        with self._lock:
            self.requests += 1
            rows = list(self._visible)
        if name in ("FEED", "LOG"):
            place = "n" if name == "FEED" else "commit"
            after = int(asked.get("after", 0))
            found = sorted((row for row in rows if row[place] > after), key=lambda row: row[place])[:SIZE]
            return {"items": found, "next": found[-1][place] if found else after}
        if name == "LIST":
            start = SIZE * 4 * (int(asked["page"]) - 1)
            return {"items": rows[start : start + SIZE * 4]}
        rows = sorted((row for row in rows if row["at"] >= int(asked.get("since", 0))), key=lambda row: row["at"])
        last = int(asked.get("token", 0))
        found = rows[:SIZE] if name == "TIME" else sorted(rows, key=lambda row: row["n"])
        if name == "TOKEN":
            found = [row for row in found if row["n"] > last][:SIZE]
        return {"items": found, "next": found[-1]["n"] if len(found) == SIZE else None}


@contextmanager
def serving(suppliers: Suppliers) -> Iterator[str]:
    """Its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
            body = json.dumps(suppliers.answer(parts.path.strip("/"), asked)).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """Whoever asked was killed before it was answered."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.long)])
def test_killed_anywhere_no_row_is_passed_over(rig: Rig, tmp_path: Path, kills: int) -> None:
    rng = Random(SEED)
    suppliers = Suppliers(rng, 1_000)
    with serving(suppliers) as address:
        for name, paging in PAGING.items():
            overlap = "0s" if name == "LOG" else OVERLAP
            rig.file(f"{address}/{name}", name, paging=paging, every="1s", overlap=overlap, rate_limit=200)
        settings = rig.settings_file()
        log = tmp_path / "poll.log"
        with suppliers.committing():
            for _ in range(kills):
                before, asked = suppliers.requests, rng.randrange(1, 350)
                child = _poll(settings, log)
                wait_for(lambda b=before, a=asked: suppliers.requests >= b + a, 120, "request")  # type: ignore[misc]
                # Somewhere between the answer, its publication and the note of it.
                threading.Event().wait(rng.random() * 0.05)
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        last = _poll(settings, log, "--once")
        assert last.wait(120) == 0, log.read_text()[-3_000:]
    records = rig.published()
    for name in PAGING:
        mine = [record for record in records if record.supplier == name]
        assert {json.loads(record.value)["n"] for record in mine} == suppliers.numbers(), name
        # What came again is the same event.
        assert len({record.id for record in mine}) == len({record.value for record in mine}) == len(suppliers.numbers())
        assert all(record.key == json.loads(record.value)["activityId"].encode() for record in mine)


def _poll(settings: Path, log: Path, *options: str) -> "subprocess.Popen[bytes]":
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "jobs.cli.main", "poll", "--settings", str(settings), *options],
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
