"""The end of the stream's queries: after the batches in hand, where these end in time, else in their midst."""

import signal
import time
from collections.abc import Callable, Sequence
from types import FrameType

from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame
from pyspark.sql.streaming.query import StreamingQuery

from jobs.common import log
from jobs.common.errors import FAILED, UserError
from jobs.streaming.batch import newest_done
from jobs.streaming.progress import Watch, why

#: How long a stop waits for the batch in hand, seconds; past it, it is interrupted and comes again at the next start.
STOP_SECONDS = 60
#: How Spark knows that what failed was interrupted: it looks for this in the message, by a pattern that takes stack for
#: each letter up to its last word, so that the trace of what was really raised ends in a StackOverflowError.
_AS_SPARK_HAS_IT = (
    "py4j.protocol.Py4JJavaError: An error occurred while calling a batch that was stopped: "
    "java.lang.InterruptedException"
)
#: The names of queries that are stopped in the midst of a batch.
_interrupted: set[str] = set()

Batch = Callable[[DataFrame, int], None]


class InterruptedBatchError(Exception):
    """A batch failed because its query was stopped."""


def interruptible(query: str, batch: Batch) -> Batch:
    """The function of a new query's micro-batches; where one fails because it is stopped, Spark takes it as that."""
    _interrupted.discard(query)

    def call(rows: DataFrame, batch_id: int) -> None:
        try:
            batch(rows, batch_id)
        except Exception:
            if query in _interrupted:
                raise InterruptedBatchError(_AS_SPARK_HAS_IT) from None
            raise

    return call


def stop(query: StreamingQuery) -> None:
    """Stop the query at once, also in the midst of a batch."""
    _interrupted.add(str(query.name))
    query.stop()


class Stopping:
    """Turns SIGTERM and Ctrl-C into a stop after the micro-batches in hand."""

    def __init__(self, watch: Watch) -> None:
        self.asked = False
        self.meanwhile: Callable[[], object] = lambda: None
        self._watch = watch
        self._before = {name: signal.signal(name, self._ask) for name in (signal.SIGTERM, signal.SIGINT)}

    def _ask(self, _signal: int, _frame: FrameType | None) -> None:
        self.asked = True

    def give_back(self) -> None:
        """Signals mean again what they did before."""
        for name, handler in self._before.items():
            signal.signal(name, handler)

    def wait(self, queries: Sequence[StreamingQuery]) -> None:
        """Until the queries end, one fails (all are stopped; raises UserError) or they are asked to stop."""
        try:
            self._wait(queries)
        except BaseException as error:
            for query in queries:
                stop(query)
            self._watch.look(queries)
            self.give_back()
            if isinstance(error, StreamingQueryException):
                names = " and ".join(str(query.name) for query in queries if query.exception())
                raise UserError(
                    f"The query {names} failed: {why(error)}. Started again, the job goes on from the checkpoint; "
                    "with --debug it says where it failed.",
                    FAILED,
                ) from error
            raise
        self._watch.look(queries)

    def _wait(self, queries: Sequence[StreamingQuery]) -> None:
        while not self.asked:
            self._watch.look(queries)
            self.meanwhile()
            ended = [query.awaitTermination(1) for query in queries]  # raises where one has failed
            if all(ended):
                return
        self._end(queries)
        for failure in filter(None, [query.exception() for query in queries]):
            raise failure

    def _end(self, queries: Sequence[StreamingQuery]) -> None:
        """Stop each query as soon as the batch in hand is through: where it is behind, the next begins at once."""
        deadline = time.monotonic() + STOP_SECONDS
        left = [(query, _through(query)) for query in queries]
        while left:
            is_late = time.monotonic() >= deadline
            for one in left[:]:
                query, before = one
                if is_late or not (query.isActive and query.status["isTriggerActive"]) or _through(query) > before:
                    stop(query)
                    log.get_logger(__name__).info("stopped", query=query.name)
                    left.remove(one)
            if left:
                left[0][0].awaitTermination(0.1)  # type: ignore[arg-type]  # Spark takes parts of a second


def _through(query: StreamingQuery) -> int:
    """The number of the newest batch that is through; -1 where none is."""
    report = newest_done(query)
    return -1 if report is None else int(report.batchId())
