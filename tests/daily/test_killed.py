"""A close by DuckDB that is killed leaves each table as it was or as it will be, and can be run again."""

import os
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
from jobs.common.settings import Daily, Settings
from jobs.daily.close import close_day
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


@pytest.mark.parametrize(
    ("moment", "table"), [(before_the_second, "reconciliation_facts"), (after_the_second, "anomalies")]
)
def test_killed_and_run_again(
    moment: Callable[[Settings, str], Callable[[], bool]], table: str, tmp_path: Path
) -> None:
    lakes = [small_lake.make(tmp_path / name, small_lake.events()) for name in ("undisturbed", "killed")]
    whole, killed = lakes
    with duckdb_session(whole) as session:
        for settings in lakes:
            close_day(session, settings, DAY, NOON)
            small_lake.append(settings, _LATE, 1000)
        before = gold(killed)
        expected = close_day(session, whole, DAY, NOON)
        after = gold(whole)
        come = moment(killed, table)
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        environment = {
            **os.environ,
            "RECO_LAKE__ROOT": killed.lake.root,
            "RECO_DAILY__DUCKDB_FOLDER": str(scratch),
        }
        command = [sys.executable, "-m", "jobs.cli.main", "daily", "--date", str(DAY), "--engine", "duckdb"]
        child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + _PATIENCE
        while not come() and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        assert child.poll() is None, "it ended before it could be killed"
        child.send_signal(signal.SIGKILL)
        child.wait()
        for name, rows in gold(killed).items():
            assert rows in (before[name], after[name]), name
        assert len(list(scratch.iterdir())) == 1
        found = close_day(session, killed, DAY, NOON)
    assert found == expected
    assert gold(killed) == after
    with duckdb_session(killed.model_copy(update={"daily": Daily(duckdb_folder=scratch)})):
        assert [folder.name.split("-")[2] for folder in scratch.iterdir()] == [str(os.getpid())]
    assert list(scratch.iterdir()) == []
