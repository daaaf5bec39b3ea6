"""Messages on Kafka topics: JSON, camelCase (CONTRACT sections 2 and 3)."""

from pyspark.sql.types import BooleanType, StructType

from schemas.types import LONG, STRING, STRINGS, USD, column

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
        column("versions", STRING, "Whether both sides number versions alike: aligned or independent"),
        column("policyVersion", LONG, "Version of the policies applied"),
        column("rawTopic", STRING, "Topic of the raw record"),
        column("rawPartition", LONG, "Partition of the raw record"),
        column("rawOffset", LONG, "Offset of the raw record"),
    ]
)

_RESULT = [
    column("resultId", STRING, "The same for a message that is sent again: repeats can be dropped by it"),
    column("kind", STRING, "VERDICT or EXCEPTION"),
    column("supplierId", STRING, "Supplier"),
    column("activityId", STRING, "Activity; null for FEED_SILENT"),
]

VERDICT = StructType(
    [
        *_RESULT,
        column("outcome", STRING, "MATCHED, MISMATCHED, MISSING_SUPPLIER or MISSING_AGODA"),
        column("anomalyTypes", STRINGS, "The breaks found, sorted"),
        column("agodaVersion", LONG, "AGODA's latest version known"),
        column("supplierVersion", LONG, "SUPPLIER's latest version known"),
        column("agodaAmountUsd", USD, "AGODA's amount, US dollars"),
        column("supplierAmountUsd", USD, "SUPPLIER's amount, US dollars"),
        column("publishedAt", STRING, "Publish time of the newest event known, ISO 8601, UTC"),
        column("pendingUntil", STRING, "When the last grace that could still mend the break ends, ISO 8601, UTC"),
        column("verdictAt", STRING, "When the verdict was given, ISO 8601, UTC"),
        column("policyVersion", LONG, "Version of the policies in force"),
    ]
)

EXCEPTION_CHANGE = StructType(
    [
        *_RESULT,
        column("exceptionId", STRING, "The exception's id in gold/nrt_exceptions"),
        column("anomalyType", STRING, "Which rule is broken, or FEED_SILENT"),
        column("state", STRING, "PENDING, OPEN or RESOLVED"),
        column("heldBy", STRING, "The FEED_SILENT exception that explained it when this was sent; null where none did"),
        column("severity", STRING, "CRITICAL, HIGH, MEDIUM or LOW"),
        column("amountAtRiskUsd", USD, "Money at risk, US dollars; null where it cannot be priced"),
        column("explanation", STRING, "One sentence with the values and the limit"),
        column("pendingUntil", STRING, "When the last grace that could still mend it ends, ISO 8601, UTC"),
        column("openedAt", STRING, "When it was last opened, ISO 8601, UTC"),
        column("resolvedAt", STRING, "When it was resolved, ISO 8601, UTC"),
    ]
)
