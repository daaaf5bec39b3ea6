"""Gold: the close's verdicts, its breaks, their life, and the record of every close."""

from pyspark.sql.types import ArrayType, BooleanType, DataType, DateType, MapType, StructField, StructType

from schemas.types import LONG, SECONDS, STRING, STRINGS, TIMESTAMP, USD, Table, column

KEY = [
    column("reco_date", DateType(), "UTC day the key belongs to"),
    column("supplier_id", STRING, "Supplier, first half of the match key"),
    column("activity_id", STRING, "Activity, second half of the match key"),
]

DUPLICATE_EVENT = StructType(
    [
        column("version", LONG, "Version, the duplicated part of the idempotency key"),
        column("event_id", STRING, "Event id"),
        column("amount_minor", LONG, "Amount in minor units of currency"),
        column("currency", STRING, "ISO 4217 code"),
        column("status", STRING, "Status"),
        column("event_time", TIMESTAMP, "When it happened, UTC"),
    ]
)

DUPLICATES = ArrayType(DUPLICATE_EVENT)


def side_columns(side: str) -> list[StructField]:
    """The latest version of one side, null where that side is missing."""
    kinds: list[tuple[str, DataType, str]] = [
        ("event_id", STRING, "event id"),
        ("activity_type", STRING, "activity type"),
        ("amount_minor", LONG, "amount in minor units of its currency"),
        ("currency", STRING, "ISO 4217 code"),
        ("status", STRING, "status"),
        ("version", LONG, "version"),
        ("event_time", TIMESTAMP, "event time, UTC"),
        ("amount_usd", USD, "amount, US dollars; null where no rate was known"),
    ]
    return [column(f"{side}_{name}", kind, f"{side.upper()}'s latest version: {what}") for name, kind, what in kinds]


FACTS = Table(
    path="gold/reconciliation_facts",
    comment="The close's verdict, one row a reco_date, supplier and activity",
    schema=StructType(
        [
            *KEY,
            column("outcome", STRING, "MATCHED, MISMATCHED, MISSING_SUPPLIER or MISSING_AGODA"),
            column("anomaly_types", STRINGS, "The breaks found on this key, sorted; empty where there are none"),
            *side_columns("agoda"),
            *side_columns("supplier"),
            column("fx_date", DateType(), "Date whose FX rates price both sides: AGODA's event date, or SUPPLIER's"),
            column("price_diff_usd", USD, "Distance of the two amounts, US dollars; null where one is unpriced"),
            column("price_tolerance_usd", USD, "Greatest allowed distance, US dollars; null where one is unpriced"),
            column("skew_seconds", SECONDS, "Distance of the two event times, seconds"),
            column("agoda_events", LONG, "Distinct events of AGODA on this date, redeliveries not counted"),
            column("supplier_events", LONG, "Distinct events of SUPPLIER on this date, redeliveries not counted"),
            column(
                "agoda_delay_seconds", SECONDS, "Longest time from event to first publication on this date, seconds"
            ),
            column(
                "supplier_delay_seconds", SECONDS, "Longest time from event to first publication on this date, seconds"
            ),
            column("agoda_duplicates", DUPLICATES, "AGODA's events of this date where one is a duplicate"),
            column(
                "supplier_duplicates",
                DUPLICATES,
                "SUPPLIER's events of this date where one is a duplicate",
            ),
            column("close_id", STRING, "The close that wrote this row"),
        ]
    ),
    partition_by=("reco_date",),
    skipping=("supplier_id", "activity_id", "outcome"),
    owner="close",
)

ANOMALIES = Table(
    path="gold/anomalies",
    comment="The close's breaks, one row a reco_date, supplier, activity and anomaly type",
    schema=StructType(
        [
            column("anomaly_id", STRING, "SHA-256 of the row's key, hexadecimal"),
            *KEY,
            column("anomaly_type", STRING, "Which rule is broken"),
            column("outcome", STRING, "Outcome of the fact it stands on"),
            column("severity", STRING, "CRITICAL, HIGH, MEDIUM or LOW"),
            column("amount_at_risk_usd", USD, "Money at risk, US dollars; null where it cannot be priced"),
            column("explanation", STRING, "One sentence with the values and the limit"),
            column("close_id", STRING, "The close that wrote this row"),
        ]
    ),
    partition_by=("reco_date",),
    skipping=("supplier_id", "activity_id", "anomaly_type"),
    owner="close",
)

EXCEPTIONS = Table(
    path="gold/exceptions",
    comment="Each break's life across days, one row a supplier, activity and anomaly type",
    schema=StructType(
        [
            column("exception_id", STRING, "SHA-256 of supplier, activity and anomaly type, hexadecimal"),
            column("supplier_id", STRING, "Supplier"),
            column("activity_id", STRING, "Activity"),
            column("anomaly_type", STRING, "Which rule is broken"),
            column("state", STRING, "OPEN or RESOLVED"),
            column("severity", STRING, "Severity when last seen"),
            column("amount_at_risk_usd", USD, "Money at risk when last seen, US dollars"),
            column("first_seen_date", DateType(), "First reco_date whose close found it"),
            column("last_seen_date", DateType(), "Last reco_date whose close found it"),
            column("resolved_date", DateType(), "reco_date whose close no longer found it; null while open"),
            column("close_id", STRING, "The close that last changed this row"),
        ]
    ),
    skipping=("exception_id", "supplier_id", "activity_id", "state", "last_seen_date"),
    owner="close",
)

CHANGES = Table(
    path="gold/close_changes",
    comment="What a later revision of a close changed, one row a changed fact",
    schema=StructType(
        [
            *KEY,
            column("revision", LONG, "Revision that made the change, from 2"),
            column("change", STRING, "ADDED, REMOVED or CHANGED"),
            column("outcome_before", STRING, "Outcome in the revision before; null where added"),
            column("outcome_after", STRING, "Outcome in this revision; null where removed"),
            column("anomaly_types_before", STRINGS, "Breaks in the revision before"),
            column("anomaly_types_after", STRINGS, "Breaks in this revision"),
            column("agoda_moved_usd", USD, "AGODA's amount after minus before, US dollars"),
            column("supplier_moved_usd", USD, "SUPPLIER's amount after minus before, US dollars"),
            column("close_id", STRING, "The close that made the change"),
        ]
    ),
    partition_by=("reco_date",),
    skipping=("supplier_id", "activity_id"),
    owner="close",
)

CONTROL_TOTAL = StructType(
    [
        column("supplier_id", STRING, "Supplier"),
        column("side", STRING, "AGODA or SUPPLIER"),
        column("keys_in", LONG, "Keys of this side that came in"),
        column("matched", LONG, "Keys in MATCHED facts"),
        column("mismatched", LONG, "Keys in MISMATCHED facts"),
        column("missing", LONG, "Keys in facts whose other side is missing"),
        column("amount_in_usd", USD, "Sum over the keys that came in, US dollars"),
        column("matched_usd", USD, "Sum over MATCHED facts, US dollars"),
        column("mismatched_usd", USD, "Sum over MISMATCHED facts, US dollars"),
        column("missing_usd", USD, "Sum over facts whose other side is missing, US dollars"),
    ]
)

CLOSES = Table(
    path="gold/closes",
    comment="One row a close: what it read, what it wrote, its control totals and content hash, append-only",
    schema=StructType(
        [
            column("close_id", STRING, "Id of the close: date and revision"),
            column("reco_date", DateType(), "Closed UTC day"),
            column("revision", LONG, "1 for the first close of the date, then one more each time"),
            column("provisional", BooleanType(), "Closed before the day was over"),
            column("started_at", TIMESTAMP, "When the close began, UTC"),
            column("finished_at", TIMESTAMP, "When the close had written everything else, UTC"),
            column("silver_version", LONG, "Delta version of silver/activity that was read"),
            column(
                "policies_table_version", LONG, "Delta version of ref/policies that was read; null where there is none"
            ),
            column("fx_table_version", LONG, "Delta version of ref/fx_rates that was read; null where there is none"),
            column("policy_version", LONG, "Policy version in force; 0 for the built-in defaults"),
            column("fx_version", LONG, "Highest FX version read; 0 where there is none"),
            column("history_days", LONG, "Days before reco_date in which a latest version was looked for"),
            column("code_version", STRING, "Version of this software"),
            column("facts", LONG, "Rows written to gold/reconciliation_facts"),
            column("anomalies", LONG, "Rows written to gold/anomalies"),
            column("outcomes", MapType(STRING, LONG), "Facts by outcome"),
            column("anomaly_counts", MapType(STRING, LONG), "Anomalies by type"),
            column("amount_at_risk_usd", USD, "Sum over the anomalies, US dollars"),
            column("control_totals", ArrayType(CONTROL_TOTAL), "Control totals by supplier and side"),
            column(
                "content_hash",
                STRING,
                "SHA-256 over the sums of all row hashes of facts and anomalies, close_id left out",
            ),
            column("changed_facts", LONG, "Facts that differ from the revision before; null for the first"),
            column("moved_usd", USD, "Change of the anomalies' sum against the revision before, US dollars"),
            column("engine", STRING, "spark or duckdb; null in closes of builds that had only Spark"),
        ]
    ),
    skipping=("close_id", "reco_date"),
    owner="close",
)
