"""Gold of the stream: every verdict it gave, and its exceptions."""

from pyspark.sql.types import ArrayType, DataType, DateType, IntegerType, StructField, StructType

from schemas.gold import side_columns
from schemas.types import LONG, SECONDS, STRING, STRINGS, TIMESTAMP, USD, Table, column

BREAK = StructType(
    [
        column("anomaly_type", STRING, "Which rule is broken"),
        column("state", STRING, "PENDING while a side may still answer within its grace, else OPEN"),
        column("severity", STRING, "CRITICAL, HIGH, MEDIUM or LOW"),
        column("amount_at_risk_usd", USD, "Money at risk, US dollars; null where it cannot be priced"),
        column("explanation", STRING, "One sentence with the values and the limit"),
    ]
)

_KEY = [
    column("supplier_id", STRING, "Supplier, first half of the match key"),
    column("activity_id", STRING, "Activity, second half of the match key"),
]


def _judged() -> list[StructField]:
    kinds: list[tuple[str, DataType, str]] = [
        ("fx_date", DateType(), "Date whose FX rates price both sides: AGODA's event date, or SUPPLIER's"),
        ("price_diff_usd", USD, "Distance of the two amounts, US dollars; null where one is unpriced"),
        ("price_tolerance_usd", USD, "Greatest allowed distance, US dollars; null where one is unpriced"),
        ("skew_seconds", SECONDS, "Distance of the two event times, seconds"),
        ("agoda_events", LONG, "Distinct events of AGODA known, redeliveries not counted"),
        ("supplier_events", LONG, "Distinct events of SUPPLIER known, redeliveries not counted"),
    ]
    return [column(name, kind, what) for name, kind, what in kinds]


NRT_RESULTS = Table(
    path="gold/nrt_results",
    comment="Every verdict that the stream gave on a key, PROVISIONAL until its day is closed, append-only",
    schema=StructType(
        [
            column(
                "result_id",
                STRING,
                "SHA-256 of key, events known, policies and verdict, hexadecimal; of a verdict that comes back after "
                "another, of that and the verdicts that it ends",
            ),
            *_KEY,
            column("outcome", STRING, "MATCHED, MISMATCHED, MISSING_SUPPLIER or MISSING_AGODA"),
            column("anomaly_types", STRINGS, "The breaks found on this key, sorted; empty where there are none"),
            column("breaks", ArrayType(BREAK), "The breaks with what they cost, in the order of anomaly_types"),
            *side_columns("agoda"),
            *side_columns("supplier"),
            *_judged(),
            column("published_at", TIMESTAMP, "Publish time of the newest event the verdict knows, UTC"),
            column(
                "known_since", TIMESTAMP, "Publish time of what called for the verdict, UTC: the horizon ends there"
            ),
            column("pending_until", TIMESTAMP, "When the last grace that could still mend the break ends, UTC"),
            column("watermark", TIMESTAMP, "Everything published up to this time was known to the stream, UTC"),
            column("verdict_at", TIMESTAMP, "When the micro-batch that gave the verdict began, UTC"),
            column("verdict_date", DateType(), "UTC date of verdict_at"),
            column("verdict_hour", IntegerType(), "UTC hour of verdict_at, 0-23"),
            column("policy_version", LONG, "Version of the policies in force; 0 for the built-in defaults"),
            column("query_id", STRING, "Streaming query (its checkpoint's id) that gave the verdict"),
            column("batch_id", LONG, "Micro-batch of that query"),
        ]
    ),
    partition_by=("verdict_date",),
    skipping=("supplier_id", "activity_id", "published_at", "watermark", "verdict_at", "verdict_hour", "batch_id"),
    properties={"delta.enableChangeDataFeed": "true"},
)

BROKEN = StructType(
    [
        column("anomaly_type", STRING, "Which rule is broken"),
        column("open", LONG, "Breaks of that type that were OPEN"),
        column("pending", LONG, "Breaks of that type that were PENDING: a side may still answer within its grace"),
    ]
)

HOURLY_SUMMARY = Table(
    path="gold/hourly_summary",
    comment="The stream's verdicts by supplier and UTC hour, from gold/nrt_results; of each key the hour's last counts",
    schema=StructType(
        [
            column("verdict_date", DateType(), "UTC date of the verdicts"),
            column("verdict_hour", IntegerType(), "UTC hour of the verdicts, 0-23"),
            column("supplier_id", STRING, "Supplier"),
            column("verdicts", LONG, "Keys that were judged in the hour"),
            column("matched", LONG, "Keys whose outcome is MATCHED"),
            column("broken", ArrayType(BROKEN), "Breaks by anomaly type, sorted by it; empty where there are none"),
            column("amount_at_risk_usd", USD, "Money at risk of the OPEN breaks, US dollars; unpriced ones left out"),
            column("unpriced", LONG, "OPEN breaks that cannot be priced"),
            column(
                "delay_p50_ms",
                LONG,
                "Publication of a key's newest event to verdict_at, keys with both sides, median, milliseconds; "
                "null where there is no such key",
            ),
            column("delay_p99_ms", LONG, "The same, 99th percentile by nearest rank, milliseconds"),
        ]
    ),
    partition_by=("verdict_date",),
    skipping=("supplier_id", "verdict_hour"),
)

VERDICT_DRIFT = Table(
    path="gold/verdict_drift",
    comment="What the stream had said last of a closed day's keys, beside the close; NRT_HOURLY suppliers",
    schema=StructType(
        [
            column("reco_date", DateType(), "Closed UTC day"),
            column("supplier_id", STRING, "Supplier"),
            column("cause", STRING, "AGREES, or why not: NO_VERDICT, LATE_EVENT, LATER_EVENT, POLICY or DAY"),
            column("verdicts", LONG, "Keys of the day for which that is so"),
            column("close_id", STRING, "The close that compared"),
        ]
    ),
    partition_by=("reco_date",),
    skipping=("supplier_id", "cause"),
    owner="close",
)

NRT_EXCEPTIONS = Table(
    path="gold/nrt_exceptions",
    comment="The stream's exceptions, one row a supplier, activity and anomaly type, or a supplier that is silent",
    schema=StructType(
        [
            column("exception_id", STRING, "SHA-256 of supplier, activity and anomaly type, hexadecimal"),
            column("supplier_id", STRING, "Supplier"),
            column("activity_id", STRING, "Activity; null for FEED_SILENT"),
            column("anomaly_type", STRING, "Which rule is broken, or FEED_SILENT"),
            column("state", STRING, "PENDING, OPEN or RESOLVED"),
            column("held_by", STRING, "The FEED_SILENT exception that explains it; null where none does"),
            column("severity", STRING, "Severity when last judged"),
            column("amount_at_risk_usd", USD, "Money at risk when last judged, US dollars"),
            column("explanation", STRING, "One sentence with the values and the limit, as last judged"),
            column("pending_until", TIMESTAMP, "When the last grace that could still mend it ends, UTC"),
            column(
                "known_since",
                TIMESTAMP,
                "Publish time of what first called for it, UTC; of FEED_SILENT the last event's",
            ),
            column("first_seen_at", TIMESTAMP, "When it was first seen, pending or open, UTC"),
            column("opened_at", TIMESTAMP, "When it was last opened, UTC; null where it never was"),
            column("resolved_at", TIMESTAMP, "When it was resolved, UTC; null while it is not"),
            column("reopened", LONG, "How often it came back after it was resolved"),
            column("result_id", STRING, "The verdict that last changed it; of FEED_SILENT the micro-batch, hashed"),
            column(
                "judged_by",
                STRING,
                "What the last verdict on its key says, hashed, whether it changed it or not: the verdict's result_id, "
                "where the key was not told the same before",
            ),
        ]
    ),
    skipping=("exception_id", "supplier_id", "activity_id", "state", "pending_until", "first_seen_at", "resolved_at"),
    properties={"delta.enableChangeDataFeed": "true"},
)
