"""A close by DuckDB that is killed leaves each table as it was or as it will be, and can be run again."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from jobs.common.engines.duckdb import duckdb_session
from jobs.common.errors import FAILED, UserError
from jobs.common.settings import Daily, Lake, Settings
from jobs.daily import close
from jobs.daily.checks import require_expectations
from jobs.daily.close import Report, close_day
from tests.daily import small_lake
from tests.daily.small_lake import DAY, NOON

Moment = Callable[[Settings, str], Callable[[], bool]]

_PATIENCE = 240
_LATE = [*small_lake.pair("BK-LATE"), small_lake.event("SUPPLIER", "BK-ALONE")]
_GOLD = {"reconciliation_facts": "activity_id", "anomalies": "anomaly_id", "exceptions": "exception_id"}


def gold(settings: Settings) -> dict[str, list[dict[str, Any]]]:
    """The tables of verdicts, sorted."""
    return {name: pl.scan_delta(settings.table_path(name)).sort(by).collect().to_dicts() for name, by in _GOLD.items()}


def commits(settings: Settings, name: str) -> int:
    return len(list(Path(settings.table_path(name), "_delta_log").glob("*.json")))


def before_the_second(settings: Settings, name: str) -> Callable[[], bool]:
    """Whether the second close has begun to write the table's files and has not committed them, as far as is seen."""
    files, known = Path(settings.table_path(name)), commits(settings, name)
    there = len(list(files.rglob("*.parquet")))
    return lambda: len(list(files.rglob("*.parquet"))) > there or commits(settings, name) > known


def after_the_second(settings: Settings, name: str) -> Callable[[], bool]:
    """Whether the second close has committed the table."""
    known = commits(settings, name)
    return lambda: commits(settings, name) > known


@pytest.fixture(scope="module")
def lakes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Settings, Report]:
    """A lake with one close and late events, the same lake after a second close, and what that reported."""
    root = tmp_path_factory.mktemp("lakes")
    once = small_lake.make(root / "once", small_lake.events())
    with duckdb_session(once) as session:
        close_day(session, once, DAY, NOON)
        small_lake.append(once, _LATE, 1000)
        twice = copied(once, root / "twice")
        return once, twice, close_day(session, twice, DAY, NOON)


def copied(settings: Settings, root: Path) -> Settings:
    shutil.copytree(settings.lake.root, root)
    return Settings(lake=Lake(root=str(root)), daily=Daily(duckdb_folder=root))


@pytest.mark.parametrize(
    ("moment", "table"),
    [
        (before_the_second, "reconciliation_facts"),
        pytest.param(after_the_second, "anomalies", marks=pytest.mark.long),
    ],
)
def test_killed_and_run_again(
    moment: Moment, table: str, lakes: tuple[Settings, Settings, Report], tmp_path: Path
) -> None:
    once, twice, expected = lakes
    killed = copied(once, tmp_path / "killed")
    come = moment(killed, table)
    root = killed.lake.root
    environment = {**os.environ, "RECO_LAKE__ROOT": root, "RECO_DAILY__DUCKDB_FOLDER": root}
    command = [sys.executable, "-m", "jobs.cli.main", "daily", "--date", str(DAY), "--engine", "duckdb"]
    child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + _PATIENCE
    while not come() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    assert child.poll() is None, "it ended before it could be killed"
    child.send_signal(signal.SIGKILL)
    child.wait()
    before, after = gold(once), gold(twice)
    for name, rows in gold(killed).items():
        assert rows in (before[name], after[name]), name
    assert scratch_of(killed) == [str(child.pid)]
    with duckdb_session(killed) as session:
        assert scratch_of(killed) == [str(os.getpid())]
        assert close_day(session, killed, DAY, NOON) == expected
    assert gold(killed) == after


def scratch_of(settings: Settings) -> list[str]:
    """The processes that have a folder for what does not fit into memory."""
    return [folder.name.split("-")[2] for folder in Path(settings.lake.root).glob("reco-duckdb-*")]


@pytest.mark.long
def test_a_close_that_was_recorded_meanwhile_keeps_its_number(
    lakes: tuple[Settings, Settings, Report], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = copied(lakes[0], tmp_path / "lake")
    command = [sys.executable, "-m", "jobs.cli.main", "daily", "--date", str(DAY), "--engine", "duckdb"]

    def meanwhile(*args: Any, **named: Any) -> Any:
        monkeypatch.undo()
        subprocess.run(command, env={**os.environ, "RECO_LAKE__ROOT": lake.lake.root}, check=True, capture_output=True)
        return done(*args, **named)

    done = require_expectations
    monkeypatch.setattr(close, "require_expectations", meanwhile)
    with duckdb_session(lake) as session, pytest.raises(UserError, match=r"another close .* \(2026-03-10-r2\)") as told:
        close_day(session, lake, DAY, NOON)
    assert told.value.exit_code == FAILED
    closes = pl.scan_delta(lake.table_path("closes")).sort("revision").collect()
    assert closes["revision"].to_list() == [1, 2]
    with duckdb_session(lake) as session:
        assert close_day(session, lake, DAY, NOON).content_hash == closes["content_hash"][1]
