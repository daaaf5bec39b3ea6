"""Normalise against a bare Kafka → Delta append of parsed rows, from one broker.

Between the two stands what merely writes: the same tables and messages as normalise from the same records, without a
rule, a check, a policy or a count. It tells how much of the distance are the outputs that the contract asks for.
"""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from confluent_kafka import Producer
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from bench.data import DAY
from jobs.cli.broker import Broker
from jobs.common.kafka import create_topics, spark_options, topic_partitions
from jobs.common.settings import Lake, Settings
from jobs.streaming.main import start_normalise
from jobs.streaming.normalise import raw_stream

#: Rounds that warm the JVM: after one it still compiles, ours, whose code is more, a fifth slower than after two.
_WARM = 2
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
    contenders = {"reco normalise": _ours, "bare Kafka to Delta": _bare, "its outputs without its rules": _outputs}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(count + _WARM):
        for name, run in contenders.items():
            place = scratch / f"{name.replace(' ', '-')}-{number}"
            started = time.monotonic()
            run(spark, Settings(lake=Lake(root=str(place)), kafka=settings.kafka, spark=settings.spark))
            if number >= _WARM:
                seconds[name].append(time.monotonic() - started)
            print(f"normalise round {number} {name}: {time.monotonic() - started:.1f} s", flush=True)
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


def _outputs(spark: SparkSession, settings: Settings) -> None:
    names = [field.split()[0] for field in _FIELDS.split(", ")]

    def write(batch: DataFrame, _: int) -> None:
        event = F.from_json(F.col("value").cast("string"), _FIELDS)
        rows = batch.withColumn("event", event).withColumn("ingested_at", F.current_timestamp()).persist()
        raw = ["topic", "partition", "offset", "timestamp", "key", "value", "headers", "ingested_at"]
        rows.select(*raw).write.format("delta").mode("append").save(f"{settings.lake.root}/raw")
        at = F.col("event.eventTime")
        dated = rows.withColumn("event_date", F.to_date(at)).withColumn("event_hour", F.hour(at))
        kept = ["event.*", "timestamp", "topic", "partition", "offset", "ingested_at", "event_date", "event_hour"]
        dated.select(*kept).write.format("delta").mode("append").save(f"{settings.lake.root}/events")
        topics = F.when(F.col("topic") == settings.topics.agoda_raw, F.lit(settings.topics.agoda_canonical)).otherwise(
            F.lit(settings.topics.supplier_canonical)
        )
        told = F.to_json(F.struct(*[F.col(f"event.{name}").alias(name) for name in names], "ingested_at"))
        messages = rows.select(topics.alias("topic"), "key", told.alias("value"))
        messages.write.format("kafka").options(**spark_options(settings)).save()
        rows.unpersist()

    query = raw_stream(spark, settings).writeStream.foreachBatch(write)
    query = query.option("checkpointLocation", f"{settings.lake.root}/_checkpoint").trigger(availableNow=True)
    query.start().awaitTermination()
