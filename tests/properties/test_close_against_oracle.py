"""The close gives what the oracle gives, for hundreds of drawn suppliers at once, however their events arrived."""

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from random import Random

import pytest
from pyspark.sql import SparkSession

from jobs.common.settings import Settings
from jobs.daily.close import close_day
from tests.oracle.model import Event
from tests.properties.harness import expected, failing_suppliers
from tests.properties.lake import make_lake, verdicts_of
from tests.strategies import generate_workloads, pack
from tests.workloads.values import CLOCK, DAYS

#: How many suppliers, and which: RECO_WORKLOADS=5000 in `make test-long`, another seed to look elsewhere.
COUNT = int(os.environ.get("RECO_WORKLOADS", "200"))
SEED = int(os.environ.get("RECO_WORKLOADS_SEED", "1"))
WORKLOADS = generate_workloads(COUNT, SEED)


@pytest.fixture(scope="module")
def closed(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, dict[date, str]]:
    """A lake in order of publication with every day closed, and each day's content hash."""
    root = tmp_path_factory.mktemp("lake")
    events = sorted(pack(WORKLOADS), key=lambda event: event.kafka_time)
    settings = make_lake(root, WORKLOADS, events)
    return settings, {day: close_day(spark, settings, day, CLOCK).content_hash for day in DAYS}


def test_facts_and_anomalies_are_the_oracles(closed: tuple[Settings, dict[date, str]]) -> None:
    report = failing_suppliers(WORKLOADS, expected(WORKLOADS, DAYS), verdicts_of(closed[0], DAYS))
    assert not report, report


def test_order_and_files_change_nothing(
    spark: SparkSession, closed: tuple[Settings, dict[date, str]], tmp_path: Path
) -> None:
    events = pack(WORKLOADS)
    Random(SEED).shuffle(events)
    settings = make_lake(tmp_path / "lake", WORKLOADS, events, files=5)
    day = DAYS[1]
    assert close_day(spark, settings, day, CLOCK + timedelta(days=1)).content_hash == closed[1][day]


def test_redeliveries_change_nothing_even_under_another_policy(
    spark: SparkSession, closed: tuple[Settings, dict[date, str]], tmp_path: Path
) -> None:
    rng = Random(SEED)
    repeated = [replace(workload, events=_repeated(workload.events, rng)) for workload in WORKLOADS]
    settings = make_lake(tmp_path / "lake", repeated, pack(repeated))
    day = DAYS[1]
    content_hash = close_day(spark, settings, day, CLOCK).content_hash
    report = failing_suppliers(repeated, expected(WORKLOADS, [day]), verdicts_of(settings, [day]))
    assert not report, report
    assert content_hash == closed[1][day]


def _repeated(events: Sequence[Event], rng: Random) -> tuple[Event, ...]:
    """The deliveries and redeliveries of a third of them, shuffled."""
    more = [*events, *(_again(event, rng) for event in events if rng.random() < 1 / 3)]
    rng.shuffle(more)
    return tuple(more)


def _again(event: Event, rng: Random) -> Event:
    """A redelivery, stamped by another policy than the first publication was."""
    later = event.kafka_time + timedelta(milliseconds=rng.choice((1, 60_000, 5 * 86_400_000)))
    return replace(event, kafka_time=later, grace_seconds=rng.choice((60, 3600, 21_600)))
