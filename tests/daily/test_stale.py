"""What `--stale` finds and when: beside a run that goes on, before a day is over, and published out of order."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from jobs.common.engines import Session
from jobs.common.engines.duckdb import duckdb_session
from jobs.common.errors import UserError
from jobs.common.lake import open_table, read
from jobs.common.sections import Maintenance
from jobs.common.settings import Settings
from jobs.common.stale_mark import looked_from, looked_to
from jobs.daily import inputs
from jobs.daily.close import close_day
from jobs.daily.main import run
from jobs.daily.revisions import stale_dates
from jobs.maintain.tidy import tidy
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


def test_the_next_morning_makes_only_that_day_stale_whose_facts_it_may_change(session: Session, tmp_path: Path) -> None:
    evening, midnight = NOON + timedelta(hours=8), NOON + timedelta(hours=12)
    before = midnight - timedelta(minutes=10)
    settings = small_lake.make(
        tmp_path,
        [
            *small_lake.pair("BK-NOON"),
            small_lake.event("AGODA", "BK-EVENING", event_time=evening),
            small_lake.event("AGODA", "BK-SPLIT", event_time=before),
            small_lake.event("SUPPLIER", "BK-SPLIT", event_time=before, status="PAID"),
            small_lake.event("AGODA", "BK-SPLIT", event_time=midnight + timedelta(minutes=10), version=2),
        ],
    )
    close_day(session, settings, DAY, _OVER)
    on_time = [
        small_lake.event("AGODA", "BK-NEW", event_time=midnight + timedelta(minutes=1)),
        small_lake.event("SUPPLIER", "BK-NOON", event_id="S2", version=2, event_time=midnight + timedelta(minutes=1)),
        small_lake.event("SUPPLIER", "BK-EVENING", event_time=midnight + timedelta(minutes=59)),
        small_lake.event("SUPPLIER", "BK-EVENING", event_id="S2", version=2, event_time=midnight + timedelta(hours=7)),
        small_lake.event("SUPPLIER", "BK-SPLIT", event_id="S2", version=2, event_time=midnight + timedelta(hours=7)),
        # Sent again within the millisecond, under a policy whose grace would not carry it over midnight.
        small_lake.event("AGODA", "BK-SPLIT", event_time=midnight + timedelta(minutes=10), version=2)
        | {"policy_version": 1, "grace_seconds": 60},
    ]
    for number, event in enumerate(on_time, start=1):
        small_lake.append(settings, [event], number * 1000)
        assert stale_dates(session, settings) == [], event


@pytest.mark.parametrize(
    "minutes_and_grace",
    [
        pytest.param((20, 3600), id="drawn"),
        pytest.param((65, 3600), id="in a chain", marks=pytest.mark.long),
        pytest.param((80, 60), id="parted", marks=pytest.mark.long),
    ],
)
def test_what_follows_over_midnight_makes_the_day_stale(
    session: Session, tmp_path: Path, minutes_and_grace: tuple[int, int]
) -> None:
    """The last one breaks the chain by which a third event belonged to the day before."""
    minutes, grace = minutes_and_grace
    midnight = NOON + timedelta(hours=12)
    settings = small_lake.make(
        tmp_path,
        [
            small_lake.event("AGODA", "BK-1", event_time=midnight - timedelta(minutes=5)),
            small_lake.event("SUPPLIER", "BK-1", event_time=midnight + timedelta(minutes=10)),
            small_lake.event(
                "SUPPLIER",
                "BK-1",
                event_id="S2",
                version=2,
                event_time=midnight + timedelta(minutes=90),
                grace_seconds=3 * 3600,
            ),
        ],
    )
    close_day(session, settings, DAY, _OVER)
    late = midnight + timedelta(minutes=minutes)
    event = small_lake.event("AGODA", "BK-1", event_id="A9", version=3, event_time=late, grace_seconds=grace)
    small_lake.append(settings, [event], 1000)
    assert stale_dates(session, settings) == [DAY]
    assert close_day(session, settings, DAY, _OVER).changes == {"CHANGED": 1}


def test_a_look_reads_the_days_that_new_events_reach(session: Session, tmp_path: Path) -> None:
    """The files of all other days cannot be read, but for each table's first, by which its columns are known."""
    days = [DAY + timedelta(days=number) for number in range(-12, 13)]
    midnight = NOON + timedelta(hours=12)
    split = [
        small_lake.event("AGODA", "BK-SPLIT", event_time=midnight - timedelta(minutes=10)),
        small_lake.event("AGODA", "BK-SPLIT", event_id="A2", event_time=midnight + timedelta(minutes=10), version=2),
    ]
    each_day = [
        small_lake.event("AGODA", "BK-DAILY", event_id=f"A-{day}", event_time=NOON + (day - DAY))
        for day in days
        if day != DAY
    ]
    settings = small_lake.make(tmp_path, [*split, *each_day])
    silver, facts = settings.table_path("activity"), settings.table_path("reconciliation_facts")
    for day in (DAY, DAY + timedelta(days=2), DAY + timedelta(days=12)):
        close_day(session, settings, day, _OVER)
    needed = ("event_date=2026-03-10", "event_date=2026-03-11", "reco_date=2026-03-12")
    for file in [*DeltaTable(silver).file_uris()[1:], *DeltaTable(facts).file_uris()[1:]]:
        if not any(partition in file for partition in needed):
            Path(file).write_bytes(b"no Parquet")
    late = small_lake.event("SUPPLIER", "BK-SPLIT", event_time=midnight + timedelta(minutes=20))
    daily = small_lake.event("SUPPLIER", "BK-DAILY", event_time=midnight + timedelta(hours=13))
    small_lake.append(settings, [late, daily], 1000)
    assert stale_dates(session, settings) == [DAY, DAY + timedelta(days=2)]


def test_a_day_that_retention_has_taken_deliveries_of_keeps_its_last_close(
    session: Session, tmp_path: Path, stale: Looks
) -> None:
    """By what is left of it, what had matched would be gone, and what was answered late a break of the other side."""
    lake = small_lake.make(tmp_path, [*small_lake.pair("BK-1"), small_lake.event("AGODA", "BK-2")])
    days = Maintenance(keep_days=dict.fromkeys(("activity_raw", "activity", "quarantine"), 30))
    settings, later = lake.model_copy(update={"maintenance": days}), NOON + timedelta(days=20)
    own: dict[str, Any] = {"event_time": later, "ingested_at": later}
    small_lake.append(settings, [small_lake.event("AGODA", "BK-9", **own)], 1000)
    for day in (DAY, later.date()):
        close_day(session, settings, day, later + timedelta(days=1))
    now, table = NOON + timedelta(days=40), DeltaTable(settings.table_path("activity"))
    table.alter.set_table_properties({"delta.appendOnly": "false"})  # as the stream makes it
    report = tidy(settings, "activity", now, dry_run=False, vacuum_hours=None)
    assert report is not None
    assert report.rows_expired == 3
    late: dict[str, Any] = {"kafka_time": now, "ingested_at": now}
    answers = [small_lake.event("SUPPLIER", "BK-2", **late), small_lake.event("SUPPLIER", "BK-9", **own | late)]
    small_lake.append(settings, answers, 2000)
    with pytest.raises(UserError, match=f"{DAY} cannot be closed again: .*keep_days") as told:
        stale(settings, now)
    assert f"{later.date()} cannot" not in str(told.value)
    facts = read(open_table(settings, "reconciliation_facts"), "reconciliation_facts")
    assert sorted(facts.select("activity_id", "close_id", "outcome").iter_rows()) == [
        ("BK-1", f"{DAY}-r1", "MATCHED"),
        ("BK-2", f"{DAY}-r1", "MISSING_SUPPLIER"),
        ("BK-9", f"{later.date()}-r2", "MATCHED"),
    ]
    assert stale(settings, now) == []
    with pytest.raises(UserError, match="cannot be closed again"):
        close_day(session, settings, DAY, now)
    small_lake.append(settings, [*small_lake.pair("BK-1"), small_lake.event("AGODA", "BK-2")], 3000)
    assert close_day(session, settings, DAY, now).outcomes == {"MATCHED": 2}
