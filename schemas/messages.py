"""Messages on Kafka topics: JSON, camelCase (CONTRACT sections 2 and 3)."""

from pyspark.sql.types import BooleanType, StructType

from schemas.types import LONG, STRING, column

RAW_EVENT = StructType(
    [
        column("eventId", STRING, "1-128 characters; may be absent"),
        column("activityId", STRING, "1-128 characters"),
        column("supplierId", STRING, "1-128 characters"),
        column("activityType", STRING, "BOOKING, PAYMENT, REFUND or CANCELLATION"),
        column("amountMinor", LONG, "Amount in minor units, 0 to 10^15"),
        column("currency", STRING, "ISO 4217 code in force"),
        column("status", STRING, "BOOKED, CONFIRMED, PAID, CANCELLED, REFUNDED or FAILED"),
        column("version", LONG, "From 1"),
        column("eventTime", STRING, "ISO 8601 with an offset, to the millisecond"),
    ]
)

HEARTBEAT = StructType(
    [
        column("heartbeat", BooleanType(), "Always true"),
        column("eventTime", STRING, "Everything up to this time has been published on this partition, ISO 8601"),
    ]
)

CANONICAL_EVENT = StructType(
    [
        *RAW_EVENT.fields,
        column("source", STRING, "AGODA or SUPPLIER"),
        column("publishedAt", STRING, "Kafka timestamp of the raw record, ISO 8601, UTC, milliseconds"),
        column("mode", STRING, "NRT_HOURLY or DAILY_ONLY"),
        column("graceSeconds", LONG, "Supplier's grace, seconds"),
        column("policyVersion", LONG, "Version of the policies applied"),
        column("rawTopic", STRING, "Topic of the raw record"),
        column("rawPartition", LONG, "Partition of the raw record"),
        column("rawOffset", LONG, "Offset of the raw record"),
    ]
)
