"""Two closes of one date at once: one of them wins, the other says so and leaves nothing."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from jobs.common.engines import duckdb
from jobs.common.engines.duckdb import duckdb_session
from jobs.common.errors import FAILED
from jobs.common.settings import Settings
from jobs.daily import close
from jobs.daily.close import close_day
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
    return sorted(facts["activity_id"]), closes["close_id"].to_list()
