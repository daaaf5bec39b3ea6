"""Days that cannot be closed again: of what their last close read, retention has removed some (docs/maintenance.md)."""

from datetime import date, timedelta

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from jobs.common.days import days_before
from jobs.common.errors import FAILED, UserError
from jobs.common.expired_mark import expired_before
from jobs.common.lake import open_table
from jobs.common.settings import Settings
from jobs.daily.revisions import LastClose

_DAY = timedelta(days=1)


class ExpiredError(UserError):
    """A day that retention has taken deliveries of; nothing was written."""


def require_kept(settings: Settings, day: date, history_days: int, last: LastClose | None) -> None:
    """ExpiredError where silver no longer has all that `last`, the day's last close, could read.

    By what is left of a day its matched activities would be gone, and answers that came late breaks of the other side.
    The log tells when the oldest row of each file came in; nothing is read.
    """
    table = open_table(settings, "activity")
    before = None if table is None else expired_before(table)
    if last is None or table is None or before is None:
        return
    # History, and the hours beside the days that decide whose an event is.
    first = days_before(day, history_days + 1)
    if first >= before:
        return
    near = (first, day + _DAY)
    # Where there is any now, somebody has put them back.
    if not _has_older(table, near, before) and _has_older(_at(table, last.silver_version), near, before):
        raise ExpiredError(
            f"{day} cannot be closed again: of what its last close ({last.close_id}) read in silver/activity, all that "
            f"came in before {before} is gone (maintenance.keep_days); nothing was written, and that close stands. To "
            "close it all the same, restore those rows from a backup.",
            FAILED,
        )


def _at(table: DeltaTable, version: int) -> DeltaTable | None:
    """The table at a version; None where that is so old that its log was tidied away."""
    try:
        table.load_as_version(version)
    except (DeltaError, OSError):
        return None
    return table


def _has_older(table: DeltaTable | None, dates: tuple[date, date], before: date) -> bool:
    """Whether a table has rows of these dates (both included) that came in before a day; True where it is not told."""
    files = None if table is None else pl.DataFrame(table.get_add_actions(flatten=True))
    if files is None or files.is_empty() or "min.ingested_at" not in files.columns:
        return files is None or not files.is_empty()
    of, came = (pl.col(name).cast(pl.String).str.head(10) for name in ("partition.event_date", "min.ingested_at"))
    first, last = (pl.lit(one.isoformat()) for one in dates)
    is_near = of.is_between(first, last)
    return not files.filter(is_near & (came.fill_null("") < before.isoformat())).is_empty()
