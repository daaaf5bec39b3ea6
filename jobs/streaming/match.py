"""The query `match`: both sides' near-real-time events, joined for as long as a supplier's grace lasts.

Watermarks are the grace window, of each supplier its own in one join: an event's time `w` is when its grace ends
(publish time + grace), a heartbeat's is its publish time + the longest grace, and the watermark trails `w` by the
longest grace; so it says "everything published up to here has been read". State is let go once `w` is passed: Spark
takes the bound from the condition (`far` of one side ≥ `w` of the other, always true) and applies it to `w`.
"""

from functools import reduce

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.common.kafka import source_options
from jobs.common.settings import Settings
from jobs.streaming.waiting import slot
from reco_rules.identity import joined
from reco_rules.vocabulary import Side

#: The longest grace a policy may set (CONTRACT section 4), seconds.
LONGEST_GRACE = 6 * 3600
_FAR = "interval 400000 days"
_READ = (
    "heartbeat boolean, supplierId string, activityId string, activityType string, version bigint, versions string, "
    "graceSeconds bigint, publishedAt timestamp"
)


def triggers(spark: SparkSession, settings: Settings) -> DataFrame:
    """What may call for a verdict: `agoda`, `supplier` (messages as text, null where none), `is_arrival`.

    A pair comes as soon as both are there, a message alone when its grace has passed (both from the join), and every
    message once more on its arrival, since it may answer what was given up before.
    """
    sides = {side: _side(spark, settings, side) for side in Side}
    agoda, supplier = (sides[side] for side in Side)
    matched = agoda.alias("a").join(supplier.alias("s"), on=_condition(), how="full_outer")
    nothing, came = F.lit(None).cast("string"), F.lit(True).alias("is_arrival")
    from_agoda, from_supplier = F.col("agoda_text").alias("agoda"), F.col("supplier_text").alias("supplier")
    outcomes = matched.select(from_agoda, from_supplier, F.lit(False).alias("is_arrival"))
    arrivals = [
        agoda.select(from_agoda, nothing.alias("supplier"), came),
        supplier.select(nothing.alias("agoda"), from_supplier, came),
    ]
    return reduce(DataFrame.unionByName, arrivals, outcomes)


def _condition() -> Column:
    a, s = "a.agoda", "s.supplier"
    same = F.col(f"{a}_key") == F.col(f"{s}_key")
    return same & (F.col(f"{a}_far") >= F.col(f"{s}_w")) & (F.col(f"{s}_far") >= F.col(f"{a}_w"))


def _side(spark: SparkSession, settings: Settings, side: Side) -> DataFrame:
    """One side's messages with the columns of the join; the payload as one text, so that new fields break no state."""
    topic = settings.topics.agoda_nrt if side is Side.AGODA else settings.topics.supplier_nrt
    read = _records(spark, settings, topic).withColumn("read", F.from_json("text", _READ))
    beat = F.coalesce(F.col("read.heartbeat"), F.lit(False))
    place = slot(F.col("read.versions"), F.col("read.version"), F.col("read.activityType"))
    alone = joined([F.lit(side.value), F.col("partition"), F.col("offset")])
    key = F.when(beat, alone).otherwise(joined([F.col("read.supplierId"), F.col("read.activityId"), place]))
    grace = F.when(beat, F.lit(LONGEST_GRACE)).otherwise(F.col("read.graceSeconds"))
    p = side.prefix
    timed = read.select(
        key.alias(f"{p}_key"),
        (F.col("read.publishedAt") + F.make_dt_interval(secs=grace)).alias(f"{p}_w"),
        F.col("text").alias(f"{p}_text"),
    ).withWatermark(f"{p}_w", f"{LONGEST_GRACE} seconds")
    return timed.withColumn(f"{p}_far", F.col(f"{p}_w") + F.expr(_FAR))


def _records(spark: SparkSession, settings: Settings, topic: str) -> DataFrame:
    # All that is there in one batch: with a limit, a backlog of one side would let the other's time run ahead of it.
    reader = spark.readStream.format("kafka").options(**source_options(settings, topic))
    return reader.load().select("partition", "offset", F.col("value").cast("string").alias("text"))
