"""Whatever the order, the repetition and the batches: what stays open is what the rules give on the latest versions."""

import os
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from pyspark.sql import SparkSession

from jobs.cli.broker import Broker
from jobs.common.kafka import topic_partitions
from jobs.common.lake import append_version, open_table, read
from jobs.common.settings import Settings
from jobs.streaming import settle
from jobs.streaming.main import start_match, start_normalise
from tests.oracle.normalise import Raw
from tests.oracle.stream import OpenBreaks, open_breaks
from tests.properties.lake import policy_rows, rate_rows
from tests.streaming.feed import new_settings, produce
from tests.streaming.nrt import beats_at, open_of
from tests.workloads.generate import Workload, generate_workloads, pack
from tests.workloads.records import raw_records
from tests.workloads.values import CLOCK, FX

FEW_WORKLOADS = 100
COUNT = int(os.environ.get("RECO_STREAM_WORKLOADS", FEW_WORKLOADS))
SEED = int(os.environ.get("RECO_WORKLOADS_SEED", "1"))
#: When every grace has passed.
AT_LAST = CLOCK + timedelta(hours=12)


def _feed(settings: Settings, workloads: list[Workload]) -> None:
    append_version(settings, "policies", [*policy_rows(workloads)], 1, None)
    append_version(settings, "fx_rates", [*rate_rows(FX)], 1, None)


def _take(spark: SparkSession, settings: Settings, records: list[Raw]) -> None:
    produce(settings, records)
    partitions = topic_partitions(settings)
    clock = lambda: AT_LAST + timedelta(hours=1)  # noqa: E731
    start_normalise(spark, settings, partitions, available_now=True, clock=clock).awaitTermination()
    start_match(spark, settings, available_now=True).awaitTermination()


def _expect(workloads: list[Workload]) -> OpenBreaks:
    return open_breaks(pack(workloads), {w.supplier_id: w.policy for w in workloads}, FX)


def _differences(found: OpenBreaks, expected: OpenBreaks, workloads: list[Workload]) -> str:
    wrong = sorted(k for k in {*found, *expected} if found.get(k) != expected.get(k))
    if not wrong:
        return ""
    lines = [f"{len(wrong)} of {len(expected)} differ"]
    sizes = {w.supplier_id: len(w.events) for w in workloads}
    first = min(wrong, key=lambda key: sizes[key[0]])
    lines += [f"{key}: found {found.get(key)}, expected {expected.get(key)}" for key in wrong if key[0] == first[0]]
    guilty = next(w for w in workloads if w.supplier_id == first[0])
    lines += [str(guilty.policy), *(str(e) for e in sorted(guilty.events, key=lambda e: e.kafka_time))]
    return "\n".join(lines)


@pytest.mark.parametrize("order", [pytest.param("published", marks=pytest.mark.long), "shuffled"])
def test_what_stays_open_is_the_oracles(
    spark: SparkSession, broker: Broker, tmp_path: Path, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if order == "shuffled":
        monkeypatch.setattr(settle, "FEW", 0)  # as large batches are settled: plain pairs by themselves
    workloads = generate_workloads(COUNT, SEED)
    # The horizon holds all the days of the workloads.
    options = {"state_store": "memory", "nrt_horizon_hours": 24 * 60, "summary_minutes": 0}
    settings = new_settings(str(tmp_path / "lake"), broker.bootstrap_servers, f"stream-{order}", **options)
    _feed(settings, workloads)
    rng = Random(SEED)
    records = raw_records(pack(workloads), rng)
    if order == "published":
        records.sort(key=lambda record: record.timestamp)
    half = len(records) // 2
    # In the shuffled order a heartbeat claims what is not true: nothing may be lost by it.
    newest: datetime = max(record.timestamp for record in records[:half])
    _take(spark, settings, [*records[:half], *beats_at(newest)])
    if order == "published":
        _take(spark, settings, [*records[half:], *beats_at(records[-1].timestamp)])
        _take(spark, settings, beats_at(AT_LAST))
    else:
        _take(spark, settings, [*records[half:], *beats_at(AT_LAST)])
    report = _differences(open_of(settings), _expect(workloads), workloads)
    assert not report, report
    if COUNT > FEW_WORKLOADS:  # of few, test_silence.py loses a checkpoint
        _lose_the_checkpoint(spark, settings)


def _lose_the_checkpoint(spark: SparkSession, settings: Settings) -> None:
    """A new one reads everything again: it gives no verdict twice and takes none back."""
    before = [_rows(settings, name) for name in ("nrt_results", "nrt_exceptions")]
    checkpoint = Path(settings.stream.checkpoint_root, "match")
    checkpoint.rename(checkpoint.with_name("lost"))
    start_match(spark, settings, available_now=True).awaitTermination()
    assert [_rows(settings, name) for name in ("nrt_results", "nrt_exceptions")] == before


def _rows(settings: Settings, name: str) -> list[str]:
    return sorted(map(str, read(open_table(settings, name), name).to_dicts()))
