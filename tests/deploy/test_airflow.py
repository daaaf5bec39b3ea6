"""The DAG, imported and run by an Airflow of its own (`make test-airflow`)."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs.daily.close import close_day
from tests.daily import small_lake

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import airflow_env as tool  # noqa: E402

DAG = ROOT / "conf/airflow"


def asked(home: Path, *days: str, **env: str) -> dict[str, Any]:
    """What airflow_dag.py prints."""
    if not tool.is_there():
        pytest.skip("Airflow is not here; `make test-airflow` fetches it")
    command = [str(tool.python()), str(ROOT / "tests/deploy/airflow_dag.py"), str(DAG), *days]
    own = {**os.environ, "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False", **env}
    told = subprocess.run(command, capture_output=True, text=True, check=False, env=own, timeout=600, cwd=home)
    assert told.returncode == 0, told.stderr[-3000:] + told.stdout[-3000:]
    found: dict[str, Any] = json.loads(told.stdout.strip().splitlines()[-1])
    return found


def test_it_imports_and_its_tasks_follow_each_other(tmp_path: Path) -> None:
    found = asked(tmp_path)
    assert found["errors"] == {}
    dag = found["dags"]["reco_daily"]
    order = ["day_is_over", "close", "close_stale", "expectations", "export", "digest"]
    assert list(dag["tasks"]) == order
    assert [dag["tasks"][name]["upstream"] for name in order] == [[], *[[name] for name in order[:-1]]]
    assert {task["retries"] for task in dag["tasks"].values()} == {3}
    assert dag["max_active_runs"] == 1
    assert dag["deadlines"] == 1
    skips = {name for name, task in dag["tasks"].items() if task["trigger_rule"] == "none_failed"}
    assert skips == set(order[2:])  # a day that was closed before is checked and told all the same


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Airflow's own database, empty."""
    if not tool.is_there():
        pytest.skip("Airflow is not here; `make test-airflow` fetches it")
    env = {**os.environ, "AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    command = [str(tool.python().with_name("airflow")), "db", "migrate"]
    told = subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=600)
    assert told.returncode == 0, told.stderr[-3000:]
    return tmp_path


@pytest.mark.long
def test_a_day_is_closed_once_however_often_it_is_run(spark: SparkSession, database: Path) -> None:
    settings = small_lake.make(database / "lake", small_lake.events())
    close_day(spark, settings, small_lake.DAY, small_lake.NOON)
    progress = Path(str(settings.stream.checkpoint_root)) / "progress"
    progress.mkdir(parents=True, exist_ok=True)
    (progress / "match.json").write_text(
        json.dumps({"query": "match", "watermark": "2026-03-12T00:00:00+00:00"}) + "\n"
    )
    (database / "settings.yaml").write_text(f"lake: {{root: {settings.lake.root}}}\n")
    calls = database / "calls"
    env = {
        "RECO_HOME": str(ROOT),
        "RECO_AIRFLOW_SETTINGS": str(database / "settings.yaml"),
        "RECO_AIRFLOW_SUBMIT": f"echo >> {calls}",
        "RECO_AIRFLOW_EXPORT": f"echo exported >> {calls}",
    }
    states = asked(database, small_lake.DAY.isoformat(), **env)["states"]
    skipped = {name for name, state in states.items() if state == "skipped"}
    assert skipped == {"close"}
    assert {state for name, state in states.items() if name not in skipped} == {"success"}
    lines = calls.read_text().splitlines()
    assert [line.split()[-1] for line in lines] == ["--stale", "exported"]
