"""A ClickHouse server as the export sees it: rows in, with a token against repeats, and how far each table is."""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import urlsplit

import clickhouse_connect
import polars as pl
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from jobs.common.command import one_line
from jobs.common.errors import FAILED, UserError
from jobs.common.secrets import secret
from jobs.common.service_sections import Warehouse
from jobs.warehouse import ddl

# It says in a line of its own what its errors say, and ours say it in a sentence.
logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())

_GENERATION = 1 << 32
#: What Date32 and DateTime64 hold; what lies before or after is written as the nearest they have.
_FIRST, _LAST = date(1900, 1, 1), date(2299, 12, 30)
_FIRST_TIME, _LAST_TIME = datetime(1900, 1, 1, tzinfo=UTC), datetime(2299, 12, 30, tzinfo=UTC)


@dataclass(frozen=True)
class Position:
    """Up to where a table was exported."""

    table_id: str
    generation: int
    delta_version: int
    fingerprint: str

    @property
    def row_version(self) -> int:
        """What rows of this position carry as `_version`."""
        return self.generation * _GENERATION + self.delta_version


class ClickHouse:
    """One database of a server."""

    def __init__(self, section: Warehouse) -> None:
        self._database, self._url = section.database, section.url
        self._client = _connected(section)

    def close(self) -> None:
        """Let the connection go."""
        self._client.close()

    def init(self) -> None:
        """Make the database and its tables where they are not there."""
        with self._told():
            self._client.command(f"CREATE DATABASE IF NOT EXISTS `{self._database}`")
            for statement in ddl.statements():
                self._client.command(_within(statement, self._database))

    def position(self, name: str) -> Position | None:
        """How far a table was exported; None where it never was. UserError where the tables are not made yet."""
        columns = "table_id, generation, delta_version, fingerprint"
        with self._told():
            rows = self._client.query(
                f"SELECT {columns} FROM {self._of(ddl.POSITIONS)} FINAL WHERE table_name = '{name}'"  # noqa: S608
            ).result_rows
        return Position(*rows[0]) if rows else None

    def insert(self, name: str, rows: pl.DataFrame, token: str) -> None:
        """Rows with `_version` and `_deleted`; the same rows under the same token are taken once."""
        packed = io.BytesIO()
        _fitting(rows).write_parquet(packed, compression="zstd")
        settings = {"insert_deduplication_token": token, "async_insert": 0}
        with self._told():
            self._client.raw_insert(
                self._of(name), rows.columns, packed.getvalue(), settings=settings, fmt="Parquet", compression=None
            )

    def remove_older(self, name: str, row_version: int) -> int:
        """Mark as deleted what is older than a full load of that version, and so is not in it; returns how many."""
        where = f"FROM {self._of(name)} FINAL WHERE _version < {row_version}"
        with self._told():
            found = int(self._client.query(f"SELECT count() {where}").result_rows[0][0])
            if found:
                columns = [f"`{column}`" for column in ddl.columns(name)[:-2]]
                self._client.command(
                    f"INSERT INTO {self._of(name)} ({', '.join(columns)}, _version, _deleted) "
                    f"SELECT {', '.join(columns)}, {row_version}, 1 {where}"
                )
        return found

    def move_to(self, name: str, position: Position) -> None:
        """Note that everything up to there is here."""
        values = f"'{name}', {position.generation}, {position.delta_version}, '{position.table_id}'"
        with self._told():
            self._client.command(
                f"INSERT INTO {self._of(ddl.POSITIONS)} "  # noqa: S608
                f"(table_name, generation, delta_version, table_id, fingerprint, _version) "
                f"VALUES ({values}, '{position.fingerprint}', {position.row_version})"
            )

    def _of(self, name: str) -> str:
        return f"`{self._database}`.`{name}`"

    @contextmanager
    def _told(self) -> Iterator[None]:
        with told(self._url, self._database):
            yield


@contextmanager
def told(url: str, database: str) -> Iterator[None]:
    """Turns what the server or the network says into one sentence."""
    try:
        yield
    except ClickHouseError as error:
        text = str(error)
        if "UNKNOWN_TABLE" in text or "UNKNOWN_DATABASE" in text:
            raise UserError(
                f"ClickHouse at {url} has not all tables in the database {database}: make them with "
                "`reco export clickhouse --init`."
            ) from error
        raise UserError(
            f"ClickHouse at {url}, database {database}: {_why(error)}; what was not written yet is written by the "
            "next run.",
            FAILED,
        ) from error


def _why(error: ClickHouseError) -> str:
    """The network's reason where no server answered, else the server's own words."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return f"it cannot be reached ({cause.strerror})"
        cause = cause.__cause__
    return one_line(error)


def _connected(section: Warehouse) -> Client:
    parts = urlsplit(section.url)
    password = secret(section.password, "warehouse.password") if section.password else ""
    is_secure = parts.scheme == "https"
    with told(section.url, section.database):
        return clickhouse_connect.get_client(
            host=parts.hostname or "127.0.0.1",
            port=parts.port or (8443 if is_secure else 8123),
            secure=is_secure,
            username=section.user,
            password=password,
            autogenerate_session_id=False,
            send_receive_timeout=section.timeout_seconds,
            client_name="reco",
        )


def _within(statement: str, database: str) -> str:
    """The statement with its names in that database."""
    for name in (*ddl.EXPORTED, ddl.POSITIONS):
        for before in ("EXISTS", "FROM"):
            statement = statement.replace(f"{before} {name}", f"{before} `{database}`.{name}")
    return statement


def _fitting(rows: pl.DataFrame) -> pl.DataFrame:
    def fitted(name: str, kind: pl.DataType) -> pl.Expr:
        column = pl.col(name)
        if isinstance(kind, pl.List):
            return column.fill_null([])
        if kind == pl.Date:
            return column.clip(_FIRST, _LAST)
        return column.clip(_FIRST_TIME, _LAST_TIME) if isinstance(kind, pl.Datetime) else column

    return rows.select([fitted(name, kind) for name, kind in rows.schema.items()])


def rows_of(name: str, frame: pl.DataFrame, row_version: int, *, deleted: bool) -> pl.DataFrame:
    """The rows as they are inserted, in the order of their key."""
    own: list[Any] = [
        pl.lit(row_version, dtype=pl.UInt64).alias("_version"),
        pl.lit(int(deleted), dtype=pl.UInt8).alias("_deleted"),
    ]
    return frame.sort(list(ddl.EXPORTED[name].key)).with_columns(own)
