"""Records onto a real broker, and back what the job made of them."""

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl
from confluent_kafka import Consumer, Producer, TopicPartition
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.common.kafka import client_options, create_topics
from jobs.common.lake import open_table, read
from jobs.common.settings import Settings
from tests.oracle.model import Event
from tests.oracle.normalise import Raw, normalise

_SILVER = ("event_id", "source", "supplier_id", "activity_id", "activity_type", "amount_minor", "currency", "status")
Place = tuple[str, int, int]


def new_settings(root: str, servers: str, prefix: str, **stream: Any) -> Settings:
    """Settings with a lake and topics of their own, the topics made."""
    topics = {name: f"{prefix}.{field.default}" for name, field in _topic_fields() if name != "partitions"}
    settings = Settings.model_validate(
        {"lake": {"root": root}, "kafka": {"bootstrap_servers": servers}, "topics": topics, "stream": stream}
    )
    create_topics(servers, settings)
    return settings


def _topic_fields() -> Iterable[tuple[str, Any]]:
    return type(Settings().topics).model_fields.items()


def produce(settings: Settings, records: Iterable[Raw]) -> None:
    """Send the records as they are, each to its partition with its timestamp and headers."""
    names = {"agoda.raw.activity": settings.topics.agoda_raw, "supplier.raw.activity": settings.topics.supplier_raw}
    # Idempotent, since a batch that is sent again, to a topic made a moment ago, would else overtake the next: the
    # oracle's offsets are those of the order of sending.
    options = {"message.max.bytes": 8_000_000, "linger.ms": 20, "enable.idempotence": True}
    producer = Producer({**client_options(settings), **options})
    for record in records:
        producer.produce(
            names[record.topic],
            value=record.value,
            key=record.key,
            partition=record.partition,
            timestamp=round(record.timestamp.timestamp() * 1000),
            headers=list(record.headers) or None,
        )
    assert producer.flush(60) == 0


def produce_to(settings: Settings, topic: str, values: Iterable[bytes]) -> None:
    """Send what another might send to a topic of ours, without key or time of its own."""
    producer = Producer(client_options(settings))
    for value in values:
        producer.produce(topic, value=value)
    assert producer.flush(60) == 0


def assert_tables_are_the_oracles(settings: Settings, records: Sequence[Raw], clock: datetime) -> None:
    """Each record is in bronze once, and in silver, in quarantine, or nowhere, as the oracle says."""
    bronze = _table(settings, "activity_raw")
    value_of = {_place(row): row["value"] for row in bronze}
    assert len(value_of) == len(bronze) == len(records)
    verdicts = {_at(settings, record): normalise(record, clock) for record in records}
    assert value_of == {_at(settings, record): record.value for record in records}
    silver = _table(settings, "activity")
    assert len({_place(row) for row in silver}) == len(silver)
    assert {_place(row): _as_event(settings, row) for row in silver} == {
        place: verdict[1] for place, verdict in verdicts.items() if verdict[0] == "event"
    }
    quarantine = _table(settings, "quarantine")
    assert len({_place(row) for row in quarantine}) == len(quarantine)
    assert {_place(row): tuple(row["reasons"]) for row in quarantine} == {
        place: verdict[1] for place, verdict in verdicts.items() if verdict[0] == "quarantine"
    }


def batch_of(spark: SparkSession, records: Sequence[Raw]) -> DataFrame:
    """Records as Kafka's source gives them to a micro-batch; constants of the plan, which need no Python worker."""

    def binary(value: bytes | None) -> str:
        return "null" if value is None else f"X'{value.hex()}'"

    def row(r: Raw) -> str:
        headers = ", ".join(f"struct('{key}', {binary(value)})" for key, value in r.headers)
        at = f"timestamp_millis({round(r.timestamp.timestamp() * 1000)})"
        values = [f"'{r.topic}'", f"{r.partition}", f"{r.offset}L", at, binary(r.key), binary(r.value)]
        return f"({', '.join(values)}, cast(array({headers}) as array<struct<key: string, value: binary>>))"

    columns = "topic, partition, offset, timestamp, key, value, headers"
    some = records or [Raw("none", 0, 0, b"", b"", datetime(2026, 1, 1, tzinfo=UTC))]
    rows = spark.sql(f"SELECT * FROM VALUES {', '.join(map(row, some))} AS t({columns})")
    return rows.where(F.lit(bool(records)))


def consume(settings: Settings, topic: str) -> list[tuple[int, bytes | None, bytes | None]]:
    """Every message of a topic: partition, key, value."""
    # What is asked of a partition at its end would else hold the next partition up for half a second.
    consumer = Consumer({**client_options(settings), "group.id": "test", "fetch.wait.max.ms": 10})
    try:
        found: list[tuple[int, bytes | None, bytes | None]] = []
        for number in range(settings.topics.partitions):
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=20)
            consumer.assign([TopicPartition(topic, number, low)])
            for _ in range(high - low):
                message = consumer.poll(20)
                assert message is not None, f"{topic}-{number} gave fewer messages than it says it has"
                assert message.error() is None, message.error()
                found.append((number, message.key(), message.value()))
        return found
    finally:
        consumer.close()


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Until the condition holds. Raises AssertionError past the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        began = time.monotonic()
        if condition():
            return
        now = time.monotonic()
        assert now < deadline, f"no {what} within {seconds} s"
        # One that reads a table takes a fifth of a processor at most from what it waits for.
        time.sleep(max(0.05, 4 * (now - began)))


def _table(settings: Settings, name: str) -> list[dict[str, Any]]:
    table = open_table(settings, name)
    return read(table, name).filter(pl.col("topic").is_not_null()).to_dicts() if table else []


def _place(row: dict[str, Any]) -> Place:
    return row["topic"], row["partition"], row["offset"]


def _at(settings: Settings, record: Raw) -> Place:
    names = {"agoda.raw.activity": settings.topics.agoda_raw, "supplier.raw.activity": settings.topics.supplier_raw}
    return names[record.topic], record.partition, record.offset


def _as_event(settings: Settings, row: dict[str, Any]) -> Event:
    derived = f"{row['topic']}-{row['partition']}-{row['offset']}"
    contract = {settings.topics.agoda_raw: "agoda.raw.activity", settings.topics.supplier_raw: "supplier.raw.activity"}
    event_id = row["event_id"]
    if event_id == derived:
        event_id = f"{contract[row['topic']]}-{row['partition']}-{row['offset']}"
    fields = {name: row[name] for name in _SILVER} | {"event_id": event_id}
    return Event(**fields, version=row["version"], event_time=row["event_time"], kafka_time=row["kafka_time"])
