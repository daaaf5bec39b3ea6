"""What people do about exceptions; the one table that the console writes."""

from pyspark.sql.types import DateType, StructType

from schemas.types import LONG, STRING, TIMESTAMP, USD, Table, column

EXCEPTION_ACTIONS = Table(
    path="gold/exception_actions",
    comment="What people did about exceptions, one row an action and exception, append-only",
    schema=StructType(
        [
            column("action_id", STRING, "SHA-256 of request_id and exception_id, hexadecimal"),
            column("request_id", STRING, "The request that the action came with; several exceptions may share it"),
            column("exception_id", STRING, "Exception of gold/exceptions or gold/nrt_exceptions that was acted on"),
            column("supplier_id", STRING, "Supplier of the exception"),
            column("activity_id", STRING, "Activity of the exception; null for FEED_SILENT"),
            column("anomaly_type", STRING, "Which rule is broken, or FEED_SILENT"),
            column("action", STRING, "ACKNOWLEDGE, ASSIGN, COMMENT, RESOLVE or REOPEN"),
            column("acted_by", STRING, "User who acted"),
            column("acted_at", TIMESTAMP, "When, by the console's clock, UTC"),
            column("assignee", STRING, "User it was given to by ASSIGN; null where it was taken from everybody"),
            column("reason", STRING, "Reason of RESOLVE: one of a few words"),
            column("comment", STRING, "What the user wrote; null for nothing"),
            column("seen_last_seen_date", DateType(), "last_seen_date of the exception when acted on; null for none"),
            column("seen_reopened", LONG, "reopened of the stream's exception when acted on; null for none"),
            column("seen_amount_at_risk_usd", USD, "Money at risk when acted on, US dollars; null where unpriced"),
        ]
    ),
    skipping=("exception_id", "supplier_id", "acted_at"),
    owner="console",
)
