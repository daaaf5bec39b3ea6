"""The streaming job on a cluster of processes, while workers die, and while its supervised driver does."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from jobs.cli.broker import Broker
from jobs.common.lake import open_table, read
from jobs.common.settings import Settings
from tests.deploy.cluster import Cluster, wait_for
from tests.oracle.normalise import Raw, normalise
from tests.oracle.stream import open_breaks
from tests.streaming.feed import assert_tables_are_the_oracles, new_settings, produce
from tests.streaming.nrt import beats_at, open_of
from tests.workloads.generate import generate_workloads, pack
from tests.workloads.records import numbered, raw_records
from tests.workloads.values import CLOCK

pytestmark = pytest.mark.long
BATCHES = 5
SECONDS = 1800
AVAILABLE = ("--available-now",)


def fed(broker: Broker, folder: Path, name: str) -> tuple[Settings, list[Raw]]:
    """A lake and topics of its own, and the records that are there, heartbeats long after at their end."""
    settings = new_settings(str(folder / "lake"), broker.bootstrap_servers, name)
    records = raw_records(pack(generate_workloads(20, 7)), Random(7), poisoned=30)
    told = numbered([*records, *beats_at(CLOCK + timedelta(hours=12))])
    produce(settings, told)
    return settings, told


def environment(settings: Settings, batch: int) -> dict[str, str]:
    """What leads the job to this lake and these topics, so many records at a time."""
    topics = {f"RECO_TOPICS__{name.upper()}": str(value) for name, value in settings.topics.model_dump().items()}
    return {
        **topics,
        "RECO_LAKE__ROOT": settings.lake.root,
        "RECO_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "RECO_STREAM__MAX_OFFSETS_PER_TRIGGER": str(batch),
        "RECO_STREAM__NRT_HORIZON_HOURS": "1440",
    }


def version(settings: Settings, table: str) -> int:
    found = open_table(settings, table)
    return -1 if found is None else max(found.version(), 0)


def assert_nothing_is_lost_or_doubled(settings: Settings, records: Sequence[Raw]) -> None:
    assert_tables_are_the_oracles(settings, records, datetime.now(UTC))
    results = read(open_table(settings, "nrt_results"), "nrt_results")
    assert results["result_id"].is_unique().all()
    judged = [normalise(record, datetime.now(UTC)) for record in records]
    assert open_of(settings) == open_breaks([said[1] for said in judged if said[0] == "event"], {}, {})


def test_the_stream_goes_on_where_workers_die(running: Cluster, broker: Broker, tmp_path: Path) -> None:
    settings, records = fed(broker, tmp_path, "clustered")
    log = tmp_path / "submit.log"
    env = environment(settings, len(records) // BATCHES)
    job = running.submit("streaming", log, words=AVAILABLE, **env)
    # Once in the middle of `normalise`, and once in the middle of `match`, which holds state on the executors.
    for table, commits in (("activity", 2), ("nrt_results", 1)):
        wait_for(lambda t=table, n=commits: version(settings, t) >= n or job.poll() is not None, SECONDS)  # type: ignore[misc]
        assert job.poll() is None, log.read_text()[-3000:]
        running.kill_a_worker()
        running.add_worker()
    assert job.wait(SECONDS) == 0, log.read_text()[-3000:]
    assert_nothing_is_lost_or_doubled(settings, records)


def test_a_supervised_stream_goes_on_from_its_checkpoint(running: Cluster, broker: Broker, tmp_path: Path) -> None:
    settings, records = fed(broker, tmp_path, "supervised")
    log = tmp_path / "submit.log"
    env = environment(settings, len(records) // BATCHES)
    options = ("--deploy-mode", "cluster", "--supervise")
    assert running.submit("streaming", log, options, AVAILABLE, **env).wait(180) == 0, log.read_text()[-3000:]
    for table, commits in (("activity", 2), ("nrt_results", 1)):
        wait_for(lambda t=table, n=commits: version(settings, t) >= n, SECONDS)  # type: ignore[misc]
        assert not running.state()["completeddrivers"], running.errors()
        (driver,) = running.drivers()
        driver.kill()
        wait_for(lambda gone=driver: not gone.is_running(), 60)  # type: ignore[misc]
    wait_for(lambda: running.state()["completeddrivers"], SECONDS)
    (done,) = running.state()["completeddrivers"]
    assert done["state"] == "FINISHED", running.errors()
    assert_nothing_is_lost_or_doubled(settings, records)
