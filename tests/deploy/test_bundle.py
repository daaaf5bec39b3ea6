"""databricks.yml and the jobs of `reco deploy databricks`, by the types that Databricks publishes for its bundles."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs.common.session import AVRO_LIMITS
from jobs.common.settings import load_settings
from jobs.deploy.config import Job, Target, read_deploy
from jobs.deploy.main import built
from jobs.deploy.requests import Order
from tests.deploy.test_databricks import files_of

ROOT = Path(__file__).parents[2]
BUNDLE: dict[str, Any] = yaml.safe_load((ROOT / "databricks.yml").read_text())
JOBS: dict[str, Any] = BUNDLE["resources"]["jobs"]


def refused(job: dict[str, Any]) -> str:
    """What Databricks' own types have against a job; empty for nothing. Raises where a key or a type is unknown."""
    jobs = pytest.importorskip("databricks.bundles.jobs", reason="databricks-bundles is not installed")
    jobs.Job.from_dict(job)
    return ""


@pytest.mark.parametrize("name", sorted(JOBS))
def test_each_job_is_one_by_databricks_own_types(name: str) -> None:
    assert refused(JOBS[name]) == ""


def test_those_types_would_notice() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        refused({**JOBS["reco_daily"], "nonsense": 1})


@pytest.mark.parametrize("job", list(Job))
def test_what_reco_deploy_sends_is_one_too(job: Job) -> None:
    deploy = read_deploy(ROOT / "conf/deploy.yaml")
    assert refused(built(deploy, Target.DATABRICKS, Order(job, ["--stale"]), files_of(job))) == ""


def test_what_the_bundle_names_is_there() -> None:
    variables = {name: str(value["default"]) for name, value in BUNDLE["variables"].items()}
    for job in JOBS.values():
        clusters = {one["job_cluster_key"]: one["new_cluster"] for one in job["job_clusters"]}
        keys = [task["task_key"] for task in job["tasks"]]
        for task in job["tasks"]:
            assert (ROOT / task["spark_python_task"]["python_file"]).exists()
            assert all(one["task_key"] in keys for one in task.get("depends_on", []))
            conf = clusters[task["job_cluster_key"]]["spark_conf"]
            assert conf["spark.executor.extraJavaOptions"].split() == list(AVRO_LIMITS)
    load_settings(ROOT / variables["settings"])
    text = (ROOT / "databricks.yml").read_text()
    used = {word.split("}")[0] for word in text.split("${var.")[1:]}
    assert used == set(variables)


def test_the_stream_is_kept_alive_and_never_doubled() -> None:
    stream, daily = JOBS["reco_streaming"], JOBS["reco_daily"]
    assert stream["continuous"] == {"pause_status": "UNPAUSED"}
    assert stream["max_concurrent_runs"] == daily["max_concurrent_runs"] == 1
    assert all("max_retries" not in task for task in stream["tasks"])  # refused for continuous jobs
    assert all(task["max_retries"] == 3 for task in daily["tasks"])
    assert all(job["email_notifications"]["on_failure"] for job in JOBS.values())


def test_the_daily_jobs_arguments_are_the_jobs_own() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "jobs.daily", "--settings", "none.yaml", "--date", "yesterday"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert told.returncode == 2
    assert "There is no settings file none.yaml" in told.stderr
