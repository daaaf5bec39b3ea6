"""What is sent again after the horizon, and a clock that was set back under a crash (long: `make test-long`)."""

import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from pyspark.errors import StreamingQueryException
from pyspark.sql import SparkSession

from jobs.cli.broker import Broker
from jobs.streaming import settle
from jobs.streaming.batch import batch_moment
from tests.oracle.normalise import Raw
from tests.streaming import nrt
from tests.streaming.nrt import T0, Stream, beats, both, event

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
