"""Normalise against a bare Kafka → Delta append of parsed rows, from one broker."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from confluent_kafka import Producer
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from bench.data import DAY
from jobs.cli.broker import Broker
from jobs.common.kafka import create_topics, topic_partitions
from jobs.common.settings import Lake, Settings
from jobs.streaming.main import start_normalise
from jobs.streaming.normalise import raw_stream

_FIELDS = (
    "eventId string, activityId string, supplierId string, activityType string, amountMinor bigint, currency string, "
    "status string, version bigint, eventTime timestamp"
)


def produce(broker: Broker, settings: Settings, activities: int) -> None:
    """So many activities, both sides, onto the raw topics."""
    create_topics(broker.bootstrap_servers, settings)
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "linger.ms": 50, "batch.size": 1_000_000})
    at = f"{DAY}T10:00:00.000Z"
    published = int(datetime(DAY.year, DAY.month, DAY.day, 10, tzinfo=UTC).timestamp() * 1000)
    for number in range(activities):
        for side in ("agoda", "supplier"):
            event = {"eventId": f"{side}-{number}", "activityId": f"BK-{number}", "supplierId": f"SUP-{number % 30:03}"}
            event |= {"activityType": "BOOKING", "amountMinor": number % 100_000, "currency": "USD"}  # type: ignore[dict-item]
            event |= {"status": "BOOKED", "version": 1, "eventTime": at}  # type: ignore[dict-item]
            topic = f"{side}.raw.activity"
            producer.produce(topic, json.dumps(event).encode(), key=f"BK-{number}".encode(), timestamp=published)
        if number % 10_000 == 0:
            producer.flush()
    producer.flush()


def rounds(spark: SparkSession, settings: Settings, scratch: Path, count: int) -> dict[str, list[float]]:
    """Seconds of each round, the two in turn; every round with a new lake and checkpoint."""
    seconds: dict[str, list[float]] = {"reco normalise": [], "bare Kafka to Delta": []}
    for number in range(count + 1):
        for name, run in (("reco normalise", _ours), ("bare Kafka to Delta", _bare)):
            place = scratch / f"{name.replace(' ', '-')}-{number}"
            started = time.monotonic()
            run(spark, Settings(lake=Lake(root=str(place)), kafka=settings.kafka, spark=settings.spark))
            if number:  # the first round warms the JVM
                seconds[name].append(time.monotonic() - started)
    return seconds


def _ours(spark: SparkSession, settings: Settings) -> None:
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)  # noqa: E731
    start_normalise(spark, settings, topic_partitions(settings), available_now=True, clock=clock).awaitTermination()


def _bare(spark: SparkSession, settings: Settings) -> None:
    parsed = raw_stream(spark, settings).select(
        "topic", "partition", "offset", "timestamp", F.from_json(F.col("value").cast("string"), _FIELDS).alias("event")
    )
    rows = parsed.select("topic", "partition", "offset", "timestamp", "event.*")
    query = rows.writeStream.format("delta").option("checkpointLocation", f"{settings.lake.root}/_checkpoint")
    query.trigger(availableNow=True).start(f"{settings.lake.root}/events").awaitTermination()
