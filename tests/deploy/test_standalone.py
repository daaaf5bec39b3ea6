"""The daily job on a cluster of processes, while a worker dies, and while its supervised driver does."""

from pathlib import Path

import polars as pl
import pytest

from jobs.common.settings import Settings
from tests.daily import small_lake
from tests.deploy.cluster import Cluster, wait_for

pytestmark = pytest.mark.long


@pytest.fixture
def lake(tmp_path: Path) -> Settings:
    return small_lake.make(tmp_path / "lake", small_lake.events())


def outcomes(lake: Settings) -> dict[str, str]:
    facts = pl.read_delta(lake.table_path("reconciliation_facts"))
    return dict(facts.select("activity_id", "outcome").iter_rows())


DATE = ("--date", small_lake.DAY.isoformat())
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
    job = running.submit("daily", log, words=DATE, RECO_LAKE__ROOT=lake.lake.root)
    wait_for(lambda: any(running.executors(worker) for worker in running.workers) or job.poll() is not None, 180)
    wait_for(lambda: b'"closing"' in log.read_bytes() or b"closing" in log.read_bytes() or job.poll() is not None, 180)
    assert job.poll() is None, log.read_text()[-3000:]
    running.kill_a_worker()
    assert job.wait(600) == 0, log.read_text()[-3000:]
    assert outcomes(lake) == EXPECTED
    running.add_worker()


def test_a_supervised_driver_that_dies_is_started_again(running: Cluster, lake: Settings, tmp_path: Path) -> None:
    log = tmp_path / "submit.log"
    job = running.submit(
        "daily", log, ("--deploy-mode", "cluster", "--supervise"), DATE, RECO_LAKE__ROOT=lake.lake.root
    )
    assert job.wait(180) == 0, log.read_text()[-3000:]
    wait_for(lambda: running.drivers() and any(running.executors(worker) for worker in running.workers), 180)
    (driver,) = running.drivers()
    driver.kill()
    wait_for(lambda: running.state()["completeddrivers"], 900)
    (done,) = running.state()["completeddrivers"]
    assert done["state"] == "FINISHED", running.errors()
    assert outcomes(lake) == EXPECTED
    closes = pl.read_delta(lake.table_path("closes"))
    assert closes.height == 1
