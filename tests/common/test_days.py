"""A day on the command line is one that can be closed, or one sentence."""

from datetime import date

import pytest

from jobs.common.days import FIRST, LAST, utc_day
from jobs.common.errors import USAGE, UserError


@pytest.mark.parametrize("day", [FIRST, date(2024, 2, 29), LAST])
def test_a_day_with_days_around_it(day: date) -> None:
    assert utc_day(str(day)) == day


@pytest.mark.parametrize("text", ["2026-W10-1", "20260309", "2026-3-9", "2026-02-30", "२०२६-०३-०९", ""])
def test_what_is_no_date(text: str) -> None:
    with pytest.raises(UserError, match=r"^--date .* is no date: write it as YYYY-MM-DD, like 2026-03-09\.$") as told:
        utc_day(text)
    assert told.value.exit_code == USAGE


@pytest.mark.parametrize("text", ["9999-12-31", "9999-01-01"])
def test_a_day_at_the_edge(text: str) -> None:
    with pytest.raises(UserError, match=f"^--date {text} is out of reach: say a day from 0001-01-01 to 9998") as told:
        utc_day(text)
    assert told.value.exit_code == USAGE
