"""The DAG, imported and run by an Airflow of its own (`make test-airflow`)."""

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import write_deltalake
from pyspark.sql.types import MapType, StructType

from jobs.common.arrow import polars_schema
from jobs.common.settings import Lake, Settings
from schemas.tables import TABLES

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import airflow_env as tool  # noqa: E402

DAG = ROOT / "conf/airflow"
DAY = "2026-03-10"


def own(home: Path) -> dict[str, str]:
    """The environment of an Airflow that lives in this folder."""
    env = {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "AIRFLOW__CORE__DAGS_FOLDER": str(DAG)}
    return {**os.environ, **env}


def asked(home: Path, *days: str, **env: str) -> dict[str, Any]:
    """What airflow_dag.py prints."""
    if not tool.is_there():
        pytest.skip("Airflow is not here; `make test-airflow` fetches it")
    command = [str(tool.python()), str(ROOT / "tests/deploy/airflow_dag.py"), str(DAG), *days]
    told = subprocess.run(
        command, capture_output=True, text=True, check=False, env=own(home) | env, timeout=1200, cwd=home
    )
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
    """A folder with Airflow's own database, which knows the DAG."""
    if not tool.is_there():
        pytest.skip("Airflow is not here; `make test-airflow` fetches it")
    for words in (["db", "migrate"], ["dags", "reserialize"]):
        command = [str(tool.python().with_name("airflow")), *words]
        told = subprocess.run(command, capture_output=True, text=True, check=False, env=own(tmp_path), timeout=600)
        assert told.returncode == 0, told.stderr[-3000:]
    return tmp_path


def plain(name: str) -> StructType:
    """A table's columns but for maps, which Polars does not have."""
    return StructType([field for field in TABLES[name].schema.fields if not isinstance(field.dataType, MapType)])


def empty_close(root: Path) -> None:
    """A lake whose stream is far past the day, and in which the day is closed as an empty one; without a JVM."""
    settings = Settings(lake=Lake(root=str(root)))
    row = {"close_id": f"{DAY}-r1", "reco_date": date.fromisoformat(DAY), "revision": 1, "provisional": False}
    for name, rows in {
        "closes": [row | {"facts": 0, "anomalies": 0}],
        "reconciliation_facts": [],
        "anomalies": [],
    }.items():
        frame = pl.DataFrame(rows, schema=polars_schema(plain(name)), orient="row")
        write_deltalake(settings.table_path(name), frame)
    progress = root / "_checkpoints/progress"
    progress.mkdir(parents=True)
    (progress / "match.json").write_text(
        json.dumps({"query": "match", "watermark": "2026-03-12T00:00:00+00:00"}) + "\n"
    )


@pytest.mark.long
def test_a_day_that_is_closed_is_checked_and_told_and_not_closed_again(database: Path) -> None:
    empty_close(database / "lake")
    (database / "settings.yaml").write_text(f"lake: {{root: {database / 'lake'}}}\n")
    calls = database / "calls"
    env = {
        "RECO_HOME": str(ROOT),
        "RECO_AIRFLOW_SETTINGS": str(database / "settings.yaml"),
        "RECO_AIRFLOW_SUBMIT": f"echo >> {calls}",
        "RECO_AIRFLOW_EXPORT": f"echo exported $RECO_AIRFLOW_DAY >> {calls}",
    }
    states = asked(database, DAY, **env)["states"]
    skipped = {name for name, state in states.items() if state == "skipped"}
    assert skipped == {"close"}
    assert {state for name, state in states.items() if name not in skipped} == {"success"}
    assert [line.split()[-1] for line in calls.read_text().splitlines()] == ["--stale", DAY]
