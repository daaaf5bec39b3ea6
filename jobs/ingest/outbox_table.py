"""What the relay asks of the outbox table, in the words that PostgreSQL and MySQL share.

Two connections: one whose transactions claim and settle, one that watches.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, ClassVar

from jobs.common.command import one_line
from jobs.common.settings import Outbox
from jobs.ingest.outbox import AwayError, Backlog, Row, ms, utc
from jobs.ingest.outbox_check import check_tables
from jobs.ingest.outbox_names import OutboxNames

#: What is taken off the time up to which everything is published, milliseconds: a transaction is seen only a moment
#: after it began.
GUARD_MS = 500
#: How many backlog rows are counted at most.
COUNTED = 1_000_000


class OutboxTable(OutboxNames, ABC):
    """The table, its dead letters and its heartbeats in one database. Methods raise AwayError where it fails."""

    #: The payload as its JSON text.
    payload: ClassVar[str]
    #: When the row was created, milliseconds since 1970, cut.
    created: ClassVar[str]
    #: Where a table without a schema is.
    here: ClassVar[str]
    #: The types that columns may have, where not any will do.
    types: ClassVar[Mapping[str, tuple[str, ...]]]

    def __init__(self, dsn: str, settings: Outbox) -> None:
        super().__init__(settings)
        self.dsn = dsn
        others = [side for side in ("agoda", "supplier") if side not in settings.sides]
        # What is nobody's is everybody's: it has to be parked by someone.
        self.mine = "published_at is null" + "".join(f" and aggregatetype <> '{side}'" for side in others)
        self._marked: set[Any] = set()
        self._is_whole = False
        self.stamp = "0"
        self.work: Any = None
        self.watch: Any = None

    # -- connections ---------------------------------------------------------------------------------------------

    @abstractmethod
    def connect(self, *, transactions: bool) -> Any:
        """A connection; without `transactions` each statement is one of its own. Raises UserError where refused."""

    @property
    @abstractmethod
    def errors(self) -> type[Exception]:
        """The base class of the driver's errors."""

    def open(self) -> None:
        """Connect. Raises AwayError where nothing answers, UserError where it answers with a refusal."""
        with self.asking():
            self.work, self.watch = self.connect(transactions=True), self.connect(transactions=False)

    def close(self) -> None:
        """Let both connections go; what was claimed is free again, and the voice too."""
        for connection in (self.work, self.watch):
            if connection is not None:
                with suppress(self.errors):
                    connection.close()
        self.work = self.watch = None
        self._marked = set()

    def longest_silence(self) -> int:
        """How long the watching connection may be silent before the server ends it, seconds: then others may speak.

        It talks at each heartbeat, which a batch may hold up while the broker is waited for.
        """
        return max(60, self.settings.heartbeat_seconds + 45)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """The driver's errors become AwayError."""
        try:
            yield
        except self.errors as error:
            # The last argument is the text, with either driver; before it stands a number.
            raise AwayError(one_line(Exception(*error.args[-1:]))) from error

    def check(self) -> None:
        """Raises UserError where the tables cannot be used as they are, or the archive cannot be written."""
        check_tables(self)

    @abstractmethod
    def is_refusal(self, error: BaseException | None) -> bool:
        """Whether an error says that a statement can never work as it is: no such table, no right to it."""

    @abstractmethod
    def is_denial(self, error: BaseException | None) -> bool:
        """Whether it is a right that is missing."""

    @abstractmethod
    def is_no_table(self, error: BaseException | None) -> bool:
        """Whether it is the whole table."""

    @abstractmethod
    def columns(self) -> dict[str, tuple[str, bool]]:
        """The outbox's columns: the type's name, and whether it may be null."""

    # -- claim and settle ----------------------------------------------------------------------------------------

    def tell_creation(self) -> None:
        """From now on claimed rows say when they were created."""
        self.stamp = self.created

    def claim(self) -> list[Row]:
        """Lock and return the oldest rows that nobody else has locked, at most outbox.batch_size, by seq."""
        with self.asking(), self.reader() as cursor:
            rows, standing = self.lock(cursor)
        self._is_whole = standing == len(rows)
        return sorted(map(Row._make, rows), key=attrgetter("seq"))

    @abstractmethod
    def lock(self, cursor: Any) -> tuple[list[tuple[Any, ...]], int]:
        """Rows to claim, values of `Row`; and how many there are, locked or not, up to the last of them."""

    def reader(self) -> Any:
        """A cursor of the working connection for many rows."""
        return self.work.cursor()

    def in_order(self, rows: Sequence[Row]) -> list[Row]:
        """Those of the claimed rows that no earlier row of their aggregate stands before, unpublished.

        `rows`: what `claim` gave last. Such a row is another relay's, or became visible just now. Rows are published by
        whoever holds all before them: then whatever happens to a relay, the first time that a row is seen comes after
        the first time of those before.
        """
        if self._is_whole:
            return list(rows)
        with self.asking(), self.work.cursor() as cursor:
            cursor.execute(
                f"select seq, aggregatetype, aggregateid from {self.table} where {self.mine} and seq <= %s",
                (rows[-1].seq,),
            )
            held = {row.seq for row in rows}
            before: dict[tuple[str, str], int] = {}
            for seq, *aggregate in cursor.fetchall():
                if seq not in held:
                    key = (aggregate[0], aggregate[1])
                    before[key] = min(seq, before.get(key, seq))
        return [row for row in rows if row.seq < before.get(row.aggregate, row.seq + 1)]

    def mark_early(self, rows: Sequence[Row]) -> None:
        """Mark rows while the broker still has them; nobody sees it before `settle`, and nothing is kept without it."""
        with self.asking(), self.work.cursor() as cursor:
            self.mark(cursor, [row.id for row in rows])
        self._marked = {row.id for row in rows}

    def settle(self, published: Sequence[Row], parked: Sequence[tuple[Row, str]]) -> None:
        """Mark what the broker has confirmed, move what it never will to the dead letters, let go of the rest."""
        confirmed = {row.id for row in published}
        with self.asking():
            with self.work.cursor() as cursor:
                if new := confirmed - self._marked:
                    self.mark(cursor, list(new))
                for row, reason in parked:
                    self.park(cursor, row, reason)
                for row_id in self._marked - confirmed:
                    cursor.execute(f"update {self.table} set published_at = null where id = %s", (row_id,))
            self.work.commit()
        self._marked = set()

    def release(self) -> None:
        """Let go of what was claimed."""
        with self.asking():
            self.work.rollback()

    @abstractmethod
    def mark(self, cursor: Any, ids: list[Any]) -> None:
        """Note the time of publication of rows that are locked."""

    def park(self, cursor: Any, row: Row, reason: str) -> None:
        """Move a locked row to the dead letters; of one that was there before, the newest reason stays."""
        cursor.execute(f"delete from {self.dead} where id = {self.text('%s')}", (row.id,))
        cursor.execute(
            f"insert into {self.dead} (id, aggregatetype, aggregateid, type, payload, seq, created_at, reason) "
            f"select {self.text('id')}, aggregatetype, aggregateid, type, {self.text('payload')}, seq, created_at, %s "
            f"from {self.table} where id = %s",
            (reason, row.id),
        )
        cursor.execute(f"delete from {self.table} where id = %s", (row.id,))

    @abstractmethod
    def text(self, expression: str) -> str:
        """The expression as text."""

    # -- watch ---------------------------------------------------------------------------------------------------

    def ask(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows that a query on the watching connection finds."""
        with self.asking(), self.watch.cursor() as cursor:
            cursor.execute(query, values or None)
            return [tuple(row) for row in cursor.fetchall()]

    def tell(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run a statement on the watching connection; how many rows it changed."""
        with self.asking(), self.watch.cursor() as cursor:
            cursor.execute(statement, values or None)
            return int(cursor.rowcount)

    def backlog(self) -> Backlog:
        """How much is still to be published, by the database's clock."""
        inner = f"select created_at from {self.table} where {self.mine} limit {COUNTED}"
        rows, oldest = self.ask(f"select count(*), min(created_at) from ({inner}) as waiting")[0]
        age = (self.now() - utc(oldest)).total_seconds() if rows else 0.0
        return Backlog(int(rows), max(age, 0.0))

    @abstractmethod
    def now(self) -> datetime:
        """The database's clock."""

    def complete_until(self) -> int:
        """Everything created up to then has been published: milliseconds since 1970, by the database's clock.

        The clock is read first, then the transactions that may still write a row as of their beginning, then the rows:
        one that is in neither is published, or was created later.
        """
        until = ms(self.now() - timedelta(milliseconds=GUARD_MS))
        began = self.oldest_transaction()
        if began is not None:
            until = min(until, ms(began) - GUARD_MS)
        oldest = self.ask(f"select min(created_at) from {self.table} where {self.mine}")[0][0]
        return until if oldest is None else min(until, ms(utc(oldest)) - 1)

    @abstractmethod
    def oldest_transaction(self) -> datetime | None:
        """When the oldest of the others' transactions began that may still write to the outbox; None for no such."""

    @abstractmethod
    def speak_for(self, side: str) -> bool:
        """Try to become the one who speaks for a side, until the connection ends; False where another one is."""

    def move_on(self, side: str, until_ms: int) -> bool:
        """Note up to when is said next; False where that was said, or more: nothing is to be said then."""
        changed = self.tell(
            f"update {self.beats} set event_time_ms = %s where side = %s and event_time_ms < %s",
            (until_ms, side, until_ms),
        )
        return changed > 0

    def said(self, side: str) -> int | None:
        """Up to when was said last for a side, milliseconds since 1970."""
        found = self.ask(f"select event_time_ms from {self.beats} where side = %s", (side,))
        return int(found[0][0]) if found else None

    @abstractmethod
    def wait(self, seconds: float) -> None:
        """Until a row may have come, or the time is over."""

    @abstractmethod
    def tidy(self, hours: int, limit: int) -> int:
        """Remove, or move to the archive, at most `limit` rows that were published so long ago; how many."""

    @abstractmethod
    def create(self) -> None:
        """Make what is missing of the tables, the archive too where one is named."""
