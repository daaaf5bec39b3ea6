"""The notebooks run, without a JVM and by Spark, and what is kept of them is in step with its source."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from polars.testing import assert_frame_equal
from pyspark.sql import SparkSession

from jobs.common.errors import FAILED, UserError
from jobs.common.notebook import Reader
from jobs.common.policies import apply
from jobs.common.policy_file import BUILT_IN
from jobs.common.settings import Lake, Settings
from jobs.daily.close import Report

jupytext = pytest.importorskip("jupytext", reason="the extra notebooks is not installed")
nbformat = pytest.importorskip("nbformat")
mpl = pytest.importorskip("matplotlib")

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "notebooks").glob("*.py"))
NAMES = [source.stem for source in SOURCES]
TOOL = [sys.executable, "tools/notebooks.py"]
Closed = tuple[Settings, Report]


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def text_of(notebook: Any) -> str:
    """What the cells show as text."""
    return "\n".join(one.get("text") or one.get("data", {}).get("text/plain", "") for one in outputs(notebook))


def images(notebook: Any) -> int:
    return sum("image/png" in output.get("data", {}) for output in outputs(notebook))


def test_there_are_three() -> None:
    assert NAMES == ["audit_of_a_close", "breaks_of_a_day", "supplier_scorecard"]


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_what_is_kept_is_in_step_with_its_source_and_can_be_read_without_running(source: Path) -> None:
    file = source.with_suffix(".ipynb")
    kept, fresh = nbformat.read(file, as_version=4), jupytext.read(source)
    told = [[(cell.cell_type, cell.source) for cell in notebook.cells] for notebook in (kept, fresh)]
    assert told[0] == told[1], f"make notebooks makes {file.name} anew"
    nbformat.validate(kept)
    assert images(kept) >= 1
    assert file.stat().st_size < 500_000
    assert not [output for output in outputs(kept) if output.output_type == "error"]


def test_they_run_without_a_jvm_over_a_lake(closed: Closed, tmp_path: Path) -> None:
    settings, report = closed
    # Other tests of this room add closes to the lake that never were.
    command = [*TOOL, "--lake", settings.lake.root, "--out", str(tmp_path), "--set", f"CLOSE_ID={report.close_id}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = {name: nbformat.read(tmp_path / f"{name}.ipynb", as_version=4) for name in NAMES}
    assert [images(made[name]) for name in NAMES] == [1, 3, 4]
    assert f"{report.facts} activities, 16.67% of them matched" in text_of(made["breaks_of_a_day"])
    assert "BK-ALONE" in text_of(made["breaks_of_a_day"])
    assert "SUP-007: 16.67% of 6 activities agree" in text_of(made["supplier_scorecard"])
    audit = text_of(made["audit_of_a_close"])
    assert "2 totals: 0 differ from the facts, 0 do not balance." in audit
    assert f"reco replay {report.close_id}" in audit
    # What came after the close: BK-LATE of both sides, and an answer to BK-ALONE.
    late = [line.split() for line in audit.splitlines() if " AGODA " in line or " SUPPLIER " in line]
    assert [(words[1], words[-2]) for words in late] == [("AGODA", "1"), ("SUPPLIER", "2")]
    # The source is not touched by what was changed for one run.
    assert [cell.source for cell in made["breaks_of_a_day"].cells] == [
        cell.source for cell in jupytext.read(ROOT / "notebooks/breaks_of_a_day.py").cells
    ]


@pytest.mark.parametrize(
    "source",
    # A replay by Spark takes as long as all else here.
    [pytest.param(s, marks=pytest.mark.long if s.stem == "audit_of_a_close" else (), id=s.stem) for s in SOURCES],
)
def test_they_run_by_spark_and_the_audit_replays_to_the_same_hash(
    spark: SparkSession,
    closed: Closed,
    source: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings, report = closed
    mpl.use("agg")
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: mpl.pyplot.close("all"))
    values: dict[str, Any] = {}
    for cell in jupytext.read(source).cells:
        if cell.cell_type == "code":
            exec(cell.source, values)
        if "parameters" in cell.metadata.get("tags", []):
            values |= {"LAKE": settings.lake.root, "ENGINE": "spark", "CLOSE_ID": report.close_id}
    assert values["reader"].spark is not None
    said = capsys.readouterr().out
    assert (f"replayed {report.content_hash}" in said) == (source.stem == "audit_of_a_close")
    assert spark.catalog.listTables() == []


def test_both_engines_answer_alike(spark: SparkSession, closed: Closed) -> None:
    settings, report = closed
    readers = Reader(settings.lake.root), Reader(settings.lake.root, "spark")
    facts = "activity_id, outcome, agoda_event_time, price_diff_usd, skew_seconds, close_id from reconciliation_facts"
    kinds = "anomaly_type, count(*) as n, sum(amount_at_risk_usd) as usd from anomalies"
    for question in (
        f"* from control_totals where close_id = '{report.close_id}' order by supplier_id, side",
        f"{facts} where reco_date = date '2026-03-10' order by activity_id",
        f"{kinds} group by anomaly_type order by anomaly_type",
    ):
        one, other = (reader.ask(f"select {question}") for reader in readers)
        assert one.height > 0
        assert_frame_equal(one, other, check_dtypes=False)
    deliveries = "select count(*) as n from activity"
    for reader in readers:
        pin = reader.ask(f"select silver_version from closes where close_id = '{report.close_id}'").item()
        assert reader.ask(deliveries).item() == reader.ask(deliveries, activity=pin).item() + 3
        assert reader.version_at("activity", datetime.now(UTC)) == pin + 1


def test_the_policy_that_held_is_asked_of_either_engine(spark: SparkSession, tmp_path: Path) -> None:
    settings = Settings(lake=Lake(root=str(tmp_path / "lake")))
    file = tmp_path / "policies.yaml"
    file.write_text("version: 1\ndefaults: {grace: 2h}\nsuppliers:\n  SUP-1: {grace: 5m}\n")
    version = apply(settings, file, datetime.now(UTC))
    for engine in ("polars", "spark"):
        reader = Reader(settings.lake.root, engine)
        assert [reader.policy(name, version).grace for name in ("SUP-1", "SUP-2")] == [300, 7200]
        assert reader.policy("SUP-1", 0) == BUILT_IN


def test_what_is_not_there_is_named(tmp_path: Path, spark: SparkSession) -> None:
    with pytest.raises(UserError, match="ENGINE is 'pandas': write polars"):
        Reader(str(tmp_path), "pandas")
    for engine in ("polars", "spark"):
        with pytest.raises(UserError, match=f"{tmp_path} has no table gold/closes: set LAKE") as caught:
            Reader(str(tmp_path), engine).ask("select max(reco_date) from closes")
        assert caught.value.exit_code == FAILED
    done = subprocess.run([*TOOL, "--lake", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_a_moment_before_the_first_commit_is_named(closed: Closed, spark: SparkSession) -> None:
    for engine in ("polars", "spark"):
        reader = Reader(closed[0].lake.root, engine)
        with pytest.raises(UserError, match=r"gold/closes has no version as old as 2000-01-01 00:00:00\+00:00"):
            reader.version_at("closes", datetime(2000, 1, 1, tzinfo=UTC))
