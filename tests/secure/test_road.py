"""Every program over TLS and SCRAM with no more rights than docs/security.md lists, and nothing shows the password."""

import logging
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs.cli.main import main
from jobs.common.lake import open_table, read
from jobs.common.policies import apply
from jobs.streaming.main import run
from tests.secure.broker import PASSWORD
from tests.secure.conftest import Make
from tests.streaming.feed import consume, produce
from tests.streaming.nrt import POLICIES, beats, both
from tests.workloads.values import CLOCK

#: A part of the password that no escaping changes.
TELLTALE = "battery"


def test_the_stream_reads_and_writes_and_shows_the_password_nowhere(
    make: Make, spark: SparkSession, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert TELLTALE in PASSWORD
    caplog.set_level(logging.DEBUG)
    settings = make("relay", "stream")
    (tmp_path / "policies.yaml").write_text(POLICIES % ("DAILY_ONLY", "0.50"))
    apply(settings, tmp_path / "policies.yaml", CLOCK)
    produce(settings, [*both("B-1", 0), *beats(1)])
    run(settings, available_now=True)
    assert len(read(open_table(settings, "activity"), "activity").to_dicts()) == 2
    (verdict,) = read(open_table(settings, "nrt_results"), "nrt_results").to_dicts()
    assert verdict["outcome"] == "MATCHED"
    told = consume(settings, settings.topics.results)
    assert [key for _, key, _ in told] == [b"B-1"]
    out, err = capfd.readouterr()
    store = spark._jsparkSession.sharedState().statusStore()
    plans = [str(one.physicalPlanDescription()) for one in _each(store.executionsList())]
    assert any("SaveIntoDataSource" in plan or "kafka" in plan.lower() for plan in plans)
    shown = [out, err, caplog.text, *plans]
    assert [text for text in shown if TELLTALE in text] == []
    held = [path for path in tmp_path.rglob("*") if path.is_file() and TELLTALE.encode() in path.read_bytes()]
    assert held == []


def _each(scala: Any) -> list[Any]:
    return [scala.apply(number) for number in range(scala.size())]


def test_a_heartbeat_comes_through(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = make("heartbeat --side supplier", "status")
    with pytest.raises(SystemExit) as ended:
        main(["heartbeat", "--side", "supplier", "--once", "--settings", str(tmp_path / "settings.yaml")])
    assert ended.value.code == 0, capsys.readouterr().err
    assert settings.kafka.security.username
