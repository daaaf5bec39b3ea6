"""The outbox on MySQL and MariaDB."""

import re
import time
from contextlib import suppress
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote, urlsplit

import pymysql
from pymysql.constants import ER

from jobs.common.command import one_line
from jobs.common.errors import UserError
from jobs.common.settings import Outbox
from jobs.ingest.outbox import AwayError, Row, utc
from jobs.ingest.outbox_check import ALL_COLUMNS
from jobs.ingest.outbox_table import OutboxTable

#: How long the server keeps what it tells of transactions, seconds, and a little more.
_STALE_SECONDS = 0.15
_REFUSED = (ER.ACCESS_DENIED_ERROR, ER.DBACCESS_DENIED_ERROR, ER.BAD_DB_ERROR, ER.HOST_NOT_PRIVILEGED)
_NO_RIGHT = (ER.SPECIFIC_ACCESS_DENIED_ERROR, ER.TABLEACCESS_DENIED_ERROR, ER.DBACCESS_DENIED_ERROR)
_STATEMENTS = """
select id, time from information_schema.processlist
where command in ('Query', 'Execute') and id <> connection_id()
"""
# The beginning is told by the machine's clock, whatever zone the server or the session has.
_TRANSACTIONS = """
select trx_mysql_thread_id, trx_id, convert_tz(trx_started, 'SYSTEM', '+00:00') from information_schema.innodb_trx
where trx_rows_modified > 0 and trx_mysql_thread_id <> connection_id()
"""
_MAY_SEE = """
select 1 from information_schema.user_privileges
where privilege_type = 'PROCESS' and replace(grantee, '''', '') = current_user()
"""
_FILES = ("ssl_ca", "ssl_cert", "ssl_key")
# Not the charset: in any but the one below the server would give us ? for letters that it has not.
_OPTIONS = ("unix_socket", *_FILES)


class MysqlOutbox(OutboxTable):
    """The outbox on MySQL 8.0.13 or MariaDB 10.6, or later."""

    kind = "mysql"
    quote = "`"
    here = "database()"
    types: ClassVar = {
        "id": ("char", "varchar", "uuid"),
        "payload": ("json", "longtext", "mediumtext", "text", "varchar"),
        "created_at": ("timestamp",),
    }
    payload = "payload"
    created = "cast(floor(unix_timestamp(created_at) * 1000) as signed)"

    def __init__(self, dsn: str, settings: Outbox) -> None:
        super().__init__(dsn, settings)
        # Of the last look: since when each statement ran, by thread, and each transaction had written; its time.
        self._last_look: tuple[dict[int, datetime], dict[tuple[int, int], datetime], datetime | None] = ({}, {}, None)

    @property
    def errors(self) -> type[Exception]:
        """The base class of the driver's errors."""
        base: type[Exception] = pymysql.MySQLError
        return base

    def connect(self, *, transactions: bool) -> Any:
        """A connection whose locks end where this process hangs. UserError where the server refuses it."""
        try:
            connection = pymysql.connect(**_arguments(self.dsn), autocommit=not transactions)
        except pymysql.OperationalError as error:
            if error.args and error.args[0] in _REFUSED:
                raise UserError(
                    f"The database of outbox.dsn refuses us: {one_line(Exception(error.args[-1]))}."
                ) from error
            raise
        except OSError as error:  # of the network they are the driver's own
            named = ", ".join(_FILES)
            raise UserError(f"outbox.dsn: the driver cannot use {named}: {error.strerror or error}.") from error
        if (version := too_old(connection.get_server_info())) is not None:
            connection.close()
            raise UserError(
                f"The database of outbox.dsn is {version}, and the relay needs MySQL 8.0.13 or MariaDB 10.6 or later."
            )
        with connection.cursor() as cursor:
            # Rows are locked one by one, without the gaps between them, into which applications write.
            cursor.execute("set session transaction isolation level read committed")
            silence = 300 if transactions else self.longest_silence()
            cursor.execute("set session time_zone = '+00:00', session wait_timeout = %s", (silence,))
            # Whatever the server's own defaults are: a look that is cut short would not see what stands before a row.
            cursor.execute("set session sql_safe_updates = 0, session sql_select_limit = 18446744073709551615")
        return connection

    def is_refusal(self, error: BaseException | None) -> bool:
        """Whether an error says that a statement can never work as it is."""
        return _has_code(error, ER.BAD_FIELD_ERROR, ER.NO_SUCH_TABLE, *_REFUSED, *_NO_RIGHT)

    def is_denial(self, error: BaseException | None) -> bool:
        """Whether it is a right that is missing."""
        return _has_code(error, *_NO_RIGHT)

    def is_no_table(self, error: BaseException | None) -> bool:
        """Whether it is the whole table."""
        return _has_code(error, ER.NO_SUCH_TABLE)

    def columns(self) -> dict[str, tuple[str, bool]]:
        """The outbox's columns: the type's name, and whether it may be null."""
        # Not from information_schema, which takes OutBox for outbox.
        told = self.ask(f"show columns from {self.table}")
        return {name.lower(): (kind.partition("(")[0].lower(), null == "YES") for name, kind, null, *_ in told}

    def claim(self) -> list[Row]:
        """Lock and return the oldest rows that nobody else has locked, at most outbox.batch_size, by seq."""
        texts: list[tuple[Row, Any]] = [(row, row.payload) for row in super().claim()]
        return [row._replace(payload=text.encode("utf-8", "surrogatepass")) for row, text in texts]

    def lock(self, cursor: Any) -> tuple[list[tuple[Any, ...]], int]:
        """Rows to claim, and how many there are up to the last of them."""
        cursor.execute(
            f"select id, aggregatetype, aggregateid, {self.payload}, seq, {self.stamp} from {self.table} "
            f"where {self.mine} order by seq limit %s for update skip locked",
            (self.settings.batch_size,),
        )
        rows = [tuple(row) for row in cursor.fetchall()]
        if not rows:
            return [], 0
        last = max(row[4] for row in rows)
        cursor.execute(f"select count(*) from {self.table} where {self.mine} and seq <= %s", (last,))
        return rows, int(cursor.fetchone()[0])

    def mark(self, cursor: Any, ids: list[Any]) -> None:
        """Note the time of publication of rows that are locked."""
        cursor.execute(f"update {self.table} set published_at = current_timestamp(6) where id in %s", (ids,))

    def text(self, expression: str) -> str:
        """The expression as text."""
        return f"convert({expression} using utf8mb4)"

    def now(self) -> datetime:
        """The database's clock."""
        return utc(self.ask("select current_timestamp(6)")[0][0])

    def oldest_transaction(self) -> datetime | None:
        """When the oldest of the others' statements that run, or of their transactions that have written, began.

        A row's creation is its statement's beginning: first the statements are looked at, then what they have written.
        Where the right PROCESS is missing: outbox.longest_transaction_minutes ago.
        """
        before = self.now()
        longest = before - timedelta(minutes=self.settings.longest_transaction_minutes)
        try:
            # Told in whole seconds.
            running = {thread: before - timedelta(seconds=int(age) + 1) for thread, age in self.ask(_STATEMENTS)}
            time.sleep(_STALE_SECONDS)
            written = {(thread, trx): utc(started) for thread, trx, started in self.ask(_TRANSACTIONS)}
            if not self.ask(_MAY_SEE):
                return longest
        except AwayError as error:
            if not self.is_refusal(error.__cause__):
                raise
            return longest
        # A transaction begins only once its first statement has its locks on tables, for which it may have waited: it
        # was seen running then, or began after the last look.
        was_running, known, looked = self._last_look
        began = {
            key: known.get(key, min(started, looked or longest, was_running.get(key[0], started)))
            for key, started in written.items()
        }
        began = {key: min(at, running.get(key[0], at)) for key, at in began.items()}
        self._last_look = running, began, before
        return min([*began.values(), *running.values()], default=None)

    def speak_for(self, side: str) -> bool:
        """Try to become the one who speaks for a side, until the connection ends; False where another one is."""
        *schema, name = self.settings.table.split(".")
        place = schema[0] if schema else self.ask("select database()")[0][0]
        lock = "reco-" + sha256(f"{place}\0{name}\0{side}".encode()).hexdigest()[:40]
        if self.ask("select get_lock(%s, 0)", (lock,))[0][0] != 1:
            return False
        self.tell(f"insert ignore into {self.beats} (side, event_time_ms) values (%s, 0)", (side,))
        return True

    def wait(self, seconds: float) -> None:
        """Until the time is over; MySQL cannot say that a row has come."""
        time.sleep(seconds)

    def tidy(self, hours: int, limit: int) -> int:
        """Remove, or move to the archive, at most `limit` rows that were published so long ago; how many."""
        old = "where published_at < current_timestamp(6) - interval %s hour order by published_at limit %s"
        if not self.settings.archive_table:
            return self.tell(f"delete from {self.table} {old}", (hours, limit))
        columns = ALL_COLUMNS
        archive = self.named("", self.settings.archive_table)
        with self.asking(), self.watch.cursor() as cursor:
            self.watch.begin()
            try:
                cursor.execute(f"select id from {self.table} {old} for update skip locked", (hours, limit))
                ids = [found[0] for found in cursor.fetchall()]
                if ids:
                    cursor.execute(
                        f"insert into {archive} ({columns}) select {columns} from {self.table} where id in %s", (ids,)
                    )
                    cursor.executemany(f"delete from {self.table} where id = %s", [(one,) for one in ids])
                self.watch.commit()
            except self.errors:
                # The relay goes on with this connection.
                with suppress(self.errors):
                    self.watch.rollback()
                raise
        return len(ids)

    def create(self) -> None:
        """Make what is missing of the tables, the archive too where one is named."""
        for statement in self.each_statement():
            self.tell(statement)
        if self.settings.archive_table:
            self.tell(f"create table if not exists {self.named('', self.settings.archive_table)} like {self.table}")


def too_old(told: str) -> str | None:
    """The server by its name and version, as it told it, where it cannot skip locked rows; else None."""
    if maria := re.search(r"(\d+)\.(\d+)\.\d+-MariaDB", told):
        return f"MariaDB {maria[0].removesuffix('-MariaDB')}" if (int(maria[1]), int(maria[2])) < (10, 6) else None
    mysql = re.match(r"(\d+)\.(\d+)\.(\d+)", told)
    return f"MySQL {mysql[0]}" if mysql and tuple(map(int, mysql.groups())) < (8, 0, 13) else None


def _has_code(error: BaseException | None, *codes: int) -> bool:
    return isinstance(error, pymysql.MySQLError) and bool(error.args) and error.args[0] in codes


def _arguments(dsn: str) -> dict[str, Any]:
    try:
        url = urlsplit(dsn)
        port = url.port or 3306
    except ValueError as error:
        raise UserError("outbox.dsn: the port is no number from 1 to 65535.") from error
    options = dict(parse_qsl(url.query))
    if unknown := sorted(set(options) - set(_OPTIONS)):
        raise UserError(f"outbox.dsn: MySQL's client knows no option {unknown[0]}; there are {', '.join(_OPTIONS)}.")
    for name in options.keys() & set(_FILES):
        try:
            Path(options[name]).read_bytes()
        except OSError as error:
            raise UserError(f"outbox.dsn: {name} {options[name]} cannot be read: {error.strerror}.") from error
    if not url.path.strip("/"):
        raise UserError("outbox.dsn names no database: mysql://user:password@host:3306/database.")
    return {
        "host": url.hostname or "127.0.0.1",
        "port": port,
        "user": unquote(url.username or "root"),
        "password": unquote(url.password or ""),
        "database": unquote(url.path.strip("/")),
        "charset": "utf8mb4",
        "connect_timeout": 10,
        "read_timeout": 60,
        "write_timeout": 60,
        **options,
    }
