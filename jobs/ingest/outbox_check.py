"""Whether the outbox's tables can be used as they are: everything that the relay will ask of them is tried at once."""

from typing import TYPE_CHECKING

from jobs.common.errors import UserError
from jobs.ingest.outbox import AwayError

if TYPE_CHECKING:
    from jobs.ingest.outbox_table import OutboxTable

COLUMNS = "id, aggregatetype, aggregateid, type, payload, seq, created_at"
ALL_COLUMNS = f"{COLUMNS}, published_at"
_NONE = "where 1 = 0"


def check_tables(outbox: "OutboxTable") -> None:
    """Raises UserError where a table, a column or a right is missing, or cannot be used as it is; the archive too."""
    name = outbox.settings.table
    for shown, statements in (
        (name, _of_outbox(outbox.table)),
        (f"{name}_dead", _of_dead(outbox.dead)),
        (f"{name}_heartbeat", _of_beats(outbox.beats)),
    ):
        for statement in statements:
            try:
                outbox.tell(statement)
            except AwayError as error:
                if not outbox.is_refusal(error.__cause__):
                    raise
                raise UserError(
                    f"The table {shown} of outbox.dsn cannot be used ({error}): {_remedy(outbox, error)}."
                ) from error
    _check_columns(outbox, name)
    if outbox.settings.archive_table:
        _check_archive(outbox, outbox.settings.archive_table)


def _check_columns(outbox: "OutboxTable", table: str) -> None:
    columns = outbox.columns()
    for name, allowed in outbox.types.items():
        kind = columns[name][0]
        if kind in allowed:
            continue
        if name == "created_at":
            raise UserError(
                f"The column created_at of {table} has no time zone, so nobody can know when a row was created: "
                "docs/outbox.md has the DDL."
            )
        *others, last = allowed
        these = f"{', '.join(others)} or {last}" if others else last
        raise UserError(f"The column {name} of {table} is {kind}, and must be {these}: docs/outbox.md has the DDL.")
    for name in COLUMNS.split(", "):
        if columns[name][1]:
            raise UserError(
                f"The column {name} of {table} may be null: make it not null, as docs/outbox.md has the DDL."
            )


# Statements that change nothing: columns and rights are looked at before rows are.


def _of_outbox(table: str) -> list[str]:
    return [
        f"select {ALL_COLUMNS} from {table} {_NONE}",
        f"update {table} set published_at = published_at {_NONE}",
        f"delete from {table} {_NONE}",
    ]


def _of_dead(table: str) -> list[str]:
    columns = f"{COLUMNS}, reason"
    return [
        f"select {columns} from {table} {_NONE}",
        f"insert into {table} ({columns}) select {columns} from {table} {_NONE}",
        f"delete from {table} {_NONE}",
    ]


def _of_beats(table: str) -> list[str]:
    columns = "side, event_time_ms"
    return [
        f"select {columns} from {table} {_NONE}",
        f"insert into {table} ({columns}) select {columns} from {table} {_NONE}",
        f"update {table} set event_time_ms = event_time_ms {_NONE}",
    ]


def _remedy(outbox: "OutboxTable", error: AwayError) -> str:
    if outbox.is_denial(error.__cause__):
        return "grant its user what docs/outbox.md says"
    if outbox.is_no_table(error.__cause__):
        return "set outbox.table, or make the tables with `reco relay --init`"
    return f"compare it with `reco relay --print-ddl {outbox.kind}`"


def _check_archive(outbox: "OutboxTable", name: str) -> None:
    here = outbox.ask(f"select {outbox.here}")[0][0]
    own = outbox.settings.table
    whole = {outbox.named("", place if "." in place else f"{here}.{place}") for place in (name, own)}
    if len(whole) == 1:
        raise UserError(f"outbox.archive_table is the outbox {name} itself: name another table, or leave it empty.")
    try:
        # Without a row it needs the same columns and rights.
        none = f"select {ALL_COLUMNS} from {outbox.table} {_NONE}"
        outbox.tell(f"insert into {outbox.named('', name)} ({ALL_COLUMNS}) {none}")
    except AwayError as error:
        if not outbox.is_refusal(error.__cause__):
            raise
        raise UserError(
            f"outbox.archive_table {name} cannot be written ({error}): grant insert on it, make it with "
            "`reco relay --init`, or leave it empty, so that old rows are deleted."
        ) from error
