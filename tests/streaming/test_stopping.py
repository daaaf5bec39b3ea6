"""A query that is stopped: the batch in hand ends, and one that does not end in time is interrupted without a word."""

import os
import signal
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

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
    """Always behind: the next batch begins as soon as one is through."""
    if is_endless:
        monkeypatch.setattr(stopping, "STOP_SECONDS", 0)
    settings = Settings(lake=Lake(root=str(tmp_path)))
    begun, ended = list[int](), list[int]()

    def batch(rows: DataFrame, number: int) -> None:
        begun.append(number)
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
