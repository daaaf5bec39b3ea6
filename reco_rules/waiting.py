"""How long a break may still be mended by an answer: the stream's grace (CONTRACT section 5)."""

from pyspark.sql import Column, DataFrame

from reco_rules.clock import millis
from reco_rules.engine import F
from reco_rules.ownership import PUBLICATION
from reco_rules.vocabulary import KEY, AnomalyType, Side, Versions

#: Breaks of what one side alone has done: no answer mends them.
ONE_SIDED = (
    AnomalyType.DUPLICATE_AGODA,
    AnomalyType.DUPLICATE_SUPPLIER,
    AnomalyType.DELAYED_AGODA,
    AnomalyType.DELAYED_SUPPLIER,
)


def slot(versions: Column, version: Column, activity_type: Column) -> Column:
    """What an event of one side answers on the other: the version, or the activity type where they number apart."""
    return F.when(versions == Versions.INDEPENDENT.value, activity_type).otherwise(version.cast("string"))


def deadline(published_at: Column, grace_seconds: Column) -> Column:
    """When the grace (bigint seconds) of an event published at that time ends; null where either is null."""
    return F.timestamp_millis(millis(published_at) + grace_seconds * 1000)


def waiting(deliveries: DataFrame, sides: DataFrame) -> DataFrame:
    """The key and `pending_until`: when the last grace ends in which an answer could still come; null if none could.

    `deliveries`: events of those keys (columns of silver/activity). `sides`: one row a key with `agoda_latest`,
    `supplier_latest` and the policy's `versions`. Where the latest versions answer each other nothing is waited for.
    Else each side waits for answers to what it said after the other's latest version (`aligned`) or to any activity
    type the other has not spoken of (`independent`): until the grace of the first of them ends, counted from its first
    publication. A break pends as long as one of the sides waits.
    """
    latest = {side: F.col(f"{side.prefix}_latest") for side in Side}
    said = deliveries.join(sides.select(*KEY, "versions", *latest.values()), on=list(KEY), how="inner")
    place = slot(F.col("versions"), F.col("version"), F.col("activity_type"))
    due = F.struct(*PUBLICATION)
    first = {s: F.min(F.when(F.col("source") == s.value, due)).alias(f"{s.prefix}_first") for s in Side}
    by_slot = said.withColumn("slot", place).groupBy(*KEY, "versions", "slot", *[f"{s.prefix}_latest" for s in Side])
    slots = by_slot.agg(F.max("version").alias("version"), *first.values())
    waits = {side: F.min(_unanswered(side)).alias(f"{side.prefix}_wait") for side in Side}
    answered = _latest_slot(Side.AGODA) == _latest_slot(Side.SUPPLIER)
    by_key = slots.groupBy(*KEY).agg(*waits.values(), F.max(F.coalesce(answered, F.lit(False))).alias("is_answered"))
    return by_key.select(
        *KEY,
        F.when(~F.col("is_answered"), F.greatest(*[f"{s.prefix}_wait" for s in Side])).alias("pending_until"),
    )


def state(anomaly_type: Column, pending_until: Column, watermark: Column) -> Column:
    """OPEN, or PENDING while an answer may still come: its grace has not ended at the stream's time."""
    pends = ~anomaly_type.isin([kind.value for kind in ONE_SIDED]) & (pending_until > watermark)
    return F.when(pends, F.lit("PENDING")).otherwise(F.lit("OPEN"))


def _latest_slot(side: Side) -> Column:
    latest = F.col(f"{side.prefix}_latest")
    return slot(F.col("versions"), latest["version"], latest["activity_type"])


def _unanswered(side: Side) -> Column:
    other = Side.SUPPLIER if side is Side.AGODA else Side.AGODA
    mine, theirs = F.col(f"{side.prefix}_first"), F.col(f"{other.prefix}_first")
    known = F.coalesce(F.col(f"{other.prefix}_latest")["version"], F.lit(0))
    counts = (F.col("versions") == Versions.INDEPENDENT.value) | (F.col("version") > known)
    return F.when(theirs.isNull() & counts, deadline(mine["kafka_time"], mine["grace_seconds"]))
