"""ClickHouse's HTTP interface before chdb, the same engine embedded: as much of it as clickhouse-connect speaks.

    python -m tests.warehouse.chdb_server FOLDER

prints its port. A file `kill` in FOLDER holds the id of a process that is killed when it writes a position: the rows
are there then, the position is not. A file `refuse` makes every insert fail.
"""

import contextlib
import os
import signal
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

FOLDER = Path(sys.argv[1])
_PASSED = ("insert_deduplication_token", "async_insert")
_LOCK = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    """One statement a request: in the URL, in the body, or its first line there and data behind it."""

    protocol_version = "HTTP/1.1"
    session: Any

    def handle(self) -> None:
        with contextlib.suppress(ConnectionResetError):  # of a client that was killed
            super().handle()

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def log_message(self, *_args: Any) -> None:
        pass

    def _answer(self, body: bytes) -> None:
        given = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        statement, data = given.get("query", ""), body
        if not statement:
            head, _, rest = body.partition(b"\n")
            is_insert = b"FORMAT Parquet" in head
            statement, data = (head if is_insert else body).decode(), rest if is_insert else b""
        try:
            self._faults(statement)
            with _LOCK:
                code, answer = 200, self._run(statement, data, given)
        except Exception as error:
            code, answer = 500, str(error).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(answer)))
        if code != 200:
            self.send_header("X-ClickHouse-Exception-Code", "1")
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(answer)

    def _faults(self, statement: str) -> None:
        victim = FOLDER / "kill"
        if "export_positions" in statement and statement.lstrip().startswith("INSERT") and victim.exists():
            pid = int(victim.read_text())
            victim.unlink()
            os.kill(pid, signal.SIGKILL)
            raise ConnectionError("its writer is dead")
        if statement.lstrip().startswith("INSERT") and (FOLDER / "refuse").exists():
            raise ConnectionError("Code: 243. DB::Exception: disk full. (NOT_ENOUGH_SPACE)")

    def _run(self, statement: str, data: bytes, given: dict[str, str]) -> bytes:
        wanted = self.headers.get("X-ClickHouse-Format") or given.get("default_format") or "TabSeparated"
        text, marker, form = statement.rstrip().rstrip(";").rpartition("FORMAT ")
        if marker and form.isalnum() and not data:
            statement, wanted = text, form
        if not data:
            return bytes(self.session.query(statement, wanted).bytes())
        target = statement.removeprefix("INSERT INTO ").rpartition("FORMAT")[0]
        columns = target[target.index("(") + 1 : target.rindex(")")]
        passed = ", ".join(f"{name} = '{given[name]}'" for name in _PASSED if name in given)
        with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
            file.write(data)
            file.flush()
            self.session.query(
                f"INSERT INTO {target} SELECT {columns} FROM file('{file.name}', 'Parquet') SETTINGS {passed}"
            )
        return b""


def main() -> None:
    """Answer until stopped."""
    from chdb import session

    Handler.session = cast("Any", session).Session(str(FOLDER / "data"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
