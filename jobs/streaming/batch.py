"""A micro-batch of `match`, and what Spark tells of it."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from jobs.common import tables
from jobs.common.kept import Kept
from jobs.streaming.verdicts import Moment

#: Up to so many keys are sent to every task that looks for their events.
BROADCAST = 500_000


@dataclass(frozen=True)
class Batch:
    """A micro-batch: the query's id and its number, what it stands on, how many rows it has, whether its plans are
    worth compiling, whether a sweep is due, whether other rates or policies hold than in the last, and what is held
    until its end.
    """

    query: str
    number: int
    moment: Moment
    rows: int
    is_large: bool
    is_due: bool
    judges_anew: bool
    kept: Kept

    @property
    def names(self) -> dict[str, str | int]:
        """What rows say of it."""
        return {"query_id": self.query, "batch_id": self.number}


def batch_moment(spark: SparkSession, checkpoint: str, batch_id: int) -> tuple[datetime, datetime]:
    """Watermark and time of a micro-batch, from the checkpoint's log, so that a batch run again has the same.

    The log: github.com/apache/spark, OffsetSeqLog; a version, a line of JSON with both, a line a source.
    """
    told = json.loads(tables.read_text(spark, f"{checkpoint}/offsets/{batch_id}").splitlines()[1])
    watermark, at = (int(told[name]) for name in ("batchWatermarkMs", "batchTimestampMs"))
    return datetime.fromtimestamp(watermark / 1000, UTC), datetime.fromtimestamp(at / 1000, UTC)


def batch_offsets(spark: SparkSession, checkpoint: str, batch_id: int) -> dict[tuple[str, int], tuple[int, int]]:
    """By topic and partition the first and the last offset that a micro-batch of Kafka's spans, from the same log.

    Also where nothing of them is read, as records of a transaction that was aborted; from 0 in the first batch.
    """
    begins = _ends(spark, checkpoint, batch_id - 1) if batch_id else {}
    return {place: (begins.get(place, 0), end - 1) for place, end in _ends(spark, checkpoint, batch_id).items()}


def _ends(spark: SparkSession, checkpoint: str, batch_id: int) -> dict[tuple[str, int], int]:
    lines = tables.read_text(spark, f"{checkpoint}/offsets/{batch_id}").splitlines()[2:]
    told = [(topic, ends) for line in lines for topic, ends in json.loads(line).items()]
    return {(topic, int(number)): end for topic, ends in told for number, end in ends.items()}


def has_dropped(spark: SparkSession, query_id: str) -> bool:
    """Whether the batch before let go of rows whose time the watermark had passed, or may have."""
    query = spark.streams.get(query_id)
    if query is None:
        return False
    report = newest_done(query)
    if report is not None:
        return any(operator.numRowsDroppedByWatermark() for operator in report.stateOperators())
    return len(query._jsq.recentProgress()) > 0


def newest_done(query: StreamingQuery) -> Any:
    """Spark's report of the newest batch that is through; None where none is among those that it keeps.

    Where nothing comes, it reports every ten seconds that nothing was done, by the number of the batch to come, and
    keeps the last hundred reports.
    """
    reports: Any = query._jsq.recentProgress()
    done = (reports[number] for number in range(len(reports) - 1, -1, -1))
    return next((report for report in done if report.durationMs().containsKey("addBatch")), None)
