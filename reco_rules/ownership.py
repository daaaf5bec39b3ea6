"""The day an event belongs to (CONTRACT section 6), and which deliveries are only repeats."""

from collections.abc import Sequence

from pyspark.sql import DataFrame

from reco_rules.clock import millis
from reco_rules.engine import F, Window
from reco_rules.vocabulary import KEY

#: Grace is at most six hours: no chain reaches further back over midnight, none further on than twice that.
HOURS_BEFORE = 6
HOURS_AFTER = 12

#: What makes two deliveries the same event; `event_time` first, for it also orders the chain.
IDENTITY = ("event_time", "source", "version", "event_id", "amount_minor", "currency", "status", "activity_type")
#: By what its first publication comes first; of one millisecond, by which policies it was stamped.
PUBLICATION = ("kafka_time", "policy_version", "grace_seconds")


def with_reco_date(deliveries: DataFrame) -> DataFrame:
    """Add `reco_date` (date) and `is_redelivery` (boolean) to rows of `silver/activity`.

    Right for every event whose key's other events of the neighbouring hours (`HOURS_BEFORE` midnight, `HOURS_AFTER`
    it) are among the rows. An event is carried over midnight where it follows the chain of events, each less than its
    grace after the one before, that began before midnight, and lies before midnight + 2 x grace. The first publication
    of an event is its delivery; the others are redeliveries, of the same day as it.
    """
    in_order = Window.partitionBy(*KEY).orderBy(*IDENTITY, *PUBLICATION)
    so_far = in_order.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    at, grace_ms = millis(F.col("event_time")), F.col("grace_seconds") * 1000
    midnight = F.date_trunc("day", F.col("event_time"))
    identity = F.struct(*[F.col(name) for name in IDENTITY])
    followed = deliveries.select(
        "*",
        F.row_number().over(in_order).alias("_place"),
        (at - F.lag(at).over(in_order)).alias("_gap"),
        F.coalesce(F.lag(identity).over(in_order) == identity, F.lit(False)).alias("is_redelivery"),
    )
    # A redelivery may carry another grace, of a policy applied since: only its first publication has a say.
    is_first, can_be_carried = ~F.col("is_redelivery"), at < millis(midnight) + grace_ms * 2
    begins_chain = is_first & (F.col("_gap").isNull() | (F.col("_gap") >= grace_ms) | ~can_be_carried)
    # In order of time the greatest is the last; the parity of the last place tells of the last first publication.
    chained = followed.select(
        "*",
        F.max(F.when(begins_chain, F.col("event_time"))).over(so_far).alias("_chain_start"),
        F.max(F.when(is_first, F.col("_place") * 2 + can_be_carried.cast("int"))).over(so_far).alias("_carried"),
    )
    is_carried = (F.col("_carried") % 2 == 1) & (F.col("_chain_start") < midnight)
    event_date = F.to_date("event_time")
    return chained.select(
        *deliveries.columns,
        F.when(is_carried, F.date_sub(event_date, 1)).otherwise(event_date).cast("date").alias("reco_date"),
        "is_redelivery",
    )


def keys_across_midnight(deliveries: DataFrame, by: Sequence[str] = KEY) -> DataFrame:
    """The keys (distinct) of which an event may belong to the day before its own; the events of all others do not.

    `deliveries`: rows of `silver/activity` with `event_date` and `event_hour`. An event is carried over midnight only
    by a chain, the first event of which after midnight follows one of the `HOURS_BEFORE` it by less than its grace.
    `by`: the key's columns, or a column that the key determines; keys that share it are found together then.
    """
    since_midnight = millis(F.col("event_time")) - millis(F.date_trunc("day", F.col("event_time")))
    after = deliveries.where(since_midnight < F.col("grace_seconds") * 1000)
    before = deliveries.where(F.col("event_hour") >= 24 - HOURS_BEFORE)
    followed = before.select(*by, F.date_add("event_date", 1).alias("event_date"))
    # The few that follow are on the side that Spark can send to all.
    return followed.join(after, on=[*by, "event_date"], how="left_semi").select(*by).distinct()
