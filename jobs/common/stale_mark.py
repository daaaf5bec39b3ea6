"""Up to which version of silver `reco daily --stale` has looked and closed what it found: a note in gold/closes' log.

What came before that version needs no second look, so neither the log nor the files of those commits are needed for it.
That holds of the closes that it saw only: one that was going on meanwhile has read an older silver than that.
"""

from datetime import date

import polars as pl
from deltalake import CommitProperties, Transaction
from deltalake.exceptions import DeltaError

from jobs.common.errors import FAILED, UserError
from jobs.common.lake import open_table, scan
from jobs.common.settings import Settings

_ID, _CLOSES = "reco-daily-stale", "reco-daily-stale-closes"


def looked_to(settings: Settings) -> int | None:
    """The silver version that is noted; None where `--stale` never came to its end."""
    table = open_table(settings, "closes")
    return None if table is None else table.transaction_version(_ID)


def closes_version(settings: Settings) -> int | None:
    """The version of gold/closes; None where nothing was closed yet."""
    table = open_table(settings, "closes")
    return None if table is None else table.version()


def note_looked(settings: Settings, silver_version: int, seen: int | None = None) -> None:
    """Note that every date that commits up to this version made stale has been closed again.

    `seen`: the version of gold/closes with the closes that this is said of; None for all that are there.
    """
    table = open_table(settings, "closes")
    before = None if table is None else table.transaction_version(_ID)
    if table is None or (before is not None and before >= silver_version):
        return
    notes = [Transaction(_ID, silver_version), Transaction(_CLOSES, table.version() if seen is None else seen)]
    note = CommitProperties(app_transactions=notes)
    try:
        table.create_write_transaction([], "append", table.schema(), commit_properties=note)
    except (DeltaError, OSError) as error:
        raise UserError(f"The table gold/closes cannot be written: {error}", FAILED) from error


def looked_from(settings: Settings) -> dict[date, int]:
    """The silver version since which events may have made each closed date stale."""
    table = open_table(settings, "closes")
    if table is None:
        return {}
    by_date = scan(table).group_by("reco_date").agg(pl.col("close_id", "silver_version").sort_by("revision").last())
    newest, looked, seen = by_date.collect(), table.transaction_version(_ID), table.transaction_version(_CLOSES)
    if looked is None:
        return dict(newest.select("reco_date", "silver_version").iter_rows())
    if seen is not None:  # else a note of an earlier build, which does not tell
        try:
            table.load_as_version(seen)
        except (DeltaError, OSError):  # so old that its log was tidied away: of none it is certain
            looked = -1
    known = set(scan(table).select("close_id").collect()["close_id"])
    return {day: max(pin, looked) if close_id in known else pin for day, close_id, pin in newest.iter_rows()}
