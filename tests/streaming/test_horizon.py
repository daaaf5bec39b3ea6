"""What is sent again after the horizon, and a clock that was set back under a crash (long: `make test-long`)."""

import shutil
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from confluent_kafka import Producer
from pyspark.errors import StreamingQueryException
from pyspark.sql import SparkSession

from jobs.cli.broker import Broker
from jobs.common.kafka import topic_partitions
from jobs.common.sections import Maintenance
from jobs.maintain.main import maintain
from jobs.streaming import settle
from jobs.streaming.batch import batch_moment
from jobs.streaming.main import start_match, start_normalise
from tests.oracle.normalise import Raw
from tests.streaming import nrt
from tests.streaming.feed import produce, wait_for
from tests.streaming.nrt import T0, Stream, beats, both, event
from tests.workloads.values import CLOCK

pytestmark = pytest.mark.long
_DAY = 24 * 60


def test_what_both_send_again_after_the_horizon_opens_nothing(
    spark: SparkSession, broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first verdict is older than what is looked through, and its delay is one that the policy allows."""
    monkeypatch.setattr(nrt, "POLICIES", nrt.POLICIES + "  LATE: {grace: 1m, max_delay: 7d}\n")
    stream = Stream(spark, broker, tmp_path, "again", sweep_minutes=10)

    def dear(minutes: float, **fields: object) -> list[Raw]:
        supplier = event("supplier", "g", minutes, "LATE", amountMinor=15_000, **fields)
        return [event("agoda", "g", minutes, "LATE", **fields), supplier]

    stream.take(*dear(0), *both("c", 0, "LATE"), *beats(1))
    stream.take(*[event(side, "g", 2, "LATE", version=2) for side in ("agoda", "supplier")], *beats(5))
    stream.take(*beats(3 * _DAY))
    mended = {("g", "PRICE_MISMATCH"): "RESOLVED"}
    assert stream.exceptions() == mended
    then = {"eventTime": T0.isoformat(timespec="milliseconds")}
    again = [event(side, "c", 3 * _DAY + 1, "LATE", **then) for side in ("agoda", "supplier")]
    stream.take(*dear(3 * _DAY + 1, **then), *again, *beats(3 * _DAY + 5))
    assert stream.exceptions() == mended
    assert (stream.outcomes("g"), stream.outcomes("c")) == (["MISMATCHED", "MATCHED"], ["MATCHED"])


def test_a_batch_that_was_killed_is_finished_where_the_clock_was_set_back(
    spark: SparkSession, broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Stream(spark, broker, tmp_path, "clock", sweep_minutes=10)
    told = batch_moment

    def ahead(*of: object) -> tuple[datetime, datetime]:
        watermark, at = told(*of)  # type: ignore[arg-type]
        return watermark, at + timedelta(hours=1)

    with monkeypatch.context() as patch:
        patch.setattr(settle, "batch_moment", ahead)
        stream.take(*both("x", 0), *beats(1))

    def killed(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(settle, "keep_exceptions", killed)
        with pytest.raises(StreamingQueryException, match="killed"):
            stream.take(*both("ok", 2), *both("b", 2.5, amountMinor=15_000), *beats(3))
    stream.restart()
    stream.match()
    assert stream.exceptions() == {("b", "PRICE_MISMATCH"): "OPEN"}


def test_a_copy_of_the_checkpoint_that_is_put_back_leaves_no_verdict_out(
    spark: SparkSession, broker: Broker, tmp_path: Path
) -> None:
    """Its next batch has a number under which others were written."""
    stream = Stream(spark, broker, tmp_path, "copy", sweep_minutes=10)
    stream.take(*both("a", 0, status="PAID"), *beats(1))
    checkpoint = Path(stream.settings.stream.checkpoint_root, "match")
    shutil.copytree(checkpoint, tmp_path / "copy")
    stream.take(*both("b", 2, status="PAID"), *beats(3))
    shutil.rmtree(checkpoint)
    shutil.copytree(tmp_path / "copy", checkpoint)
    stream.restart()
    stream.take(*both("c", 4, status="PAID"), *both("d", 4), *beats(5))
    stream.restart()
    stream.take(*both("e", 6, status="PAID"), *beats(7))
    assert stream.outcomes("d") == ["MATCHED"]
    assert [stream.outcomes(name) for name in "abce"] == [["MISMATCHED"]] * 4
    assert stream.exceptions() == {(name, "STATUS_MISMATCH"): "OPEN" for name in "abce"}


def test_what_was_dropped_before_a_pause_is_swept_after_it(spark: SparkSession, broker: Broker, tmp_path: Path) -> None:
    """Where nothing comes, Spark's newest report is of nothing done, and tells of no dropped row."""
    stream = Stream(spark, broker, tmp_path, "pause", sweep_minutes=60, match_trigger="1 second")
    stream.take(*both("x", 0), *beats(10))
    stream.restart()
    query = start_match(spark, stream.settings, available_now=False)

    def dropped() -> bool:
        return any(store.numRowsDroppedByWatermark for one in query.recentProgress for store in one.stateOperators)

    def is_idle() -> bool:
        last = query.lastProgress
        return last is not None and "addBatch" not in last.durationMs

    try:
        stream.send(*beats(11))
        wait_for(is_idle, 90, "end of what there is")
        stream.send(event("agoda", "late", 5))
        wait_for(dropped, 60, "late row that is dropped")
        wait_for(is_idle, 60, "report of nothing done")
        stream.send(*beats(12))
        wait_for(lambda: stream.outcomes("late") == ["MISSING_SUPPLIER"], 60, "sweep")
    finally:
        query.stop()


def test_what_retention_took_a_side_of_stays_as_it_was_judged(
    spark: SparkSession, broker: Broker, tmp_path: Path
) -> None:
    """One side came in a day before the other and is removed a day before it; another process judges all anew."""
    stream = Stream(spark, broker, tmp_path, "retention", sweep_minutes=10)
    produce(stream.settings, [event("agoda", "p", 0)])
    partitions, before = topic_partitions(stream.settings), CLOCK - timedelta(days=1)
    earlier = start_normalise(spark, stream.settings, partitions, available_now=True, clock=lambda: before)
    earlier.awaitTermination()
    stream.take(event("supplier", "p", 0.5, amountMinor=15_000), *beats(30))
    assert stream.exceptions() == {("p", "PRICE_MISMATCH"): "OPEN"}
    names = ("activity_raw", "activity", "quarantine")
    days = Maintenance(keep_days=dict.fromkeys(names, 30))
    reports = maintain(stream.settings.model_copy(update={"maintenance": days}), CLOCK + timedelta(days=30), names)
    assert sum(report.rows_expired for report in reports if report.table.endswith("activity")) == 1
    stream.restart()
    stream.take(*beats(41))
    assert stream.exceptions() == {("p", "PRICE_MISMATCH"): "OPEN"}
    assert stream.outcomes("p") == ["MISMATCHED"]


def test_what_an_aborted_transaction_hides_holds_heartbeats_back(
    spark: SparkSession, broker: Broker, tmp_path: Path
) -> None:
    """Read committed, a full batch has hardly a record: what answers lies behind, and heartbeats beside it."""
    stream = Stream(spark, broker, tmp_path, "aborted", max_offsets_per_trigger=100, trigger="10 minutes")
    stream.settings.kafka.options["isolation.level"] = "read_committed"
    of = {"bootstrap.servers": broker.bootstrap_servers, "transactional.id": "aborted"}
    producer = Producer(of)
    producer.init_transactions(30)
    producer.begin_transaction()
    for number in range(300):
        at = round((T0 + timedelta(seconds=20)).timestamp() * 1000)
        producer.produce(stream.settings.topics.supplier_raw, value=f"{number}", partition=0, timestamp=at)
    producer.flush(30)
    producer.abort_transaction(30)
    answer = replace(event("supplier", "x", 0.5), partition=0)
    produce(stream.settings, [event("agoda", "x", 0), answer, *beats(5)])
    partitions = topic_partitions(stream.settings)
    query = start_normalise(spark, stream.settings, partitions, available_now=False, clock=lambda: CLOCK)
    try:
        wait_for(lambda: bool(query.recentProgress), 120, "first batch")
    finally:
        query.stop()
    stream.match()
    assert stream.outcomes("x") == []
    stream.send()
    stream.match()
    assert stream.outcomes("x") == ["MATCHED"]
