"""`reco stream`: the streaming job."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery
from pyspark.sql.streaming.readwriter import DataStreamWriter

from jobs.common import log
from jobs.common.command import one_line
from jobs.common.errors import FAILED, UserError
from jobs.common.groups import GATHERED, grouping
from jobs.common.kafka_reach import partitions as topic_partitions
from jobs.common.kafka_reach import stream_rights
from jobs.common.metrics import REGISTRY, endpoint
from jobs.common.options import AsJson, Debug, SettingsFile
from jobs.common.output import print_json
from jobs.common.ownership import claim
from jobs.common.places import require_writable_lake
from jobs.common.session import spark_session
from jobs.common.settings import GROUPED, Settings, load_settings
from jobs.streaming.gather import Gatherer, gathered
from jobs.streaming.group_tables import make, may_change
from jobs.streaming.groups import ready
from jobs.streaming.hourly import HourlySummary
from jobs.streaming.match import triggers
from jobs.streaming.normalise import Normaliser, raw_stream
from jobs.streaming.progress import Watch
from jobs.streaming.queries import WRITES, Only, queries_of
from jobs.streaming.settle import Settler
from jobs.streaming.stopping import Stopping, interruptible

_STORES = "org.apache.spark.sql.execution.streaming.state"
_JOIN_FORMAT = "spark.sql.streaming.join.stateFormatVersion"
#: Frozen into a checkpoint when it is born, whatever is set later. Join format 3 is one store in the place of four.
STATE_STORE = {
    "rocksdb": {
        "spark.sql.streaming.stateStore.providerClass": f"{_STORES}.RocksDBStateStoreProvider",
        "spark.sql.streaming.stateStore.rocksdb.changelogCheckpointing.enabled": "true",
        _JOIN_FORMAT: "3",
    },
    "memory": {
        "spark.sql.streaming.stateStore.providerClass": f"{_STORES}.HDFSBackedStateStoreProvider",
        _JOIN_FORMAT: "2",
    },
}


def command(
    available_now: Annotated[bool, typer.Option("--available-now", help="Take what is there, then end.")] = False,
    only: Annotated[Only | None, typer.Option(help="Run this query alone; else all that are its own.")] = None,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Write tables that another application owned; it must have stopped.")
    ] = False,
    settings: SettingsFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Normalise both raw topics, and match both sides as their events come, until stopped.

    With --json it says at its end, also where it was stopped, how many batches and rows each query took.

    Example: reco stream --available-now
    """
    log.configure(debug=debug, as_json=True if as_json else None)
    before = _counted()  # a process may run the job more than once
    names = run(load_settings(settings), available_now=available_now, only=only, take_over=take_over)
    if as_json:
        now = _counted()
        taken = {name: {key: count - before[name][key] for key, count in now[name].items()} for name in names}
        print_json({"queries": [{"query": name, **counts} for name, counts in taken.items()]})


def run(
    settings: Settings, *, available_now: bool = False, only: Only | None = None, take_over: bool = False
) -> list[str]:
    """The job: check the topics, start the session and the queries, wait; the names of the queries that ran.

    Raises where a query fails.

    UserError where another application owns a table, unless `take_over`; where a group of suppliers is matched already,
    or not to be matched yet.
    """
    require_writable_lake(settings, checkpoints=True)
    wanted = queries_of(settings, only)
    if take_over and GATHERED[0] in WRITES[wanted[-1]] and settings.stream.match_group is None:
        may_change(settings)
    settings = ready(settings) if wanted == [Only.MATCH] else settings
    names = [name for query in wanted for name in WRITES[query] if not settings.is_part or name in GROUPED]
    claim(settings, names, take_over=take_over)
    with endpoint(settings.metrics):
        return _run(settings, wanted, available_now=available_now)


def _counted() -> dict[str, dict[str, int]]:
    """What each query took since this process began, as Prometheus is told it."""
    names = {"batches": "reco_query_batches_total", "rows": "reco_query_input_rows_total"}
    return {
        query.value: {key: int(REGISTRY.value(name, query=query.value) or 0) for key, name in names.items()}
        for query in Only
    }


def _run(settings: Settings, wanted: Sequence[Only], *, available_now: bool) -> list[str]:
    rights = stream_rights(settings.topics, normalise=Only.NORMALISE in wanted, match=Only.MATCH in wanted)
    partitions = topic_partitions(settings, rights)
    spark = spark_session("reco-stream", settings)
    stopping = Stopping(Watch(spark, settings))
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)  # noqa: E731
    queries: list[StreamingQuery] = []
    for query in wanted:
        if stopping.asked:
            break
        if query is Only.NORMALISE:
            queries.append(start_normalise(spark, settings, partitions, available_now=available_now, clock=clock))
        elif query is Only.GATHER:
            make(spark, settings)
            gatherer = Gatherer(spark, settings, gather_checkpoint(settings))
            stopping.meanwhile = gatherer.look
            queries.append(start_gather(spark, settings, gatherer, available_now=available_now))
        else:
            queries.append(start_match(spark, settings, available_now=available_now))
        if available_now:
            # What it sends on is there to be taken by the next.
            stopping.wait(queries)
    stopping.wait(queries)
    if any(query.name in ("match", "gather") for query in queries):
        HourlySummary(spark, settings).finish(spark)
    stopping.give_back()
    return [str(query.name) for query in queries]


def start_normalise(
    spark: SparkSession,
    settings: Settings,
    partitions: dict[str, int],
    *,
    available_now: bool,
    clock: Callable[[], datetime],
) -> StreamingQuery:
    """Start the query `normalise`. `partitions`: how many each topic has. `clock`: the time in UTC."""
    normaliser = Normaliser(spark, settings, partitions, clock, f"{checkpoint_root(settings)}/normalise")
    writer = (
        raw_stream(spark, settings)
        .writeStream.queryName("normalise")
        .option("checkpointLocation", f"{checkpoint_root(settings)}/normalise")
        .foreachBatch(interruptible("normalise", normaliser))
    )
    return _start(writer, f"{checkpoint_root(settings)}/normalise", None if available_now else settings.stream.trigger)


def start_match(
    spark: SparkSession, settings: Settings, *, available_now: bool, settler: Settler | None = None
) -> StreamingQuery:
    """Start the query `match`. `settler`: one that goes on from an earlier run of it."""
    for name, value in STATE_STORE[settings.stream.state_store].items():
        if name != _JOIN_FORMAT or _knows_format_3(spark):
            spark.conf.set(name, value)
    checkpoint = f"{checkpoint_root(settings)}/match"
    writer = (
        triggers(spark, settings)
        .writeStream.queryName("match")
        .option("checkpointLocation", checkpoint)
        .foreachBatch(interruptible("match", settler or Settler(spark, settings, checkpoint)))
    )
    return _start(writer, checkpoint, None if available_now else settings.stream.match_trigger)


def _knows_format_3(spark: SparkSession) -> bool:
    return tuple(int(part) for part in spark.version.split(".")[:2]) >= (4, 1)


def start_gather(spark: SparkSession, settings: Settings, gatherer: Gatherer, *, available_now: bool) -> StreamingQuery:
    """Start the query `gather`, where there are several groups of suppliers and their tables are made."""
    checkpoint = gather_checkpoint(settings)
    writer = (
        gathered(spark, settings)
        .writeStream.queryName("gather")
        .option("checkpointLocation", checkpoint)
        .foreachBatch(interruptible("gather", gatherer))
    )
    return _start(writer, checkpoint, None if available_now else settings.stream.match_trigger)


def _start(writer: DataStreamWriter, checkpoint: str, every: str | None) -> StreamingQuery:
    """Start a query, once over what is there where `every` is None. UserError where its checkpoint cannot be read."""
    timed = writer.trigger(availableNow=True) if every is None else writer.trigger(processingTime=every)
    try:
        return timed.start()
    except Py4JJavaError as error:
        raise UserError(
            f"The checkpoint {checkpoint} cannot be read ({one_line(error)}): move it away and start again; the topics "
            "are read from their beginning, and the tables take nothing twice.",
            FAILED,
        ) from error


def gather_checkpoint(settings: Settings) -> str:
    """Where `gather` keeps how far it is in the groups' tables."""
    return f"{checkpoint_root(settings)}/gather/{grouping(settings)}"


def checkpoint_root(settings: Settings) -> str:
    """Where the queries keep their checkpoints."""
    return settings.stream.checkpoint_root or f"{settings.lake.root}/_checkpoints"
