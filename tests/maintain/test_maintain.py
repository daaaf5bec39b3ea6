"""Maintenance without a JVM: fewer files, the same rows, and nothing removed that somebody needs."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Event, Thread

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from pyspark.sql.types import StructType

from jobs.cli.main import main
from jobs.common.arrow import delta_schema, polars_schema
from jobs.common.errors import FAILED, UserError
from jobs.common.lake import open_table, options_of
from jobs.common.lasting import lasting
from jobs.common.settings import Lake, Maintenance, Settings
from jobs.common.stale_mark import looked_to, note_looked
from jobs.maintain.main import maintain
from jobs.maintain.plan import wanted
from schemas.tables import TABLES
from tests.daily import small_lake
from tests.daily.small_lake import DAY, NOON

NOW = datetime.now(UTC)
LATER = NOW + timedelta(days=60)
Row = tuple[str, str, str]


def rows(settings: Settings, version: int | None = None) -> list[Row]:
    table = open_table(settings, "activity")
    assert table is not None
    if version is not None:
        table.load_as_version(version)
    return sorted(pl.scan_delta(table).select("activity_id", "source", "event_id").collect().rows())


def new_lake(root: Path | str) -> Settings:
    """A lake with a few events, its silver made as the stream makes it: rows may be removed from it."""
    settings = Settings(lake=Lake(root=str(root)))
    silver = TABLES["activity"]
    DeltaTable.create(
        settings.table_path("activity"),
        delta_schema(silver.schema),
        partition_by=list(silver.partition_by),
        configuration={**silver.all_properties, **lasting("activity")},
        storage_options=options_of(str(root)),
    )
    small_lake.append(settings, small_lake.events(), 1)
    return settings


def grown(root: Path | str, commits: int = 12) -> Settings:
    """The same, written by many small batches."""
    settings = new_lake(root)
    for number in range(1, commits):
        small_lake.append(settings, small_lake.pair(f"BK-{number}"), 1000 * number)
    return settings


def closed(settings: Settings, day: date, version: int, revision: int = 1) -> None:
    """A row of gold/closes that is pinned to a version of silver."""
    row = {"close_id": f"{day}-r{revision}", "reco_date": day, "revision": revision, "silver_version": version}
    row |= {"policies_table_version": None, "fx_table_version": None}
    schema = polars_schema(StructType([field for field in TABLES["closes"].schema.fields if field.name in row]))
    write_deltalake(settings.table_path("closes"), pl.DataFrame([row], schema=schema), mode="append")


def in_the_log(settings: Settings, name: str = "activity") -> set[int]:
    log = Path(settings.table_path(name)) / "_delta_log"
    return {int(path.name[:20]) for path in log.glob("*.json")}


def test_small_files_are_put_together_and_no_row_is_touched(tmp_path: Path) -> None:
    settings = grown(tmp_path)
    before = rows(settings)
    told = {report.table: report for report in maintain(settings, NOW, vacuum_hours=0)}["silver/activity"]
    assert (told.before.files, told.after.files) == (13, 2)
    assert told.after.stored_files == 2
    assert rows(settings) == before
    table = open_table(settings, "activity")
    assert table is not None
    version = table.version()
    assert maintain(settings, NOW, ["activity"], vacuum_hours=0)[0].partitions == 0
    table.update_incremental()
    assert table.version() == version


def test_a_dry_run_tells_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = grown(tmp_path)
    before = sorted(path for path in tmp_path.rglob("*"))
    monkeypatch.setenv("RECO_LAKE__ROOT", settings.lake.root)
    with pytest.raises(SystemExit, match="0"):
        main(["maintain", "--dry-run", "--json"])
    told = json.loads(capsys.readouterr().out)["tables"]
    assert [(one["table"], one["partitions"]) for one in told] == [("silver/activity", 1)]
    assert sorted(path for path in tmp_path.rglob("*")) == before
    with pytest.raises(SystemExit, match="2"):
        main(["maintain", "--table", "nonsense"])
    assert "nonsense is no table" in capsys.readouterr().err


def test_what_a_close_is_pinned_to_stays_in_files_and_log(tmp_path: Path) -> None:
    settings = grown(tmp_path, 5)
    seen: dict[int, list[Row]] = {}
    for number in range(4):
        small_lake.append(settings, small_lake.pair(f"BK-D{number}"), 10_000 + 1000 * number)
        table = open_table(settings, "activity")
        assert table is not None
        seen[table.version()] = rows(settings)
        closed(settings, DAY + timedelta(days=number), table.version())
        small_lake.append(settings, small_lake.pair(f"BK-E{number}"), 20_000 + 1000 * number)
        maintain(settings, NOW, vacuum_hours=0)
    note_looked(settings, max(seen))
    now = rows(settings)
    report = maintain(settings, LATER, ["activity"], vacuum_hours=0)[0]
    assert report.log_files_removed > 0
    assert {version: rows(settings, version) for version in seen} == seen
    assert rows(settings) == now
    unpinned = sorted(set(range(1, max(seen))) - in_the_log(settings))
    assert unpinned, "commits that nothing is made of are gone"


def test_what_the_next_look_for_late_events_reads_stays(tmp_path: Path) -> None:
    settings = grown(tmp_path, 6)
    closed(settings, DAY, 3)
    report = maintain(settings, LATER, ["activity"])[0]
    assert "reco daily --stale" in report.notes[0]
    assert set(range(4, 6)) <= in_the_log(settings)
    assert "older than what its log tells of" in report.notes[1]
    assert report.files_removed == 0
    note_looked(settings, 5)
    note_looked(settings, 4)
    assert looked_to(settings) == 5
    assert maintain(settings, NOW, ["activity"])[0].notes == []
    # A close that was going on while --stale looked: the next look reads from its pin on.
    closed(settings, DAY + timedelta(days=1), 4)
    assert wanted(settings, "activity", 5, NOW).since == 4


def test_a_pin_beyond_the_table_is_refused(tmp_path: Path) -> None:
    settings = grown(tmp_path, 3)
    closed(settings, DAY, 77)
    with pytest.raises(UserError, match=r"pinned to versions of silver/activity that are not there \(77") as error:
        maintain(settings, NOW)
    assert error.value.exit_code == FAILED


def test_tables_of_the_audit_keep_every_version(tmp_path: Path) -> None:
    settings = grown(tmp_path, 2)
    for number in range(1, 6):
        closed(settings, DAY + timedelta(days=number), 1)
    report = maintain(settings, LATER, ["closes"], vacuum_hours=0)[0]
    assert (report.before.files, report.after.files, report.after.stored_files) == (5, 1, 6)
    assert in_the_log(settings, "closes") >= set(range(6))


def test_old_rows_go_where_the_settings_say_so_and_news_of_old_days_stay(tmp_path: Path) -> None:
    settings = new_lake(tmp_path)
    old = small_lake.event("AGODA", "BK-OLD", event_time=NOON - timedelta(days=90), kafka_time=NOON)
    gone = old | {"activity_id": "BK-GONE", "ingested_at": NOON - timedelta(days=90)}
    small_lake.append(settings, [old, gone], 1000)
    keep = settings.model_copy(
        update={"maintenance": Maintenance(keep_days=dict.fromkeys(("activity_raw", "activity", "quarantine"), 30))}
    )
    now = NOON + timedelta(days=2)
    assert maintain(keep, now, ["activity"], dry_run=True)[0].rows_expired == 1
    maintain(keep, now, ["activity"], vacuum_hours=0)
    left = {row[0] for row in rows(settings)}
    assert "BK-GONE" not in left
    assert {"BK-OLD", "BK-OK"} <= left


@pytest.mark.parametrize(
    ("days", "sentence"),
    [({"closes": 90}, "closes is none of"), ({"activity": 90}, "go together"), ({"nrt_results": 3}, "30")],
)
def test_retention_that_would_lie_is_refused(
    monkeypatch: pytest.MonkeyPatch, days: dict[str, int], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RECO_MAINTENANCE__KEEP_DAYS", json.dumps(days))
    with pytest.raises(SystemExit, match="2"):
        main(["maintain"])
    assert sentence in capsys.readouterr().err


@contextmanager
def writing(settings: Settings) -> Iterator[list[int]]:
    """A job that appends without a pause; what failed is raised at the end."""
    stop, written = Event(), [0]
    failed: list[Exception] = []

    def write() -> None:
        try:
            while not stop.is_set():
                small_lake.append(settings, small_lake.pair(f"BK-W{written[0]}"), 100_000 + 10 * written[0])
                written[0] += 1
        except Exception as error:
            failed.append(error)

    thread = Thread(target=write)
    thread.start()
    try:
        yield written
    finally:
        stop.set()
        thread.join(60)
    assert failed == []


def test_beside_a_job_that_writes_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    settings = grown(tmp_path)
    before = len(rows(settings))
    with writing(settings) as written:
        for _ in range(5):
            maintain(settings, NOW, ["activity"])
    found = rows(settings)
    assert written[0] > 0
    assert len(found) == before + 2 * written[0]
    assert len(set(found)) == len({*found})
    assert {f"BK-W{number}" for number in range(written[0])} <= {row[0] for row in found}
