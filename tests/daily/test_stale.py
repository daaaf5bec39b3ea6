"""What `--stale` finds and when: beside a run that goes on, before a day is over, and published out of order."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from jobs.common.engines import Session
from jobs.common.engines.duckdb import duckdb_session
from jobs.common.settings import Settings
from jobs.common.stale_mark import looked_from, looked_to
from jobs.daily import inputs
from jobs.daily.close import close_day
from jobs.daily.main import run
from jobs.daily.revisions import stale_dates
from tests.daily import small_lake
from tests.daily.small_lake import DAY, NOON

_BEFORE = DAY - timedelta(days=1)
_OVER = NOON + timedelta(days=1)
Looks = Callable[..., list[date]]


@pytest.fixture
def session() -> Iterator[Session]:
    """DuckDB's always: these close a day five times, and what is noted of a look is no engine's."""
    with duckdb_session(Settings()) as session:
        yield session


@pytest.fixture
def stale(session: Session, monkeypatch: pytest.MonkeyPatch) -> Looks:
    """Runs `--stale` and gives the dates that it closed."""
    monkeypatch.setattr("jobs.daily.main.session_for", lambda *_: nullcontext(session))

    def run_stale(settings: Settings, now: datetime, provisional: bool = False) -> list[date]:
        return [report.reco_date for report in run(settings, [], now, provisional=provisional)]

    return run_stale


def test_what_comes_during_a_run_is_found_after_it(session: Session, tmp_path: Path, stale: Looks) -> None:
    settings = small_lake.make(tmp_path, [small_lake.event("AGODA", "BK-1")])
    close_day(session, settings, _BEFORE, _OVER)
    going_on = inputs.newest(session, settings)
    small_lake.append(settings, [small_lake.event("SUPPLIER", "BK-1")], 1000)
    assert stale(settings, _OVER) == []
    noted = looked_to(settings)
    assert noted == going_on.pins.silver_version + 1
    close_day(session, settings, DAY, _OVER, source=going_on)
    assert looked_from(settings) == {_BEFORE: noted, DAY: going_on.pins.silver_version}
    assert stale(settings, _OVER) == [DAY]
    assert stale(settings, _OVER) == []


def test_a_day_that_is_not_over_is_left_to_a_later_look(session: Session, tmp_path: Path, stale: Looks) -> None:
    settings = small_lake.make(tmp_path, [small_lake.event("AGODA", "BK-1")])
    close_day(session, settings, DAY, NOON, provisional=True)
    small_lake.append(settings, [small_lake.event("SUPPLIER", "BK-1")], 1000)
    assert stale(settings, NOON) == []
    assert stale(settings, NOON, provisional=True) == [DAY]
    small_lake.append(settings, [small_lake.event("SUPPLIER", "BK-2")], 2000)
    assert stale(settings, NOON) == []
    assert stale(settings, _OVER) == [DAY]
    assert stale(settings, _OVER) == []


def test_a_first_publication_that_is_read_late_makes_its_day_stale(session: Session, tmp_path: Path) -> None:
    again = small_lake.event("AGODA", "BK-1", kafka_time=NOON + timedelta(hours=3))
    settings = small_lake.make(tmp_path, [again, small_lake.event("SUPPLIER", "BK-1")])
    assert close_day(session, settings, DAY, _OVER).anomaly_counts == {"DELAYED_AGODA": 1}
    small_lake.append(settings, [again, again | {"kafka_time": NOON + timedelta(hours=4)}], 1000)
    assert stale_dates(session, settings) == []
    small_lake.append(settings, [again | {"kafka_time": NOON}], 2000)
    assert stale_dates(session, settings) == [DAY]
    assert close_day(session, settings, DAY, _OVER).anomaly_counts == {}


def test_a_first_publication_is_found_where_the_event_itself_is_newer_than_the_oldest_pin(
    session: Session, tmp_path: Path, stale: Looks
) -> None:
    settings = small_lake.make(tmp_path, [small_lake.event("SUPPLIER", "BK-1")])
    close_day(session, settings, _BEFORE, _OVER)
    again = small_lake.event("AGODA", "BK-1", kafka_time=NOON + timedelta(hours=3))
    small_lake.append(settings, [again], 1000)
    assert close_day(session, settings, DAY, _OVER).anomaly_counts == {"DELAYED_AGODA": 1}
    small_lake.append(settings, [again | {"kafka_time": NOON + timedelta(seconds=5)}], 2000)
    assert stale(settings, _OVER) == [DAY]
    assert stale(settings, _OVER) == []


def test_a_day_that_a_killed_close_left_half_written_is_stale(
    session: Session, tmp_path: Path, stale: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its new facts are there and no longer tell of what drew it in: the look must not go by them alone."""
    settings = small_lake.make(tmp_path, [small_lake.event("AGODA", "BK-1")])
    close_day(session, settings, DAY, _OVER)
    small_lake.append(settings, [small_lake.event("SUPPLIER", "BK-1")], 1000)
    with monkeypatch.context() as killed:
        killed.setattr("jobs.daily.close._record", _killed)
        with pytest.raises(RuntimeError, match="killed"):
            close_day(session, settings, DAY, _OVER)
    versions = dict.fromkeys(looked_from(settings), 99)
    assert stale_dates(session, settings, versions) == [DAY]
    assert stale(settings, _OVER) == [DAY]
    assert stale_dates(session, settings, versions) == []


def _killed(*_: object) -> None:
    raise RuntimeError("killed")
