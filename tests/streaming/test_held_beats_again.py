"""A batch whose heartbeats had to wait, or had not, is run again after a crash: the next process goes by its note."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs.common.settings import Lake, Settings, Stream
from jobs.streaming.held_beats import HeldBeats
from jobs.streaming.normalise import Normaliser
from tests.oracle.normalise import Raw
from tests.streaming.feed import batch_of
from tests.workloads.values import CLOCK

_RAW = Settings().topics.supplier_raw
Sent = list[int]
Run = Callable[[int, list[Raw], datetime | None], Sent]


def _beat(offset: int, minute: int) -> Raw:
    at = CLOCK - timedelta(minutes=60 - minute)
    said = {"heartbeat": True, "eventTime": at.isoformat(timespec="milliseconds")}
    return Raw("supplier.raw.activity", 0, offset, None, json.dumps(said).encode(), at)


@pytest.fixture
def run(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """One batch in a process of its own; gives the offsets of the heartbeats that it sends.

    The last argument: up to when the topic was read, where it has more.
    """
    settings = Settings(lake=Lake(root=str(tmp_path / "lake")), stream=Stream(max_offsets_per_trigger=1))
    spark.sparkContext.setLocalProperty("sql.streaming.queryId", None)  # type: ignore[arg-type]

    def one(number: int, batch: list[Raw], read_to: datetime | None) -> Sent:
        sent: list[str] = []

        def kept(_: SparkSession, routed: DataFrame, beats: list[tuple[str, int, str]]) -> Any:
            sent.extend([row["value"] for row in routed.collect()] + [value for _, _, value in beats])
            return MagicMock()

        told = {} if read_to is None else {_RAW: round(read_to.timestamp() * 1000)}
        monkeypatch.setattr("jobs.streaming.normalise.with_those", kept)
        monkeypatch.setattr(HeldBeats, "_read_to", lambda *_: told)
        Normaliser(spark, settings, {}, lambda: CLOCK)(batch_of(spark, batch), number)
        return [json.loads(text)["rawOffset"] for text in sent]

    return one


def test_one_that_did_not_wait_is_not_lost_when_its_topic_has_more_by_then(run: Run) -> None:
    batch, early = [_beat(0, 30)], CLOCK - timedelta(hours=2)
    assert run(0, batch, None) == [0]
    # It was killed before that was sent, and once more after this.
    assert run(0, batch, early) + run(1, [], None) == [0]


@pytest.mark.long
def test_one_that_waited_waits_again_and_goes_on_with_the_next(run: Run) -> None:
    batch, early = [_beat(0, 10), _beat(1, 30)], CLOCK - timedelta(minutes=50)
    assert run(0, batch, early) == [0]
    assert 1 not in run(0, batch, None), "it would be sent by the next process too"
    assert run(1, [], None) == [1]
