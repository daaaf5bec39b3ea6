"""What a scheduler asks of one day (jobs/deploy/day.py), of the day that is closed for this room's tests anyway."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from deltalake import DeltaTable

from jobs.common.command import run
from jobs.common.settings import Settings
from jobs.daily.close import Report
from jobs.deploy.day import NO, build
from tests.daily.small_lake import DAY

Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Ask:
    def call(lake: str, *words: str) -> tuple[int, str, str]:
        settings = tmp_path / "settings.yaml"
        settings.write_text(f"lake: {{root: {lake}}}\n")
        code = run(build, [*words, "--settings", str(settings)], "day")
        told = capsys.readouterr()
        return code, told.out, told.err

    return call


@pytest.mark.parametrize(
    ("watermark", "code"), [(None, NO), ("2026-03-11T11:59:59+00:00", NO), ("2026-03-11T12:00:00+00:00", 0)]
)
def test_a_day_is_over_twelve_hours_after_its_end(ask: Ask, tmp_path: Path, watermark: str | None, code: int) -> None:
    if watermark:
        progress = tmp_path / "lake/_checkpoints/progress"
        progress.mkdir(parents=True)
        (progress / "match.json").write_text(json.dumps({"query": "match", "watermark": watermark}) + "\n")
    told = ask(str(tmp_path / "lake"), "over", DAY.isoformat())
    assert told[0] == code
    assert told[2] == ""


def test_what_a_close_found_is_told_in_a_sentence(closed: tuple[Settings, Report], ask: Ask) -> None:
    settings, report = closed
    lake = settings.lake.root
    assert ask(lake, "closed", DAY.isoformat())[0] == 0
    assert ask(lake, "closed", "2026-03-01")[0] == NO
    code, told, _ = ask(lake, "check", DAY.isoformat())
    assert code == 0
    assert f"{report.facts} facts, {report.anomalies} anomalies" in told
    code, told, _ = ask(lake, "digest", DAY.isoformat())
    assert code == 0
    assert told.startswith(f"{report.close_id}: {report.facts} facts; ")
    assert "FX_RATE_MISSING 1 (0.00 USD, 1 unpriced)" in told
    assert "PRICE_MISMATCH 1 (13.60 USD)" in told
    found = json.loads(ask(lake, "digest", DAY.isoformat(), "--json")[1])
    assert {one["anomaly_type"]: one["breaks"] for one in found["anomalies"]} == report.anomaly_counts


def test_what_is_not_there_is_one_sentence(ask: Ask, tmp_path: Path) -> None:
    lake = str(tmp_path / "lake")
    assert ask(lake, "closed", DAY.isoformat())[0] == NO
    code, _, told = ask(lake, "check", DAY.isoformat())
    assert (code, told) == (1, "2026-03-10 is not closed: close it with `reco daily --date 2026-03-10`.\n")
    for text in ("10/3/2026", "20260310", "2026-W11-2"):
        told = f"{text} is no date: write it as YYYY-MM-DD, like 2026-03-09.\n"
        assert ask(lake, "over", text) == ask(lake, "check", text) == (2, "", told)


def test_a_table_that_lost_rows_is_noticed(closed: tuple[Settings, Report], ask: Ask, tmp_path: Path) -> None:
    settings, report = closed
    copy = tmp_path / "copy"
    shutil.copytree(settings.lake.root, copy)
    DeltaTable(str(copy / "gold/anomalies")).delete("anomaly_type = 'MISSING_SUPPLIER'")
    code, _, told = ask(str(copy), "check", DAY.isoformat())
    assert code == 1
    assert f"says {report.anomalies}: close the day again" in told
