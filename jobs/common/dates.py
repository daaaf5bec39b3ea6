"""Days that are typed: written in one way, and with room for all that a close looks at around them."""

import re
from datetime import date

from jobs.common.errors import UserError

#: `date.fromisoformat` also takes weeks and days without dashes, which nobody reads back the same way.
_WRITTEN = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
#: A close reaches back by `daily.history_days`, a year at most, and a little further for rates and midnight.
_FIRST, _LAST = date(3, 1, 1), date(9998, 12, 31)


def checked_date(text: str) -> date:
    """The day that `--date` names. UserError where it is none, or too near to where the calendar ends."""
    try:
        day = date.fromisoformat(text if _WRITTEN.fullmatch(text) else "")
    except ValueError:
        raise UserError(f"--date {text or '(nothing)'} is no date: write it as YYYY-MM-DD, like 2026-03-09.") from None
    if not _FIRST <= day <= _LAST:
        raise UserError(f"--date {text} is out of range: give a day from {_FIRST} to {_LAST}.")
    return day
