"""A query that is stopped: the batch in hand ends, and one that does not end in time is interrupted without a word."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from jobs.common.errors import UserError
from jobs.common.progress_file import read_progress
from jobs.common.settings import Lake, Settings
from jobs.streaming import stopping
from jobs.streaming.progress import Watch
from jobs.streaming.stopping import Batch, Stopping, interruptible

#: What a plan of ours says where it is cancelled, in length.
_TRACE = "py4j.protocol.Py4JJavaError: An error occurred while calling o1.collect." + "\n\tat a.B.c(B.java:1)" * 2000


def _start(spark: SparkSession, settings: Settings, batch: Batch) -> StreamingQuery:
    writer = spark.readStream.format("rate").option("rowsPerSecond", 100).load().writeStream.queryName("match")
    checkpoint = f"{settings.stream.checkpoint_root}/match"
    function = interruptible("match", batch)
    return writer.foreachBatch(function).option("checkpointLocation", checkpoint).start()


@pytest.mark.parametrize("is_endless", [True, False])
def test_the_batch_in_hand_ends_where_it_can(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_endless: bool
) -> None:
    if is_endless:
        monkeypatch.setattr(stopping, "STOP_SECONDS", 0)
    settings = Settings(lake=Lake(root=str(tmp_path)))
    ended = list[int]()

    def batch(rows: DataFrame, number: int) -> None:
        if number == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        count = 10**15 if is_endless else 10**6
        try:
            rows.sparkSession.range(count, numPartitions=1).selectExpr("sum(id % 7)").collect()
        except Exception as error:
            raise RuntimeError(_TRACE) from error
        ended.append(number)

    ending = Stopping(Watch(spark, settings))
    query = _start(spark, settings, batch)
    try:
        ending.wait([query])
    finally:
        query.stop()
        ending.give_back()
    assert query.exception() is None
    told = read_progress(settings, "match")
    assert told is not None
    assert (told["state"], told["why"]) == ("ENDED", None)
    assert not ended if is_endless else ended[:1] == [0]
    # Else the thread that ran it came to no end of its own: the JVM then shows 1,024 lines of a StackOverflowError.
    assert query.status["message"] == "Stopped"


class Query:
    """A query by its clock: when which batches are through or nothing was to do, and maybe when it fails."""

    def __init__(self, name: str, *reports: tuple[float, int, bool], fails: float = 0) -> None:
        self.name, self.is_stopped_at, self._began = name, 0.0, time.monotonic()
        self._reports, self._fails = reports, fails
        self._jsq = SimpleNamespace(recentProgress=self._recent)
        self.status = {"isTriggerActive": True}

    @property
    def isActive(self) -> bool:  # noqa: N802
        return not self.is_stopped_at and self.exception() is None

    def exception(self) -> StreamingQueryException | None:
        fails = self._fails and self._now() > self._fails and not self.is_stopped_at
        return StreamingQueryException("broken here") if fails or self.is_stopped_at < 0 else None

    def awaitTermination(self, timeout: float) -> bool:  # noqa: N802
        time.sleep(min(timeout, 0.05))
        if failure := self.exception():
            raise failure
        return not self.isActive

    def stop(self) -> None:
        self.is_stopped_at = -1 if self.exception() else self._now()

    def _now(self) -> float:
        return time.monotonic() - self._began

    def _recent(self) -> list[SimpleNamespace]:
        due = [(number, done) for at, number, done in self._reports if at <= self._now()]
        steps = {True: {"addBatch": 1}, False: {}}
        told = [(number, SimpleNamespace(containsKey=steps[done].__contains__)) for number, done in due]
        return [SimpleNamespace(batchId=lambda n=n: n, durationMs=lambda m=m: m) for n, m in told]


class Looks:
    """In the place of a Watch."""

    def look(self, queries: Sequence[StreamingQuery]) -> None:
        """Nothing is told."""


BEHIND = [(0.0, 4, True), (0.4, 5, True), (0.8, 6, True), (1.2, 7, True)]


@pytest.mark.parametrize(
    ("reports", "seconds", "expected"),
    [
        (BEHIND, 60, (0.4, 0.8)),
        # Spark gives the number of the batch to come to a report that nothing was done.
        ([(0.0, 4, True), (0.0, 5, False), *BEHIND[1:]], 60, (0.4, 0.8)),
        ([(0.5, 0, True), (1.0, 1, True)], 60, (0.5, 1.0)),
        ([(9.0, 0, True)], 0.6, (0.6, 1.2)),
    ],
    ids=["behind", "was idle", "the first batch", "too late"],
)
def test_a_query_that_is_behind_is_stopped_when_its_batch_is_through(
    monkeypatch: pytest.MonkeyPatch,
    reports: list[tuple[float, int, bool]],
    seconds: float,
    expected: tuple[float, float],
) -> None:
    monkeypatch.setattr(stopping, "STOP_SECONDS", seconds)
    query = Query("match", *reports)
    _stopped(query)
    assert expected[0] <= query.is_stopped_at < expected[1]


def test_one_that_fails_while_another_ends_is_told() -> None:
    busy, broken = Query("normalise", (0.6, 1, True)), Query("match", fails=0.2)
    with pytest.raises(UserError, match=r"^The query match failed: broken here") as told:
        _stopped(busy, broken)
    assert told.value.exit_code == 1


def _stopped(*queries: Query) -> None:
    ending = Stopping(cast(Watch, Looks()))
    ending.asked = True
    try:
        ending.wait(cast(list[StreamingQuery], list(queries)))
    finally:
        ending.give_back()
