"""The daily job on a cluster of processes, while a worker dies, and while its supervised driver does."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from jobs.common.settings import Settings
from tests.daily import small_lake
from tests.deploy.cluster import Cluster, clean_environment, cluster, wait_for

ROOT = Path(__file__).parents[2]
#: One executor on each worker; a table of a few rows needs no fifty tasks to read its log.
SMALL = ("--executor-memory", "1g", "--driver-memory", "1g", "--executor-cores", "2")
CONF = {
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.ui.enabled": "false",
}
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if not (ROOT / ".venv/bin/spark-submit").exists():
        pytest.skip("spark-submit.sh needs .venv; `make setup` makes it")
    env = clean_environment(PYSPARK_PYTHON=sys.executable)
    with cluster(tmp_path_factory.mktemp("cluster"), 2, env) as there:
        yield there


@pytest.fixture
def lake(tmp_path: Path) -> Settings:
    return small_lake.make(tmp_path / "lake", small_lake.events())


def submit(there: Cluster, lake: Settings, log: Path, *words: str) -> "subprocess.Popen[bytes]":
    settings = log.with_suffix(".yaml")
    settings.write_text("spark: {master: null, shuffle_partitions: 4, jars: []}\n")
    command = ["bash", str(ROOT / "spark-submit.sh"), "--target", "standalone", "--master", there.url, *SMALL]
    command += [word for key, value in CONF.items() for word in ("--conf", f"{key}={value}")]
    command += [*words, "daily", "--settings", str(settings), "--date", small_lake.DAY.isoformat()]
    env = clean_environment(PYSPARK_PYTHON=sys.executable, SPARK_LOCAL_IP="127.0.0.1", RECO_LAKE__ROOT=lake.lake.root)
    with log.open("wb") as out:
        return subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=env, cwd=log.parent)


def outcomes(lake: Settings) -> dict[str, str]:
    facts = pl.read_delta(lake.table_path("reconciliation_facts"))
    return dict(facts.select("activity_id", "outcome").iter_rows())


EXPECTED = {
    "BK-OK": "MATCHED",
    "BK-EUR": "MISMATCHED",
    "BK-BAHT": "MISMATCHED",
    "BK-ALONE": "MISSING_SUPPLIER",
    "BK-MESSY": "MISMATCHED",
    "BK-REFUND": "MISMATCHED",
}


def test_a_close_goes_on_where_a_worker_dies_in_its_middle(running: Cluster, lake: Settings, tmp_path: Path) -> None:
    log = tmp_path / "submit.log"
    job = submit(running, lake, log)
    wait_for(lambda: any(running.executors(worker) for worker in running.workers) or job.poll() is not None, 180)
    wait_for(lambda: b'"closing"' in log.read_bytes() or b"closing" in log.read_bytes() or job.poll() is not None, 180)
    assert job.poll() is None, log.read_text()[-3000:]
    victim = next(worker for worker in running.workers if running.executors(worker))
    for one in running.executors(victim):
        one.kill()
    victim.send_signal(signal.SIGKILL)
    victim.wait(20)
    running.workers.remove(victim)
    assert job.wait(600) == 0, log.read_text()[-3000:]
    assert outcomes(lake) == EXPECTED
    running.add_worker()


def test_a_supervised_driver_that_dies_is_started_again(running: Cluster, lake: Settings, tmp_path: Path) -> None:
    log = tmp_path / "submit.log"
    job = submit(running, lake, log, "--deploy-mode", "cluster", "--supervise")
    assert job.wait(180) == 0, log.read_text()[-3000:]
    wait_for(lambda: running.drivers() and any(running.executors(worker) for worker in running.workers), 180)
    (driver,) = running.drivers()
    driver.kill()
    wait_for(lambda: running.state()["completeddrivers"], 900)
    (done,) = running.state()["completeddrivers"]
    assert done["state"] == "FINISHED", _errors(running)
    assert outcomes(lake) == EXPECTED
    closes = pl.read_delta(lake.table_path("closes"))
    assert closes.height == 1


def _errors(there: Cluster) -> str:
    return "\n".join(path.read_text()[-2000:] for path in there.folder.glob("worker-*/driver-*/stderr"))
