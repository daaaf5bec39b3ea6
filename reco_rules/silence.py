"""A supplier's feed that has stopped: how long its gaps usually are, and when it has been quiet for longer."""

from pyspark.sql import Column, DataFrame

from reco_rules.clock import millis, seconds
from reco_rules.engine import F, Window
from reco_rules.latest import VERSION_ORDER
from reco_rules.vocabulary import KEY, AnomalyType
from schemas.types import SECONDS

#: With fewer gaps than this nothing is usual yet.
ENOUGH = 20


def usual_gaps(deliveries: DataFrame) -> DataFrame:
    """One row a supplier: `last_event` (publish time), `usual_gap_seconds`, `daily_gap_seconds` (decimal, null: none).

    `deliveries`: SUPPLIER's, columns of `silver/activity`; a redelivery is no event. Gaps lie between the minutes in
    which events came, so that a file of a thousand events weighs as much as it lasts. `usual_gap_seconds` is the
    longest but for one gap in a hundred, and never the longest of all, so that one outage teaches nothing; null with
    fewer than `ENOUGH` gaps. `daily_gap_seconds` is as long a gap as more than half of the days have, a night or the
    time between two files; null where gaps end on fewer than two days.
    """
    sent = deliveries.groupBy(*KEY, *VERSION_ORDER).agg(F.min("kafka_time").alias("kafka_time"))
    minutes = sent.groupBy("supplier_id", F.date_trunc("minute", F.col("kafka_time")).alias("minute")).agg(
        F.max("kafka_time").alias("last_event")
    )
    mine = Window.partitionBy("supplier_id")
    before = F.lag("minute").over(mine.orderBy("minute"))
    gaps = minutes.withColumn("gap", millis(F.col("minute")) - millis(before))
    place = F.row_number().over(mine.orderBy(F.col("gap").desc_nulls_last()))
    ranked = gaps.withColumn("place", place).withColumn("count", F.count("gap").over(mine))
    is_usual = (F.col("place") > 1) & (F.col("place") * 100 > F.col("count")) & (F.col("count") >= ENOUGH)
    days = ranked.groupBy("supplier_id", F.date_trunc("day", F.col("minute")).alias("day")).agg(
        F.max("last_event").alias("last_event"),
        F.max(F.when(is_usual, F.col("gap"))).alias("usual"),
        F.max("gap").alias("longest"),
    )
    order = F.row_number().over(mine.orderBy(F.col("longest").asc_nulls_last()))
    in_order = days.withColumn("place", order).withColumn("count", F.count("longest").over(mine))
    is_middle = (F.col("count") > 1) & (F.col("place") * 2).isin(F.col("count"), F.col("count") + 1)
    return in_order.groupBy("supplier_id").agg(
        F.max("last_event").alias("last_event"),
        seconds(F.max("usual")).alias("usual_gap_seconds"),
        seconds(F.max(F.when(is_middle, F.col("longest")))).alias("daily_gap_seconds"),
    )


def silence_limit(usual_gap_seconds: Column, daily_gap_seconds: Column, floor_seconds: Column) -> Column:
    """How long the feed may be quiet, decimal seconds; null where no usual gap is known.

    The longest of three usual gaps, one and a half daily ones, and the floor.
    """
    half = F.lit("1.5").cast("decimal(2,1)")
    longest = F.greatest(floor_seconds.cast(SECONDS), usual_gap_seconds * 3, daily_gap_seconds * half)
    return F.when(usual_gap_seconds.isNotNull(), longest.cast(SECONDS))


def is_silent(last_event: Column, watermark: Column, limit_seconds: Column) -> Column:
    """True where the stream's time is more than the limit after the last event; false where anything is null."""
    return F.coalesce(seconds(millis(watermark) - millis(last_event)) > limit_seconds, F.lit(False))


def is_held(anomaly_type: Column, known_since: Column, last_event: Column, grace_seconds: Column) -> Column:
    """True where SUPPLIER's answer is missing and was due after its last event; false where anything is null."""
    due = millis(known_since) + grace_seconds * 1000
    is_missing = anomaly_type == AnomalyType.MISSING_SUPPLIER.value
    return F.coalesce(is_missing & (due > millis(last_event)), F.lit(False))
