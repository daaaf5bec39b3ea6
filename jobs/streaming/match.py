"""The query `match`: both sides' near-real-time events, joined for as long as a supplier's grace lasts.

Watermarks are the grace window, of each supplier its own in one join: an event's time `w` is when its grace ends
(publish time + grace), a heartbeat's is the time that it speaks for + the longest grace, and the watermark trails `w`
by the longest grace; so it says "everything published up to here has been read". A heartbeat speaks up to its
`eventTime`, for no time after its own publication. State is let go once `w` is passed: Spark
takes the bound from the condition (`far` of one side ≥ `w` of the other, always true) and applies it to `w`.
"""

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.common.kafka import source_options
from jobs.common.settings import Settings
from jobs.streaming.groups import is_mine
from reco_rules.identity import joined
from reco_rules.vocabulary import Side
from reco_rules.waiting import slot

#: The longest grace a policy may set (CONTRACT section 4), seconds.
LONGEST_GRACE = 6 * 3600
_FAR = "interval 400000 days"
#: What the state holds of a message, by place in a JSON list: short, and a new field at the end breaks no checkpoint.
HELD = {
    "supplierId": "string",
    "activityId": "string",
    "eventId": "string",
    "activityType": "string",
    "amountMinor": "bigint",
    "currency": "string",
    "status": "string",
    "version": "bigint",
    "eventTime": "timestamp",
    "publishedAt": "timestamp",
    "graceSeconds": "bigint",
}


def triggers(spark: SparkSession, settings: Settings) -> DataFrame:
    """What calls for a verdict: `agoda`, `supplier` (what is held of a message, as text; null where none).

    A pair as soon as both are there, a message alone when its grace has passed; heartbeats as rows of nulls.
    """
    agoda, supplier = (_side(spark, settings, side) for side in Side)
    matched = agoda.alias("a").join(supplier.alias("s"), on=_condition(), how="full_outer")
    return matched.select(F.col("agoda_text").alias("agoda"), F.col("supplier_text").alias("supplier"))


def events_of(batch: DataFrame) -> DataFrame:
    """The key and both events as structs (of `HELD`), from rows of `triggers`; without heartbeats."""
    # Before they are taken apart: a condition on what was would do it twice.
    events = batch.where(" or ".join(f"{s.prefix} is not null" for s in Side))
    lists = events.selectExpr(*[f"from_json({s.prefix}, 'array<string>') as {s.prefix}" for s in Side])
    parts = {
        s: ", ".join(f"cast(get({s.prefix}, {n}) as {kind}) as {name}" for n, (name, kind) in enumerate(HELD.items()))
        for s in Side
    }
    structs = [f"if({s.prefix} is null, null, struct({parts[s]})) as {s.prefix}" for s in Side]
    keys = [
        f"coalesce({', '.join(f'get({s.prefix}, {n})' for s in Side)}) as {key}"
        for n, key in enumerate(("supplier_id", "activity_id"))
    ]
    return lists.selectExpr(*keys, *structs)


def _condition() -> Column:
    a, s = "a.agoda", "s.supplier"
    same = F.col(f"{a}_key") == F.col(f"{s}_key")
    return same & (F.col(f"{a}_far") >= F.col(f"{s}_w")) & (F.col(f"{s}_far") >= F.col(f"{a}_w"))


def _side(spark: SparkSession, settings: Settings, side: Side) -> DataFrame:
    """One side's messages with the columns of the join."""
    topic = settings.topics.agoda_nrt if side is Side.AGODA else settings.topics.supplier_nrt
    fields = ", ".join(f"{name} string" for name in ("heartbeat", "versions", *HELD))
    records = _records(spark, settings, topic).select("partition", "offset", F.from_json("text", fields).alias("read"))
    beat = F.col("read.heartbeat").isNotNull()
    if (mine := is_mine(settings, F.col("read.supplierId"))) is not None:
        # Before the watermark; heartbeats are of all groups.
        records = records.where(beat | mine)
    place = slot(F.col("read.versions"), F.col("read.version"), F.col("read.activityType"))
    # Of more parts than an event's, which may be of a supplier with any name.
    alone = joined([F.lit("heartbeat"), F.lit(side.value), F.col("partition"), F.col("offset")])
    key = F.when(beat, alone).otherwise(joined([F.col("read.supplierId"), F.col("read.activityId"), place]))
    grace = F.when(beat, F.lit(LONGEST_GRACE)).otherwise(F.col("read.graceSeconds").cast("bigint"))
    published, claimed = (F.col(f"read.{name}").cast("timestamp") for name in ("publishedAt", "eventTime"))
    up_to = F.when(beat, F.least(published, claimed)).otherwise(published)
    p = side.prefix
    timed = records.select(
        key.alias(f"{p}_key"),
        (up_to + F.make_dt_interval(secs=grace)).alias(f"{p}_w"),
        F.when(~beat, F.to_json(F.array(*[F.col(f"read.{name}") for name in HELD]))).alias(f"{p}_text"),
    ).withWatermark(f"{p}_w", f"{LONGEST_GRACE} seconds")
    return timed.withColumn(f"{p}_far", F.col(f"{p}_w") + F.expr(_FAR))


def _records(spark: SparkSession, settings: Settings, topic: str) -> DataFrame:
    # All that is there in one batch: with a limit, a backlog of one side would let the other's time run ahead of it.
    reader = spark.readStream.format("kafka").options(**source_options(settings, topic))
    return reader.load().select("partition", "offset", F.col("value").cast("string").alias("text"))
