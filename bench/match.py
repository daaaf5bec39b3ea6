"""Match against a bare full-outer join of the same topics into Delta: catching up, and at a steady rate."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import psutil
from confluent_kafka import Producer
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming.query import StreamingQuery

from jobs.cli.broker import Broker
from jobs.common.kafka import create_topics, source_options, topic_partitions
from jobs.common.settings import Lake, Settings, Stream
from jobs.streaming.main import start_match, start_normalise
from reco_rules.vocabulary import Side

OURS, BARE = "reco match", "bare stream-stream join"
_FIELDS = (
    "heartbeat boolean, eventId string, activityId string, supplierId string, activityType string, "
    "amountMinor bigint, currency string, status string, version bigint, eventTime timestamp, publishedAt timestamp"
)


@dataclass
class Measured:
    """One contender's rounds: seconds to catch up, processor seconds of the JVM (user and system), which other work on
    the machine changes little, and bytes of the state it then held.
    """

    seconds: list[float]
    cpu_seconds: list[float]
    state_bytes: list[int]


def catch_up(
    spark: SparkSession, settings: Settings, broker: Broker, scratch: Path, events: int, rounds: int
) -> dict[str, Measured]:
    """So many events a side, normalised once and matched by each contender in turn; no grace has passed at the end."""
    told = fresh(settings, broker, scratch / "lake", f"catchup{events}")
    produce(told, events, datetime.now(UTC) - timedelta(minutes=30))
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)  # noqa: E731
    start_normalise(spark, told, topic_partitions(told), available_now=True, clock=clock).awaitTermination()
    found = {name: Measured([], [], []) for name in (OURS, BARE)}
    for number in range(rounds + 1):
        for name, start in ((OURS, _ours), (BARE, bare)):
            place = scratch / f"{name.replace(' ', '-')}-{number}"
            place.mkdir()
            (place / "silver").symlink_to(Path(told.lake.root) / "silver")
            mine = told.model_copy(update={"lake": Lake(root=str(place)), "stream": _stream(told, place)})
            started, begun = time.monotonic(), cpu_seconds(spark)
            query = start(spark, mine)
            query.awaitTermination()
            taken, used = time.monotonic() - started, cpu_seconds(spark) - begun
            rows, size = _state(query)
            print(
                f"catch up {events:,} round {number} {name}: {taken:.1f} s, {used:.1f} processor seconds, "
                f"state {rows:,} rows {size:,} B",
                flush=True,
            )
            if number:  # the first round warms the JVM
                found[name].seconds.append(taken)
                found[name].cpu_seconds.append(used)
                found[name].state_bytes.append(size)
    return found


def steady(
    spark: SparkSession, settings: Settings, broker: Broker, scratch: Path, rate: int, seconds: int
) -> dict[str, dict[str, float]]:
    """p50, p95 and p99 of the seconds from publication to verdict (to the joined row) of a pair, at a steady rate.

    `rate`: events a second and side. `seconds`: for so long; the first half warms everything up and does not count.
    """
    found = {}
    for name, start in ((OURS, start_match), (BARE, bare)):
        told = fresh(settings, broker, scratch / f"steady-{name.split()[0]}", f"steady-{name.split()[0]}")
        clock: Callable[[], datetime] = lambda: datetime.now(UTC)  # noqa: E731
        queries = [start_normalise(spark, told, topic_partitions(told), available_now=False, clock=clock)]
        feed = threading.Thread(target=_feed, args=(told, rate, seconds))
        feed.start()
        middle = datetime.now(UTC) + timedelta(seconds=seconds / 2)
        while not (Path(told.lake.root) / "silver/activity/_delta_log").exists():
            time.sleep(0.2)
        queries.append(start(spark, told, available_now=False))
        feed.join()
        time.sleep(15)  # what is on its way arrives
        for query in queries:
            while query.status["isTriggerActive"]:
                time.sleep(0.1)
            query.stop()
        lags = pl.Series(_lags(told, name, middle))
        found[name] = {f"p{share}": round(lags.quantile(share / 100) or 0, 2) for share in (50, 95, 99)}
        print(f"steady {rate}/s a side {name}: {len(lags):,} pairs, seconds of lag {found[name]}", flush=True)
    return found


def produce(settings: Settings, events: int, published: datetime, first: int = 0) -> None:
    """So many activities, both sides, 1% missing on either, 2% priced differently, onto the raw topics.

    `first`: the number of the first of them, which its id has.
    """
    producer = _producer(settings)
    for number in range(first, first + events):
        _send(producer, settings, number, published)
        if number % 10_000 == 0:
            producer.flush()
    _beat(producer, settings, published)
    producer.flush()


def _feed(settings: Settings, rate: int, seconds: int) -> None:
    producer, started = _producer(settings, linger=5), time.monotonic()
    for tick in range(seconds * 10):
        for number in range(tick * rate // 10, (tick + 1) * rate // 10):
            _send(producer, settings, number, datetime.now(UTC))
        if tick % 10 == 0:
            _beat(producer, settings, datetime.now(UTC))
        producer.poll(0)
        time.sleep(max(0.0, started + (tick + 1) / 10 - time.monotonic()))
    producer.flush()


def _send(producer: Producer, settings: Settings, number: int, published: datetime) -> None:
    at, stamp = published.isoformat(timespec="milliseconds"), int(published.timestamp() * 1000)
    for side, topic in ((Side.AGODA, settings.topics.agoda_raw), (Side.SUPPLIER, settings.topics.supplier_raw)):
        if number % 100 == (7 if side is Side.AGODA else 57):
            continue
        off = 5000 if side is Side.SUPPLIER and number % 50 == 3 else 0
        event = {
            "eventId": f"{side.value}-{number}",
            "activityId": f"BK-{number}",
            "supplierId": f"SUP-{number % 30:03}",
            "activityType": "BOOKING",
            "amountMinor": number % 100_000 + off,
            "currency": "USD",
            "status": "BOOKED",
            "version": 1,
            "eventTime": at,
        }
        producer.produce(topic, json.dumps(event).encode(), key=f"BK-{number}".encode(), timestamp=stamp)


def _beat(producer: Producer, settings: Settings, at: datetime) -> None:
    value = json.dumps({"heartbeat": True, "eventTime": at.isoformat(timespec="milliseconds")}).encode()
    for topic in (settings.topics.agoda_raw, settings.topics.supplier_raw):
        for partition in range(settings.topics.partitions):
            producer.produce(topic, value, partition=partition, timestamp=int(at.timestamp() * 1000))


def _producer(settings: Settings, linger: int = 50) -> Producer:
    servers = settings.kafka.bootstrap_servers
    return Producer({"bootstrap.servers": servers, "linger.ms": linger, "batch.size": 1_000_000})


def _ours(spark: SparkSession, settings: Settings) -> StreamingQuery:
    return start_match(spark, settings, available_now=True)


def bare(spark: SparkSession, settings: Settings, *, available_now: bool = True) -> StreamingQuery:
    """The join that anyone would write: parsed columns, one hour's grace for all, into Delta; the same state store."""
    agoda, supplier = (_bare_side(spark, settings, side) for side in Side)
    near = F.expr("a.publishedAt BETWEEN s.publishedAt - INTERVAL 1 HOUR AND s.publishedAt + INTERVAL 1 HOUR")
    same = (F.col("a.supplierId") == F.col("s.supplierId")) & (F.col("a.activityId") == F.col("s.activityId"))
    joined = agoda.alias("a").join(supplier.alias("s"), on=same & near, how="full_outer")
    rows = joined.select(
        *[F.col(f"{side}.{name}").alias(f"{side}_{name}") for side in "as" for name in agoda.columns],
        F.current_timestamp().alias("joined_at"),
    )
    writer = rows.writeStream.format("delta").option("checkpointLocation", f"{settings.lake.root}/_bare")
    if available_now:
        return writer.trigger(availableNow=True).start(f"{settings.lake.root}/joined")
    return writer.trigger(processingTime=settings.stream.match_trigger).start(f"{settings.lake.root}/joined")


def _bare_side(spark: SparkSession, settings: Settings, side: Side) -> DataFrame:
    topic = settings.topics.agoda_nrt if side is Side.AGODA else settings.topics.supplier_nrt
    records = spark.readStream.format("kafka").options(**source_options(settings, topic)).load()
    parsed = records.select(F.from_json(F.col("value").cast("string"), _FIELDS).alias("event")).select("event.*")
    return parsed.withWatermark("publishedAt", "0 seconds").drop("heartbeat")


def cpu_seconds(spark: SparkSession) -> float:
    """Processor seconds of the session's JVM so far, user and system."""
    gateway = spark.sparkContext._gateway
    assert gateway is not None
    times = psutil.Process(gateway.proc.pid).cpu_times()
    return float(times.user + times.system)


def fresh(settings: Settings, broker: Broker, root: Path, prefix: str) -> Settings:
    """The settings with topics, which are made, and a lake of their own."""
    names = {key: f"{prefix}.{value}" for key, value in settings.topics.model_dump().items() if key != "partitions"}
    topics = settings.topics.model_copy(update=names)
    told = settings.model_copy(update={"topics": topics, "lake": Lake(root=str(root))})
    told = told.model_copy(update={"stream": _stream(settings, root)})
    create_topics(broker.bootstrap_servers, told)
    return told


def _stream(settings: Settings, root: Path) -> Stream:
    return settings.stream.model_copy(update={"checkpoint_root": f"{root}/_checkpoints"})


def _state(query: StreamingQuery) -> tuple[int, int]:
    """Rows and bytes that the query holds after its last batch: in memory, or in RocksDB's files."""
    progress = query.lastProgress
    assert progress is not None
    operator = progress.stateOperators[0]
    files = (operator.customMetrics or {}).get("rocksdbSstFileSize", 0)
    return operator.numRowsTotal, files or operator.memoryUsedBytes


def _lags(settings: Settings, name: str, since: datetime) -> list[float]:
    """Of pairs published since then: when it was committed to the table, less when the later event was published."""
    from deltalake import DeltaTable

    root = f"{settings.lake.root}/gold/nrt_results" if name == OURS else f"{settings.lake.root}/joined"
    table = DeltaTable(root)
    told = pl.from_arrow(table.get_add_actions(flatten=True))
    adds = told if isinstance(told, pl.DataFrame) else told.struct.unnest()
    found: list[float] = []
    for path, at in adds.select("path", "modification_time").iter_rows():
        rows = pl.read_parquet(f"{root}/{path}")
        if name == OURS:
            pairs = rows.filter(pl.col("outcome").is_in(["MATCHED", "MISMATCHED"]))
            published = pairs["published_at"]
        else:
            pairs = rows.drop_nulls(["a_publishedAt", "s_publishedAt"])
            published = pairs.select(pl.max_horizontal("a_publishedAt", "s_publishedAt").alias("at"))["at"]
        when = at if isinstance(at, datetime) else datetime.fromtimestamp(at / 1000, UTC)
        found += [(when - one).total_seconds() for one in published.to_list() if one >= since]
    return found
