"""`kill -9` of the streaming driver at random moments: the tables are those of a run that nobody disturbed."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import polars as pl
import pytest

from jobs.cli.broker import Broker
from jobs.common.lake import open_table, read
from jobs.common.progress_file import QUERIES, read_progress
from jobs.common.settings import Settings
from tests.oracle.normalise import normalise
from tests.oracle.stream import open_breaks
from tests.oracle.summary import summary
from tests.oracle.summary import told as told_of
from tests.plans import conf_of_plans
from tests.scrape import free_port, scrape
from tests.streaming.feed import assert_tables_are_the_oracles, consume, new_settings, produce, wait_for
from tests.streaming.nrt import beats_at, open_of
from tests.workloads.generate import generate_workloads, pack
from tests.workloads.records import numbered, raw_records
from tests.workloads.values import CLOCK

SEED = int(os.environ.get("RECO_KILLS_SEED", "3"))


@pytest.mark.parametrize("kills", [2, pytest.param(30, marks=pytest.mark.long)])
def test_killed_anywhere_nothing_is_lost_or_doubled(tmp_path: Path, kills: int) -> None:
    # A broker of its own, since it is killed too: once in two kills of the stream, three times in thirty.
    with Broker(tmp_path / "broker", port=free_port()) as broker:
        _kill_and_compare(broker, tmp_path, kills)


def _kill_and_compare(broker: Broker, tmp_path: Path, kills: int) -> None:
    rng = Random(SEED)
    settings = new_settings(str(tmp_path / "lake"), broker.bootstrap_servers, f"kills{kills}")
    records = raw_records(pack(generate_workloads(10 * kills, SEED)), rng, poisoned=max(50, 10 * kills))
    produce(settings, records)
    # However long a start takes, while the other query goes on, no wait for a commit comes to the records' end.
    batch = max(1, len(records) // (60 * kills))
    env = _environment(settings, batch)
    for number in range(kills):
        # One commit at least lies between kills; the next falls between any two writes of a batch.
        table = rng.choice(("activity_raw", "activity", "quarantine", "nrt_results"))
        before = _version(settings, table)
        child = _stream(env, tmp_path / "stream.log")
        wait_for(lambda t=table, v=before: _version(settings, t) > v, 180, f"commit to {table}")  # type: ignore[misc]
        if number % 10 == 1:
            broker.kill()
            broker.start()
            before = _version(settings, "activity_raw")
            wait_for(lambda v=before: _version(settings, "activity_raw") > v, 180, "commit after the broker's restart")  # type: ignore[misc]
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    beats = numbered([*records, *beats_at(CLOCK + timedelta(hours=12))])[len(records) :]
    produce(settings, beats)
    port = free_port()
    env = {**_environment(settings, len(records)), "RECO_METRICS__PORT": str(port)}
    last = _stream(env, tmp_path / "stream.log", "--available-now")
    wait_for(lambda: _runs(port), 180, "answer to Prometheus")
    assert last.wait(240) == 0, (tmp_path / "stream.log").read_text()[-3000:]
    assert_tables_are_the_oracles(settings, [*records, *beats], datetime.now(UTC))
    for query in QUERIES:
        told = read_progress(settings, query)
        assert told is not None
        assert (told["state"], told["why"]) == ("ENDED", None)
    results = read(open_table(settings, "nrt_results"), "nrt_results")
    assert results["result_id"].is_unique().all()
    hours = read(open_table(settings, "hourly_summary"), "hourly_summary")
    assert told_of(hours.to_dicts()) == summary(results.to_dicts())
    verdicts = [normalise(record, datetime.now(UTC)) for record in records]
    events = [verdict[1] for verdict in verdicts if verdict[0] == "event"]
    assert open_of(settings) == open_breaks(events, {}, {})
    # The topics are at least once: everything is there, and what came again is the same to the byte.
    for topic in (settings.topics.agoda_canonical, settings.topics.supplier_canonical):
        messages = consume(settings, topic)
        assert len({(part, value) for part, _, value in messages}) == _events(settings, topic)


def _stream(env: dict[str, str], log: Path, *options: str) -> "subprocess.Popen[bytes]":
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "jobs.cli.main", "stream", *options],
            env=env,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )


def _runs(port: int) -> bool:
    """Whether the job says that its first query runs."""
    try:
        return scrape(port).get('reco_query_running{query="normalise"}') == 1
    except OSError:
        return False


def _environment(settings: Settings, batch: int) -> dict[str, str]:
    topics = {f"RECO_TOPICS__{name.upper()}": str(value) for name, value in settings.topics.model_dump().items()}
    return {
        **os.environ,
        **topics,
        "RECO_LAKE__ROOT": settings.lake.root,
        "RECO_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "RECO_STREAM__MAX_OFFSETS_PER_TRIGGER": str(batch),
        "RECO_STREAM__TRIGGER": "100 milliseconds",
        "RECO_STREAM__MATCH_TRIGGER": "100 milliseconds",
        "RECO_STREAM__NRT_HORIZON_HOURS": "1440",
        "RECO_SPARK__DRIVER_MEMORY": "1g",
        "RECO_SPARK__CONF": json.dumps(conf_of_plans()),
    }


def _version(settings: Settings, table: str) -> int:
    found = open_table(settings, table)
    return -1 if found is None else max(found.version(), 0)


def _events(settings: Settings, topic: str) -> int:
    source = "AGODA" if topic == settings.topics.agoda_canonical else "SUPPLIER"
    return read(open_table(settings, "activity"), "activity").filter(pl.col("source") == source).height
