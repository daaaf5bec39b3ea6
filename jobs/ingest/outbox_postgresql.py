"""The outbox on PostgreSQL."""

import re
from collections import deque
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, ClassVar

import psycopg

from jobs.common.command import one_line
from jobs.common.errors import UserError
from jobs.ingest.outbox import Row, utc
from jobs.ingest.outbox_check import ALL_COLUMNS
from jobs.ingest.outbox_table import OutboxTable

CHANNEL = "reco_outbox"
#: A server that is gone without a word is noticed so soon: seconds, the last in milliseconds.
_PATIENCE: dict[str, Any] = {"connect_timeout": 10, "keepalives_idle": 15, "tcp_user_timeout": 30_000}
#: Said by a server that will answer soon.
_SOON = ("starting up", "shutting down", "recovery", "too many", "connection slots")
#: What the client says of an option's value before it connects to anything, and where it shows the value.
_OPTION = re.compile(r"connection is bad: ((?:invalid |definition of service ).*)")
_VALUE = re.compile(r'(?<=value):? "[^"]*"')
# What the backends of this database do. One that may not be looked at tells no beginning; one that cleans up or ships
# the log writes no row.
_ACTIVITY = """
select bool_or(query = '<insufficient privilege>' or state = 'disabled'),
       least(min(xact_start) filter (where backend_type not in ('autovacuum worker', 'walsender')),
             min(query_start) filter (where state = 'active' and backend_type = 'client backend')),
       (select min(prepared) from pg_prepared_xacts where database = current_database())
from pg_stat_activity
where datid = (select oid from pg_database where datname = current_database()) and pid <> pg_backend_pid()
"""


class PostgresOutbox(OutboxTable):
    """The outbox on PostgreSQL 12 or later."""

    kind = "postgresql"
    quote = '"'
    here = "current_schema()"
    types: ClassVar = {
        "id": ("uuid",),
        "payload": ("jsonb", "json", "text", "character varying"),
        "created_at": ("timestamp with time zone",),
    }
    # As bytes, so that no text that Python cannot decode stops a batch.
    payload = "convert_to(payload::text, 'UTF8')"
    created = "(extract(epoch from date_trunc('milliseconds', created_at)) * 1000)::bigint"

    @property
    def errors(self) -> type[Exception]:
        """The base class of the driver's errors."""
        return psycopg.Error

    def connect(self, *, transactions: bool) -> psycopg.Connection[Any]:
        """A connection that gives up its locks where this process hangs. UserError where the server refuses it."""
        try:
            connection = psycopg.connect(
                self.dsn, autocommit=True, application_name="reco relay", client_encoding="UTF8", **_PATIENCE
            )
        except psycopg.ProgrammingError:
            # Not `from error`: with --debug that would show what it did not understand, which may be the password.
            raise UserError("outbox.dsn is no URL that PostgreSQL's client understands.") from None
        except psycopg.OperationalError as error:
            if (wrong := _OPTION.search(one_line(error))) is not None:
                raise UserError(f"outbox.dsn: {_VALUE.sub('', wrong[1]).rstrip('.')}.") from error
            if "FATAL" in str(error) and not any(word in str(error) for word in _SOON):
                raise UserError(f"The database of outbox.dsn refuses us: {one_line(error)}.") from error
            raise
        version = connection.info.server_version
        if version < 120_000:
            connection.close()
            raise UserError(
                f"The database of outbox.dsn is PostgreSQL {version // 10_000}, and the relay needs 12 or later."
            )
        # The driver reads no other dates.
        limits = {"idle_in_transaction_session_timeout": "120s", "tcp_keepalives_idle": "30", "datestyle": "ISO"}
        if not transactions and version >= 140_000:
            limits["idle_session_timeout"] = f"{self.longest_silence()}s"
        for name, value in limits.items():
            connection.execute("select set_config(%s, %s, false)", (name, value))
        if transactions:
            # Not on the other one: a server that waits for us to read what it notifies does not see how long we are
            # silent, and would leave the voice to a process that hangs.
            connection.execute(f"listen {CHANNEL}")
            # Each statement sees what was committed before it, whatever the database's own default is.
            connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
            connection.autocommit = False
        return connection

    def check(self) -> None:
        """Raises UserError where the tables cannot be used, or where text is bytes of an unknown encoding."""
        super().check()
        if self.ask("show server_encoding") == [("SQL_ASCII",)]:
            raise UserError("The database of outbox.dsn has the encoding SQL_ASCII; the outbox needs UTF8.")

    def reader(self) -> Any:
        """A cursor that is sent bytes as they are, not as twice as many digits."""
        return self.work.cursor(binary=True)

    def is_refusal(self, error: BaseException | None) -> bool:
        """Whether an error says that a statement can never work as it is."""
        return isinstance(error, psycopg.ProgrammingError)

    def is_denial(self, error: BaseException | None) -> bool:
        """Whether it is a right that is missing."""
        return isinstance(error, psycopg.errors.InsufficientPrivilege)

    def is_no_table(self, error: BaseException | None) -> bool:
        """Whether it is the whole table."""
        return isinstance(error, psycopg.errors.UndefinedTable)

    def columns(self) -> dict[str, tuple[str, bool]]:
        """The outbox's columns: the type's name, and whether it may be null."""
        asked = (
            "select attname, format_type(atttypid, null), not attnotnull from pg_attribute "
            "where attrelid = %s::regclass and attnum > 0"
        )
        return {name: (kind, may_be_null) for name, kind, may_be_null in self.ask(asked, (self.table,))}

    def claim(self) -> list[Row]:
        """Lock and return the oldest rows that nobody else has locked, at most outbox.batch_size, by seq."""
        with self.asking():
            # What was notified before is seen by the claim; the client would remember it until we wait.
            deque(self.work.notifies(timeout=0), maxlen=0)
        return super().claim()

    def lock(self, cursor: Any) -> tuple[list[tuple[Any, ...]], int]:
        """Rows to claim, and how many there are up to the last of them: in one question, for each takes a while.

        One snapshot is enough: an activity's rows are written one after the other, the first committed before the next.
        """
        cursor.execute(
            "with claimed as materialized (select id, aggregatetype, aggregateid, payload, seq, created_at "
            f"from {self.table} where {self.mine} order by seq limit %s for update skip locked) "
            # Of the id only its text is needed, and making it here costs half as much.
            f"select id::text, aggregatetype, aggregateid, {self.payload}, seq, {self.stamp}, (select count(*) "
            f"from {self.table} where {self.mine} and seq <= (select max(seq) from claimed)) from claimed",
            (self.settings.batch_size,),
        )
        rows = cursor.fetchall()
        return [row[:6] for row in rows], rows[0][6] if rows else 0

    def mark(self, cursor: Any, ids: list[Any]) -> None:
        """Note the time of publication of rows that are locked."""
        which = "id = any(string_to_array(%s, ',')::uuid[])"
        cursor.execute(f"update {self.table} set published_at = clock_timestamp() where {which}", (",".join(ids),))

    def text(self, expression: str) -> str:
        """The expression as text."""
        return f"{expression}::text"

    def now(self) -> datetime:
        """The database's clock."""
        return utc(self.ask("select clock_timestamp()")[0][0])

    def oldest_transaction(self) -> datetime | None:
        """When the oldest of the others' transactions in this database began.

        Where the roles of others may not be looked at: outbox.longest_transaction_minutes ago. A prepared transaction
        tells only when it was prepared, so it is taken to have begun that long before.
        """
        longest = timedelta(minutes=self.settings.longest_transaction_minutes)
        before = self.now()
        hidden, began, prepared = self.ask(_ACTIVITY)[0]
        found = [began, before - longest if hidden else None, prepared - longest if prepared else None]
        return min((utc(time) for time in found if time is not None), default=None)

    def speak_for(self, side: str) -> bool:
        """Try to become the one who speaks for a side, until the connection ends; False where another one is."""
        oid = self.ask("select to_regclass(%s)::oid::bigint", (self.table,))[0][0]
        key = int.from_bytes(sha256(f"reco relay\0{oid}\0{side}".encode()).digest()[:8], signed=True)
        if not self.ask("select pg_try_advisory_lock(%s::bigint)", (key,))[0][0]:
            return False
        self.tell(f"insert into {self.beats} (side, event_time_ms) values (%s, 0) on conflict do nothing", (side,))
        return True

    def wait(self, seconds: float) -> None:
        """Until a transaction with new rows was committed, or the time is over."""
        with self.asking():
            deque(self.work.notifies(timeout=seconds, stop_after=1), maxlen=0)

    def tidy(self, hours: int, limit: int) -> int:
        """Remove, or move to the archive, at most `limit` rows that were published so long ago; how many."""
        gone = (
            f"delete from {self.table} where id in (select id from {self.table} "
            "where published_at < clock_timestamp() - make_interval(hours => %s) limit %s for update skip locked)"
        )
        if not self.settings.archive_table:
            return self.tell(gone, (hours, limit))
        columns = ALL_COLUMNS
        archive = self.named("", self.settings.archive_table)
        return self.tell(
            f"with gone as ({gone} returning {columns}) insert into {archive} ({columns}) select {columns} from gone",
            (hours, limit),
        )

    def create(self) -> None:
        """Make what is missing of the tables, the archive too where one is named."""
        self.tell(f"set client_min_messages = warning; {self.statements()}")
        if self.settings.archive_table:
            self.tell(f"create table if not exists {self.named('', self.settings.archive_table)} (like {self.table})")
