"""What proposed policies would have said of past closes; written by the backtest alone, read by the console."""

from pyspark.sql.types import ArrayType, DateType, StructType

from schemas.types import LONG, STRING, STRINGS, TIMESTAMP, USD, Table, column

TALLY = StructType(
    [
        column("anomaly_type", STRING, "Which rule is broken"),
        column("before", LONG, "Breaks under the close's own policies"),
        column("after", LONG, "Breaks under the proposed file"),
        column("gained", LONG, "Breaks under the proposed file only"),
        column("lost", LONG, "Breaks under the close's own policies only"),
        column("reweighed", LONG, "Breaks under both, with another severity"),
        column("gained_usd", USD, "Money at risk of the gained breaks that have a price, US dollars"),
        column("lost_usd", USD, "Money at risk of the lost breaks that have a price, US dollars"),
        column("gained_unpriced", LONG, "Gained breaks without a price"),
        column("lost_unpriced", LONG, "Lost breaks without a price"),
        column("before_usd", USD, "Money at risk under the close's own policies, US dollars"),
        column("after_usd", USD, "Money at risk under the proposed file, US dollars"),
    ]
)

EDGE = StructType(
    [
        column("reco_date", DateType(), "UTC day of the fact"),
        column("activity_id", STRING, "Activity"),
        column("anomaly_type", STRING, "Which rule is broken"),
        column("change", STRING, "GAINED or LOST"),
        column("amount_at_risk_usd", USD, "Money at risk, US dollars; null where it cannot be priced"),
        column("measured", STRING, "The values that the rule compares"),
        column("limit_before", STRING, "The limit of the close's own policies; null where there is no fact"),
        column("limit_after", STRING, "The limit of the proposed file; null where there is no fact"),
        column("margin_before", STRING, "How far from that limit, on which side; null where nothing is measured"),
        column("margin_after", STRING, "How far from that limit, on which side; null where nothing is measured"),
    ]
)

POLICY_BACKTESTS = Table(
    path="gold/policy_backtests",
    comment="What a proposed policies file would have said of past closes, one row a backtest and supplier",
    schema=StructType(
        [
            column("backtest_id", STRING, "Id of the backtest: when it ran and how its file's hash begins"),
            column("ran_at", TIMESTAMP, "When it ran, UTC"),
            column("ran_date", DateType(), "UTC date of ran_at"),
            column("file", STRING, "Path of the proposed file, as it was typed"),
            column("file_hash", STRING, "SHA-256 of the proposed file, hexadecimal"),
            column("first_date", DateType(), "Oldest closed day it was tested on"),
            column("last_date", DateType(), "Newest closed day it was tested on"),
            column("closes", STRINGS, "The closes it was tested on, by close_id, oldest day first"),
            column("supplier_id", STRING, "Supplier"),
            column("keys", LONG, "Keys of the supplier that were judged, each once a day"),
            column("flips", LONG, "Of these, keys that gain or lose a break"),
            column("policy_changes", STRINGS, "What the file changes for the supplier, as `key: now → proposed`"),
            column("tallies", ArrayType(TALLY), "Breaks by kind"),
            column("examples", ArrayType(EDGE), "Changed breaks nearest to the proposed limit"),
            column("code_version", STRING, "Version of this software"),
        ]
    ),
    partition_by=("ran_date",),
    skipping=("backtest_id", "supplier_id"),
    owner="backtest",
)
