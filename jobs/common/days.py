"""Days as people name them on a command line."""

import re
from datetime import date

from jobs.common.errors import UserError

#: A close looks at the day after its own, and that must be one too.
FIRST, LAST = date.min, date(9998, 12, 31)
_WRITTEN = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def days_before(day: date, days: int) -> date:
    """The day so many days before; the first of all where there are not so many."""
    return date.fromordinal(max(day.toordinal() - days, 1))


def utc_day(text: str, option: str = "--date") -> date:
    """The day that a word of the command line names. UserError for what is none, or has no days around it.

    `option`: how the word is called there; nothing where it has no name.
    """
    said = f"{option} {text}".lstrip()
    try:
        # Python would also take weeks and days without hyphens, which nobody means here.
        day = date.fromisoformat(text) if _WRITTEN.fullmatch(text) else None
    except ValueError:
        day = None
    if day is None:
        raise UserError(f"{said} is no date: write it as YYYY-MM-DD, like 2026-03-09.")
    if not FIRST <= day <= LAST:
        raise UserError(f"{said} is out of reach: say a day from {FIRST} to {LAST}.")
    return day
