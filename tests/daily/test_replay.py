"""A replay gives the recorded hash after more data has come, and says so where it does not."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F

from jobs.common import tables
from jobs.common.command import run_function
from jobs.common.engines import Session
from jobs.common.errors import FAILED, USAGE, UserError
from jobs.common.settings import Settings
from jobs.daily.close import Report
from jobs.daily.replay import Replay, command, replay, sentences

Closed = tuple[Settings, Report]


def record(spark: SparkSession, settings: Settings, close_id: str, **changed: Column) -> None:
    """A row of gold/closes like the real one, but for what is changed."""
    path = settings.table_path("closes")
    row = tables.read(spark, path).where(F.col("close_id") == "2026-03-10-r1")
    row = row.withColumns({"close_id": F.lit(close_id), **changed})
    row.write.format("delta").mode("append").save(path)


def test_it_is_equal_after_more_data_has_come(session: Session, closed: Closed) -> None:
    settings, report = closed
    found = replay(session, settings, report.close_id)
    assert found.equal
    assert found.replayed_hash == report.content_hash
    assert found.differences() == {}
    assert not Path(settings.lake.root, "_replay").exists()


def test_it_leaves_alone_what_others_write_and_takes_away_what_the_killed_left(
    session: Session, closed: Closed
) -> None:
    settings, report = closed
    place = Path(settings.lake.root, "_replay")
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    kept, running, left = (
        place / name
        for name in (
            report.close_id,
            f"{report.close_id}.{socket.gethostname()}.{os.getppid()}",
            f"{report.close_id}.{socket.gethostname()}.{killed.pid}",
        )
    )
    for folder in (kept, running, left):
        folder.mkdir(parents=True)
    assert replay(session, settings, report.close_id).equal
    assert sorted(place.iterdir()) == [kept, running]
    shutil.rmtree(place)


@pytest.mark.long
def test_sigterm_ends_it_with_nothing_left(closed: Closed) -> None:
    settings, report = closed
    place = Path(settings.lake.root, "_replay")
    command = [sys.executable, "-m", "jobs.cli.main", "replay", report.close_id, "--engine", "duckdb"]
    environment = {**os.environ, "RECO_LAKE__ROOT": settings.lake.root}
    with subprocess.Popen(command, env=environment) as process:
        deadline = time.monotonic() + 120
        while not place.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.terminate()
        assert process.wait(120) == 130
    assert not place.exists()


def test_what_was_tampered_with_is_named(
    spark: SparkSession, closed: Closed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, report = closed
    forged = F.create_map(F.lit("MATCHED"), F.lit(99).cast("long"))
    record(spark, settings, "forged", content_hash=F.lit("0" * 64), outcomes=forged, code_version=F.lit("0.0.1"))
    monkeypatch.setenv("RECO_LAKE__ROOT", settings.lake.root)
    assert run_function(command, ["forged", "--json", "--keep"], "replay") == FAILED
    told = json.loads(capsys.readouterr().out)
    assert told["equal"] is False
    assert told["differences"]["outcome MATCHED"] == [99, report.outcomes["MATCHED"]]
    assert "anomaly PRICE_MISMATCH" not in told["differences"]
    assert told["recorded_code"] == "0.0.1"
    assert told["says"][0].startswith("Different: what comes out now is not what was recorded")
    kept = tables.read(spark, f"{told['kept']}/reconciliation_facts")
    assert kept.count() == report.facts


def test_inputs_that_are_gone_are_named(spark: SparkSession, session: Session, closed: Closed) -> None:
    settings, _ = closed
    record(spark, settings, "vacuumed", silver_version=F.lit(77).cast("long"))
    with pytest.raises(UserError, match=r"silver/activity at version 77.*VACUUM") as error:
        replay(session, settings, "vacuumed")
    assert error.value.exit_code == FAILED


def test_an_unknown_close_is_told_what_there_is(session: Session, closed: Closed) -> None:
    settings, _ = closed
    with pytest.raises(UserError, match=r"no close 2020-01-01-r1 .*2026-03-10-r1") as error:
        replay(session, settings, "2020-01-01-r1")
    assert error.value.exit_code == USAGE


def test_the_sentences_tell_code_and_place() -> None:
    counts = {"outcome MATCHED": 1}
    same = Replay("c", date(2026, 3, 10), "a", "b", counts, counts, "1", "2", "/somewhere")
    told = " ".join(sentences(same))
    assert "contents of the rows do not" in told
    assert "closed by version 1 and replayed by 2" in told
    assert "/somewhere" in told
