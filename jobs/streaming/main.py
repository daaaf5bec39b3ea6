"""`reco stream`: the streaming job."""

import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import FrameType
from typing import Annotated

import typer
from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from jobs.common import log
from jobs.common.kafka import topic_partitions
from jobs.common.options import AsJson, Debug, SettingsFile
from jobs.common.session import spark_session
from jobs.common.settings import Settings, load_settings
from jobs.streaming.normalise import Normaliser, raw_stream

#: How long a stop waits for the batch in hand, seconds; past it, it is interrupted and comes again at the next start.
STOP_SECONDS = 60


def command(
    available_now: Annotated[bool, typer.Option("--available-now", help="Take what is there, then end.")] = False,
    settings: SettingsFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Normalise both raw topics into bronze, silver, quarantine and the canonical topics, until stopped.

    Example: reco stream --available-now
    """
    log.configure(debug=debug, as_json=True if as_json else None)
    run(load_settings(settings), available_now=available_now)


def run(settings: Settings, *, available_now: bool = False) -> None:
    """The job: check the topics, start the session and the query, wait. Raises where the query fails."""
    partitions = topic_partitions(settings)
    spark = spark_session("reco-stream", settings)
    stopping = _Stopping()
    query = start_normalise(spark, settings, partitions, available_now=available_now, clock=lambda: datetime.now(UTC))
    stopping.wait(query)


def start_normalise(
    spark: SparkSession,
    settings: Settings,
    partitions: dict[str, int],
    *,
    available_now: bool,
    clock: Callable[[], datetime],
) -> StreamingQuery:
    """Start the query `normalise`. `partitions`: how many each topic has. `clock`: the time in UTC."""
    normaliser = Normaliser(spark, settings, partitions, clock)
    writer = (
        raw_stream(spark, settings)
        .writeStream.queryName("normalise")
        .option("checkpointLocation", f"{checkpoint_root(settings)}/normalise")
        .foreachBatch(normaliser)
    )
    if available_now:
        return writer.trigger(availableNow=True).start()
    return writer.trigger(processingTime=settings.stream.trigger).start()


def checkpoint_root(settings: Settings) -> str:
    """Where the queries keep their checkpoints."""
    return settings.stream.checkpoint_root or f"{settings.lake.root}/_checkpoints"


class _Stopping:
    """Turns SIGTERM and Ctrl-C into a stop after the micro-batch in hand."""

    def __init__(self) -> None:
        self.asked = False
        self._before = {name: signal.signal(name, self._ask) for name in (signal.SIGTERM, signal.SIGINT)}

    def _ask(self, _signal: int, _frame: FrameType | None) -> None:
        self.asked = True

    def wait(self, query: StreamingQuery) -> None:
        """Until the query ends, fails (raises) or is asked to stop; then signals mean again what they did before."""
        try:
            self._wait(query)
        finally:
            for name, handler in self._before.items():
                signal.signal(name, handler)

    def _wait(self, query: StreamingQuery) -> None:
        while not self.asked:
            if query.awaitTermination(1):
                return
        deadline = time.monotonic() + STOP_SECONDS
        while query.isActive and query.status["isTriggerActive"] and time.monotonic() < deadline:
            query.awaitTermination(1)
        query.stop()
        log.get_logger(__name__).info("stopped", query="normalise")
