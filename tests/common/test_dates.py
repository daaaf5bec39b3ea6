"""A day that is typed is one that can be judged, written in one way, or it is refused in one sentence."""

from datetime import date

import pytest

from jobs.common.dates import checked_date
from jobs.common.errors import USAGE, UserError


@pytest.mark.parametrize("text", ["2026-03-09", "2024-02-29", "0003-01-01", "9998-12-31"])
def test_a_day_is_read(text: str) -> None:
    assert checked_date(text) == date.fromisoformat(text)


@pytest.mark.parametrize("text", ["", "2026-W10-1", "20260309", "2026-02-30", "2026-3-9", "2026-03-09\n", "२०२६-०३-०९"])
def test_anything_else_is_no_date(text: str) -> None:
    with pytest.raises(UserError, match=r"is no date: write it as YYYY-MM-DD, like 2026-03-09\.$") as error:
        checked_date(text)
    assert error.value.exit_code == USAGE


@pytest.mark.parametrize("text", ["0001-01-01", "0002-12-31", "9999-01-01", "9999-12-31"])
def test_a_day_without_room_around_it_is_out_of_range(text: str) -> None:
    with pytest.raises(UserError, match=rf"^--date {text} is out of range: .* 0003-01-01 to 9998-12-31\.$") as error:
        checked_date(text)
    assert error.value.exit_code == USAGE
