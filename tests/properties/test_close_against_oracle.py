"""The close gives what the oracle gives, for hundreds of drawn suppliers at once, however their events arrived."""

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs.common.engines import Session, engine_of
from jobs.common.engines.duckdb import duckdb_session
from jobs.common.kept import Kept
from jobs.common.settings import Settings
from jobs.daily import inputs
from jobs.daily.close import Report, anomalies_from, anomaly_totals, close_day, count_anomalies, judge_day
from reco_rules.engine import F
from tests.oracle.model import Event
from tests.properties.harness import expected, failing_suppliers, found
from tests.properties.lake import make_lake, verdicts_of
from tests.strategies import generate_workloads, pack
from tests.workloads.values import CLOCK, DAYS

Row = dict[str, Any]

#: How many suppliers, and which: RECO_WORKLOADS=5000 in `make test-long`, another seed to look elsewhere.
FEW = 200
COUNT = int(os.environ.get("RECO_WORKLOADS", FEW))
SEED = int(os.environ.get("RECO_WORKLOADS_SEED", "1"))
WORKLOADS = generate_workloads(COUNT, SEED)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The workloads' deliveries in order of publication, in one file a day."""
    events = sorted(pack(WORKLOADS), key=lambda event: event.kafka_time)
    return make_lake(tmp_path_factory.mktemp("lake"), WORKLOADS, events)


def test_verdicts_of_every_day_are_the_oracles_by_either_engine(spark: SparkSession, lake: Settings) -> None:
    # Of few workloads Spark, which takes most of the time, has the days that look furthest back.
    days = DAYS if COUNT > FEW else DAYS[2:]
    by_spark = [_judged(spark, lake, day) for day in days]
    with duckdb_session(lake) as duckdb:
        by_duckdb = [_judged(duckdb, lake, day) for day in DAYS]
    assert [content for _, _, content in by_duckdb[-len(days) :]] == [content for _, _, content in by_spark]
    for dates, judged in ((days, by_spark), (DAYS, by_duckdb)):
        actual = found(
            [fact for facts, _, _ in judged for fact in facts], [one for _, all_, _ in judged for one in all_]
        )
        report = failing_suppliers(WORKLOADS, expected(WORKLOADS, dates), actual)
        assert not report, report


def test_a_close_does_not_depend_on_order_files_and_redeliveries(
    spark: SparkSession, lake: Settings, tmp_path: Path
) -> None:
    rng = Random(SEED)
    repeated = [replace(workload, events=_repeated(workload.events, rng)) for workload in WORKLOADS]
    events = pack(repeated)
    rng.shuffle(events)
    other = make_lake(tmp_path / "lake", repeated, events, files=5)
    day = DAYS[1]
    hashes = [close_day(spark, other, day, CLOCK).content_hash]
    if os.environ.get("RECO_CLOSE_BY") == "spark":
        hashes.append(close_day(spark, lake, day, CLOCK).content_hash)
    else:  # a fraction of the time; that the engines differ would be seen just as well
        with duckdb_session(lake) as duckdb:
            hashes.append(close_day(duckdb, lake, day, CLOCK).content_hash)
    for settings in (lake, other):
        report = failing_suppliers(repeated, expected(WORKLOADS, [day]), verdicts_of(settings, [day]))
        assert not report, report
    assert hashes[0] == hashes[1]


def _judged(session: Session, settings: Settings, day: date) -> tuple[list[Row], list[Row], str]:
    """The day's facts and anomalies, not written, a third of the time of a whole close; and what they are known by."""
    with Kept() as kept:
        judged = judge_day(session, inputs.newest(session, settings), day, kept)
        facts = judged.facts.withColumn("close_id", F.lit(""))
        written = engine_of(session).conformed(facts, "reconciliation_facts").collect()
        broken = kept.rows(anomalies_from(judged))
        report = Report(day, "", 0)
        count_anomalies(report, judged.profile, anomaly_totals(broken))
        anomalies = broken.collect()
    return [row.asDict() for row in written], [row.asDict() for row in anomalies], report.content_hash


def _repeated(events: Sequence[Event], rng: Random) -> tuple[Event, ...]:
    """The deliveries and redeliveries of a third of them, shuffled."""
    more = [*events, *(_again(event, rng) for event in events if rng.random() < 1 / 3)]
    rng.shuffle(more)
    return tuple(more)


def _again(event: Event, rng: Random) -> Event:
    """A redelivery, stamped by another policy than the first publication was."""
    later = event.kafka_time + timedelta(milliseconds=rng.choice((0, 1, 60_000, 5 * 86_400_000)))
    grace = rng.choice((60, 3600, 21_600))
    return replace(event, kafka_time=later, grace_seconds=grace, policy_version=event.policy_version + 1)
