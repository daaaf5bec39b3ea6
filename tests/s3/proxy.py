"""A proxy on loopback before an object store: it notes each request, and spoils some of them on purpose.

`python -m tests.s3.proxy STORE_PORT BUCKET` prints its own port. A process of its own, for a library that waits for an
answer may let no other thread of Python run.
"""

import json
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any
from urllib.parse import unquote, urlsplit

_SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your rate</Message></Error>"
_HOP = {"connection", "keep-alive", "transfer-encoding", "host", "expect", "content-length"}
_CONTROL = "/-/"
SLOW_SECONDS = 0.3


@dataclass(frozen=True)
class Call:
    """One request: method, key within the bucket ("" for the bucket itself), query, copy source, keys of a body."""

    method: str
    key: str
    query: str
    copies: str = ""
    deletes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Faults:
    """The proxy as a test sees it."""

    url: str

    def spoil(self, percent: int) -> None:
        """From now on so many of a hundred requests: a 503, an answer that is late, a connection that is reset."""
        self._ask(f"spoil/{percent}")

    def done(self) -> dict[str, int]:
        """How many requests were spoiled in which way."""
        return dict(self._ask("done"))

    def calls(self) -> list[Call]:
        """What was asked since the last time."""
        return [Call(**{**one, "deletes": tuple(one["deletes"])}) for one in self._ask("calls")]

    def _ask(self, what: str) -> Any:
        asked = HTTPConnection(self.url.removeprefix("http://"), timeout=60)
        asked.request("GET", _CONTROL + what)
        return json.loads(asked.getresponse().read())


@contextmanager
def proxied(port: int, bucket: str) -> Iterator[Faults]:
    """A proxy before the store on that port."""
    command = [sys.executable, "-m", "tests.s3.proxy", str(port), bucket]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Faults(f"http://127.0.0.1:{int(process.stdout.readline())}")
    finally:
        process.terminate()
        process.wait(20)


class _Proxy(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, store: int, bucket: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.store, self.bucket, self.percent = store, bucket, 0
        self.chance, self.lock = random.Random(1), Lock()
        self.spoiled: dict[str, int] = {}
        self.calls: list[Call] = []

    def fault(self) -> tuple[str | None, bool]:
        """What becomes of the next request, and whether the store sees it."""
        with self.lock:
            if self.chance.randrange(100) >= self.percent:
                return None, True
            kind, late = self.chance.choice(("503", "slow", "reset")), self.chance.random() < 0.5
            self.spoiled[kind] = self.spoiled.get(kind, 0) + 1
            return kind, kind == "slow" or (kind == "reset" and late)

    def control(self, what: str) -> object:
        """Answer a question of the test."""
        with self.lock:
            if what.startswith("spoil/"):
                self.percent = int(what.removeprefix("spoil/"))
            if what == "calls":
                told, self.calls = self.calls, []
                return [asdict(call) for call in told]
            return self.spoiled


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Proxy

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith(_CONTROL):
            told = json.dumps(self.server.control(self.path.removeprefix(_CONTROL))).encode()
            self._tell(200, [], told)
            return
        headers = dict(self.headers.items())
        with self.server.lock:
            self.server.calls.append(_call(self.command, self.path, headers, body, self.server.bucket))
        kind, reaches = self.server.fault()
        if kind == "slow":
            time.sleep(SLOW_SECONDS)
        answer = _ask(self.server.store, self.command, self.path, headers, body) if reaches else None
        if kind == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
        elif answer is None:
            self._tell(503, [("Content-Type", "application/xml")], _SLOW_DOWN)
        else:
            self._tell(*answer)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _any  # noqa: N815

    def _tell(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        length = next((value for name, value in headers if name.lower() == "content-length"), "0")
        for name, value in headers:
            if name.lower() not in _HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", length if self.command == "HEAD" else str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _ask(
    port: int, method: str, path: str, headers: Mapping[str, str], body: bytes
) -> tuple[int, list[tuple[str, str]], bytes]:
    upstream = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        sent = {name: value for name, value in headers.items() if name.lower() not in _HOP}
        upstream.request(method, path, body or None, {**sent, "Content-Length": str(len(body))})
        answer = upstream.getresponse()
        return answer.status, answer.getheaders(), answer.read()
    finally:
        upstream.close()


def _call(method: str, path: str, headers: Mapping[str, str], body: bytes, bucket: str) -> Call:
    parts = urlsplit(path)
    key = unquote(parts.path).removeprefix(f"/{bucket}").lstrip("/")
    copies = unquote(next((v for n, v in headers.items() if n.lower() == "x-amz-copy-source"), ""))
    deletes: tuple[str, ...] = ()
    if method == "POST" and parts.query.startswith("delete"):
        deletes = tuple(part.split(b"</Key>")[0].decode() for part in body.split(b"<Key>")[1:])
    return Call(method, key, parts.query, copies.lstrip("/").removeprefix(f"{bucket}/"), deletes)


def main(store: str, bucket: str) -> None:
    """Serve until the process ends."""
    server = _Proxy(int(store), bucket)
    print(server.server_address[1], flush=True)
    with suppress(KeyboardInterrupt):
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
