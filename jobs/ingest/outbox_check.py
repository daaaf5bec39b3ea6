"""Whether the outbox's tables can be used as they are."""

from typing import TYPE_CHECKING

from jobs.common.errors import UserError
from jobs.ingest.outbox import AwayError

if TYPE_CHECKING:
    from jobs.ingest.outbox_table import OutboxTable

COLUMNS = "id, aggregatetype, aggregateid, type, payload, seq, created_at"
ALL_COLUMNS = f"{COLUMNS}, published_at"


def check_tables(outbox: "OutboxTable") -> None:
    """Raises UserError where a table or a column is missing, or may not be read, or the archive not be written."""
    beside = {outbox.table: ALL_COLUMNS, outbox.dead: f"{COLUMNS}, reason", outbox.beats: "side"}
    for table, columns in beside.items():
        try:
            outbox.ask(f"select {columns} from {table} where 1 = 0")
        except AwayError as error:
            if not outbox.is_refusal(error.__cause__):
                raise
            raise UserError(
                f"The table {outbox.settings.table} of outbox.dsn cannot be used ({error}): set outbox.table, or "
                "make the tables with `reco relay --init`."
            ) from error
    if outbox.settings.archive_table:
        _check_archive(outbox, outbox.settings.archive_table)


def _check_archive(outbox: "OutboxTable", name: str) -> None:
    here = outbox.ask(f"select {outbox.here}")[0][0]
    own = outbox.settings.table
    whole = {outbox.named("", place if "." in place else f"{here}.{place}") for place in (name, own)}
    if len(whole) == 1:
        raise UserError(f"outbox.archive_table is the outbox {name} itself: name another table, or leave it empty.")
    try:
        # Without a row it needs the same columns and rights.
        none = f"select {ALL_COLUMNS} from {outbox.table} where 1 = 0"
        outbox.tell(f"insert into {outbox.named('', name)} ({ALL_COLUMNS}) {none}")
    except AwayError as error:
        if not outbox.is_refusal(error.__cause__):
            raise
        raise UserError(
            f"outbox.archive_table {name} cannot be written ({error}): grant insert on it, make it with "
            "`reco relay --init`, or leave it empty, so that old rows are deleted."
        ) from error
