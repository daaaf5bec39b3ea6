"""Two closes of one date at once: one of them wins, the other says so and leaves nothing."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import CommitProperties, write_deltalake

from jobs.common.engines import duckdb, duckdb_files
from jobs.common.engines.duckdb import duckdb_session
from jobs.common.errors import FAILED
from jobs.common.settings import Settings
from jobs.daily import close
from jobs.daily.close import close_day
from jobs.maintain.tidy import tidy
from tests.daily import small_lake
from tests.daily.small_lake import DAY, NOON


@pytest.mark.parametrize(
    ("owner", "step"), [(duckdb, "written"), pytest.param(close, "_record", marks=pytest.mark.long)]
)
def test_of_two_first_closes_the_one_that_writes_first_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, step: str
) -> None:
    settings, lost = small_lake.make(tmp_path, small_lake.pair("BK-OK")), []
    command = [sys.executable, "-m", "jobs.cli.main", "daily", "--date", str(DAY), "--engine", "duckdb"]
    environment = {**os.environ, "RECO_LAKE__ROOT": settings.lake.root}
    done = getattr(owner, step)

    def meanwhile(*args: Any) -> Any:
        monkeypatch.undo()
        small_lake.append(settings, small_lake.pair("BK-LATE"), 1000)
        other = subprocess.run(command, env=environment, capture_output=True, text=True)
        lost.append((other.returncode, other.stderr.splitlines()[-1].partition(" is being written")[0]))
        return done(*args)

    monkeypatch.setattr(owner, step, meanwhile)
    with duckdb_session(settings) as session:
        won = close_day(session, settings, DAY, NOON)
    assert lost == [(FAILED, "Another close of 2026-03-10")]
    assert whole(settings) == (["BK-OK"], ["2026-03-10-r1"])
    with duckdb_session(settings) as session:
        assert close_day(session, settings, DAY, NOON).changes == {"ADDED": 1}
    assert won.facts == 1


def whole(settings: Settings) -> tuple[list[str], list[str]]:
    """The activities of the day's facts, and its closes."""
    facts, closes = (pl.scan_delta(settings.table_path(name)).collect() for name in ("reconciliation_facts", "closes"))
    return sorted(facts["activity_id"]), sorted(closes["close_id"])


def test_maintenance_beside_a_close_leaves_each_fact_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = small_lake.make(tmp_path, small_lake.pair("BK-1"))
    path, partition = settings.table_path("reconciliation_facts"), f"reco_date = '{DAY}'"
    with duckdb_session(settings) as session:
        close_day(session, settings, DAY, NOON)
        facts = pl.scan_delta(path).collect()
        more = facts.with_columns(activity_id=pl.lit("BK-2"))
        write_deltalake(path, facts, mode="overwrite", predicate=partition, commit_properties=note_of("r1"))
        write_deltalake(path, more, mode="append", commit_properties=note_of("r1"))
        small_lake.append(settings, small_lake.pair("BK-2"), 1000)
        written, tidied = duckdb_files.written, []

        def meanwhile(*args: Any) -> Any:
            done = written(*args)
            report = tidy(settings, "reconciliation_facts", datetime.now(UTC), dry_run=False, vacuum_hours=None)
            tidied.append(report and report.partitions)
            return done

        monkeypatch.setattr(duckdb, "written", meanwhile)
        close_day(session, settings, DAY, NOON)
    assert tidied == [1]
    assert whole(settings) == (["BK-1", "BK-2"], ["2026-03-10-r1", "2026-03-10-r2"])


def note_of(revision: str) -> CommitProperties:
    """What a close's commit bears."""
    return CommitProperties(custom_metadata={"userMetadata": f"{DAY}-{revision}"})
