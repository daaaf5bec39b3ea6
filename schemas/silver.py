"""Silver: what became an event, and what could not."""

from pyspark.sql.types import DateType, IntegerType, StructType

from schemas.bronze import RAW_COLUMNS
from schemas.types import LONG, STRING, STRINGS, TIMESTAMP, Table, column

ACTIVITY = Table(
    path="silver/activity",
    comment="Every event, every delivery, append-only",
    schema=StructType(
        [
            column(
                "event_id",
                STRING,
                "The event's id; derived from topic, partition and offset where the producer gave none",
            ),
            column("source", STRING, "Reporting side: AGODA or SUPPLIER"),
            column("supplier_id", STRING, "Supplier, first half of the match key"),
            column("activity_id", STRING, "Activity, second half of the match key"),
            column("activity_type", STRING, "BOOKING, PAYMENT, REFUND or CANCELLATION"),
            column("amount_minor", LONG, "Amount in minor units of currency, 0 to 10^15"),
            column("currency", STRING, "ISO 4217 code"),
            column("status", STRING, "BOOKED, CONFIRMED, PAID, CANCELLED, REFUNDED or FAILED"),
            column("version", LONG, "Version of the activity on its side, from 1"),
            column("event_time", TIMESTAMP, "When it happened, UTC, milliseconds"),
            column("kafka_time", TIMESTAMP, "When it was published: the record's Kafka timestamp, UTC, milliseconds"),
            column("mode", STRING, "Supplier's mode when normalised: NRT_HOURLY or DAILY_ONLY"),
            column("grace_seconds", LONG, "Supplier's grace when normalised, seconds"),
            column("policy_version", LONG, "Version of the policies that mode and grace were taken from"),
            column("topic", STRING, "Kafka topic of the raw record"),
            column("partition", IntegerType(), "Kafka partition of the raw record"),
            column("offset", LONG, "Kafka offset of the raw record"),
            column("ingested_at", TIMESTAMP, "Reading clock of the micro-batch that took the record in, UTC"),
            column("event_date", DateType(), "UTC date of event_time"),
            column("event_hour", IntegerType(), "UTC hour of event_time, 0-23"),
        ]
    ),
    partition_by=("event_date",),
    skipping=(
        "supplier_id",
        "activity_id",
        "version",
        "event_time",
        "kafka_time",
        "topic",
        "partition",
        "offset",
        "ingested_at",
        "event_hour",
    ),
    properties={"delta.enableChangeDataFeed": "true"},
)

QUARANTINE = Table(
    path="silver/quarantine",
    comment="Every record that could not become an event, whole, with its reasons, append-only",
    schema=StructType([*RAW_COLUMNS, column("reasons", STRINGS, "Reason codes, sorted: why the record is no event")]),
    partition_by=("ingest_date",),
    skipping=("topic", "partition", "offset", "kafka_time"),
)
