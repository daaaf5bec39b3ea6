"""A micro-batch of `match`, and what Spark tells of it."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from pyspark.sql import SparkSession

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


def has_dropped(spark: SparkSession, query_id: str) -> bool:
    """Whether the batch before let go of rows whose time the watermark had passed."""
    query = spark.streams.get(query_id)
    progress = None if query is None else query.lastProgress
    return progress is not None and any(operator.numRowsDroppedByWatermark for operator in progress.stateOperators)
