"""`python -m bench.state_store`: the join of `match` alone, by settings of its state store, in turn in one warm JVM.

Canonical messages come in parts to a query that gives its rows to nobody, so that only the join is measured: the
processor time of the JVM (user and system), the bytes of state on disk and in RocksDB's memory.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

from confluent_kafka import Producer
from pyspark.sql import SparkSession

from bench.match import cpu_seconds, fresh
from jobs.cli.broker import Broker
from jobs.common.session import spark_session
from jobs.common.settings import Kafka, Lake, Settings, Spark
from jobs.streaming.main import STATE_STORE
from jobs.streaming.match import triggers
from reco_rules.vocabulary import Side

RESULTS = Path(__file__).parent / "results" / "state_store.json"
_FORMAT = "spark.sql.streaming.join.stateFormatVersion"
_ROCKSDB, _STREAMING = "spark.sql.streaming.stateStore.rocksdb", "spark.sql.streaming"
#: What is measured, beside Spark's defaults (join format 2, four stores a partition) with RocksDB and its changelog.
VARIANTS: Mapping[str, Mapping[str, str]] = {
    "RocksDB with its changelog": {},
    "without a changelog": {f"{_ROCKSDB}.changelogCheckpointing.enabled": "false"},
    "one store for both sides (join format 3)": {_FORMAT: "3"},
    "rows not counted": {f"{_ROCKSDB}.trackTotalNumberOfRows": "false"},
    "bounded memory, 200 MB": {
        f"{_ROCKSDB}.boundedMemoryUsage": "true",
        f"{_ROCKSDB}.maxMemoryUsageMB": "200",
    },
    "compacted at each commit": {f"{_ROCKSDB}.compactOnCommit": "true"},
    "block cache of 64 MB": {f"{_ROCKSDB}.blockCacheSizeMB": "64"},
    "1 partition": {"spark.sql.shuffle.partitions": "1"},
    "4 partitions": {"spark.sql.shuffle.partitions": "4"},
    "in memory": {
        f"{_STREAMING}.stateStore.providerClass": STATE_STORE["memory"][f"{_STREAMING}.stateStore.providerClass"]
    },
}


def main() -> None:
    """Measure each variant so many times, in turn, and keep each round's figures."""
    options = _options()
    found: dict[str, list[dict[str, float]]] = {name: [] for name in VARIANTS if name in (options.only or VARIANTS)}
    with (
        tempfile.TemporaryDirectory(prefix="reco-state-", dir=options.folder) as folder,
        Broker(Path(folder) / "broker") as broker,
    ):
        settings = Settings(
            lake=Lake(root=folder),
            kafka=Kafka(bootstrap_servers=broker.bootstrap_servers),
            spark=Spark(driver_memory="2g"),
        )
        spark = spark_session("reco-state", settings)
        warming = [(0, next(iter(found)))] * 2
        for run, (number, name) in enumerate([*warming, *product(range(1, options.rounds + 1), found)]):
            place = Path(folder) / str(run)
            one = measured(spark, fresh(settings, broker, place, f"state{run}"), VARIANTS[name], options)
            print(f"round {number} {name}: {one}", flush=True)
            if number:
                found[name].append(one)
        spark.stop()
    told = {"events_a_side": options.events, "batches": options.batches, "rounds": found}
    RESULTS.write_text(json.dumps(told, indent=1) + "\n")


def measured(
    spark: SparkSession, settings: Settings, conf: Mapping[str, str], options: argparse.Namespace
) -> dict[str, float]:
    """One run of the query under these settings: `cpu_seconds`, `disk_mb`, `memory_mb`."""
    changed = {**STATE_STORE["rocksdb"], _FORMAT: "2", **conf}
    before = {name: spark.conf.get(name, None) for name in changed}
    for name, value in changed.items():
        spark.conf.set(name, value)
    try:
        writer = triggers(spark, settings).writeStream.format("noop")
        writer = writer.option("checkpointLocation", f"{settings.lake.root}/check").trigger(processingTime="0 seconds")
        _produce(settings, 0, options)
        begun = cpu_seconds(spark)
        query = writer.start()
        for part in range(options.batches):
            if part:
                _produce(settings, part, options)
            query.processAllAvailable()
        taken = cpu_seconds(spark) - begun
        progress = query.lastProgress
        query.stop()
    finally:
        for name, was in before.items():
            spark.conf.unset(name) if was is None else spark.conf.set(name, was)
    assert progress is not None
    held = Path(settings.lake.root, "check", "state")
    disk = sum(path.stat().st_size for path in held.rglob("*") if path.is_file())
    memory = sum(operator.memoryUsedBytes for operator in progress.stateOperators)
    return {"cpu_seconds": round(taken, 2), "disk_mb": round(disk / 1e6, 1), "memory_mb": round(memory / 1e6, 1)}


def _produce(settings: Settings, part: int, options: argparse.Namespace) -> None:
    """A part of the events of both sides, some without an answer, and a heartbeat on each partition."""
    producer = Producer({"bootstrap.servers": settings.kafka.bootstrap_servers, "linger.ms": 50})
    size = options.events // options.batches
    at = (datetime.now(UTC) + timedelta(seconds=part)).isoformat(timespec="milliseconds")
    for side, topic in ((Side.AGODA, settings.topics.agoda_nrt), (Side.SUPPLIER, settings.topics.supplier_nrt)):
        for number in range(part * size, (part + 1) * size):
            if number % 100 == (7 if side is Side.AGODA else 57):
                continue
            event = {
                "eventId": f"{side.value}-{number}",
                "activityId": f"BK-{number}",
                "supplierId": f"SUP-{number % 30:03}",
                "activityType": "BOOKING",
                "amountMinor": number % 100_000,
                "currency": "USD",
                "status": "BOOKED",
                "version": 1,
                "eventTime": at,
                "publishedAt": at,
                "graceSeconds": 3600,
                "versions": "aligned",
            }
            producer.produce(topic, json.dumps(event).encode(), key=f"BK-{number}".encode())
            if number % 10_000 == 0:
                producer.flush()
        beat = json.dumps({"heartbeat": True, "eventTime": at, "publishedAt": at}).encode()
        for partition in range(settings.topics.partitions):
            producer.produce(topic, beat, partition=partition)
    producer.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000, help="events a side")
    parser.add_argument("--batches", type=int, default=10, help="in so many parts")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=[], help="variants by name; else all")
    parser.add_argument("--folder", default=None, help="where the scratch data goes")
    return parser.parse_args()


if __name__ == "__main__":
    main()
