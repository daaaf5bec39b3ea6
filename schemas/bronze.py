"""Bronze: every record as it was received."""

from pyspark.sql.types import ArrayType, BinaryType, DateType, IntegerType, StructType

from schemas.types import LONG, STRING, TIMESTAMP, Table, column

HEADER = StructType(
    [
        column("key", STRING, "Header name"),
        column("value", BinaryType(), "Header value, raw bytes"),
    ]
)

RAW_COLUMNS = [
    column("source", STRING, "Side the topic belongs to: AGODA or SUPPLIER"),
    column("topic", STRING, "Kafka topic"),
    column("partition", IntegerType(), "Kafka partition"),
    column("offset", LONG, "Kafka offset within the partition"),
    column("kafka_time", TIMESTAMP, "Publish time: the record's Kafka timestamp, UTC, milliseconds"),
    column("key", BinaryType(), "Record key, raw bytes, or its keyed hash where the settings say so"),
    column(
        "value",
        BinaryType(),
        "Record value, raw bytes, but for personal fields: keyed hashes, or a mark where it was erased; null for a "
        "tombstone",
    ),
    column("headers", ArrayType(HEADER), "Record headers in order; null where there are none, or they were erased"),
    column("ingested_at", TIMESTAMP, "Reading clock of the micro-batch that took the record in, UTC"),
    column("ingest_date", DateType(), "UTC date of ingested_at"),
    column("ingest_hour", IntegerType(), "UTC hour of ingested_at, 0-23"),
]

ACTIVITY_RAW = Table(
    path="bronze/activity_raw",
    comment="Every Kafka record as received, append-only but for payloads erased on request",
    schema=StructType(RAW_COLUMNS),
    partition_by=("ingest_date",),
    skipping=("topic", "partition", "offset", "kafka_time"),
)
