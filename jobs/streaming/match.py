"""The query `match`: both sides' near-real-time events, joined for as long as a supplier's grace lasts.

Watermarks are the grace window, of each supplier its own in one join: an event's time `w` is when its grace ends
(publish time + grace), a heartbeat's is the time that it speaks for + `TRAIL`, and the watermark trails `w` by that;
so it says "everything published up to here has been read". A heartbeat speaks up to its `eventTime`, for no time after
its own publication. An event speaks for nothing but itself: with whatever grace it moves the watermark to hours before
its publication at most, so that in a backlog it calls nothing missing that is still unread. State is let go once `w` is
passed: Spark takes the bound from the condition (`far` of one side ≥ `w` of the other, always true) and applies it to
`w`. A heartbeat takes no room in the state: the condition can never hold for it, so Spark gives it back at once.
"""

from datetime import UTC, datetime
from functools import reduce

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
#: How far the watermark trails, seconds.
TRAIL = 2 * LONGEST_GRACE
#: No message of ours is of a later time; before all watermarks, so that the join counts as dropped what has this time.
_LATEST, _BEFORE_ALL = datetime(9999, 1, 1, tzinfo=UTC), datetime.fromtimestamp(0, UTC)
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
    same = same & F.col(f"{a}_text").isNotNull() & F.col(f"{s}_text").isNotNull()
    return same & (F.col(f"{a}_far") >= F.col(f"{s}_w")) & (F.col(f"{s}_far") >= F.col(f"{a}_w"))


def _side(spark: SparkSession, settings: Settings, side: Side) -> DataFrame:
    """One side's messages with the columns of the join.

    What is neither an event of ours nor a heartbeat has a time that is long past: the join counts it as dropped.
    """
    topic = settings.topics.agoda_nrt if side is Side.AGODA else settings.topics.supplier_nrt
    fields = ", ".join(f"{name} string" for name in ("heartbeat", "versions", *HELD))
    records = _records(spark, settings, topic).select("partition", "offset", F.from_json("text", fields).alias("read"))
    beat = F.col("read.heartbeat").isNotNull()
    if (mine := is_mine(settings, F.col("read.supplierId"))) is not None:
        # Before the watermark; heartbeats are of all groups.
        records = records.where(F.coalesce(beat | mine, F.lit(True)))
    # What is checked stands in a selection of its own: written out wherever it is used, it would be computed there.
    checked = {f"its_{name}": F.col(f"read.{name}").try_cast(kind) for name, kind in HELD.items() if kind != "string"}
    read = records.select("*", beat.alias("is_beat"), *[value.alias(name) for name, value in checked.items()])
    there = [F.col(f"its_{name}" if f"its_{name}" in checked else f"read.{name}").isNotNull() for name in HELD]
    known = read.withColumn("is_event", ~F.col("is_beat") & reduce(Column.__and__, there))
    place = slot(F.col("read.versions"), F.col("read.version"), F.col("read.activityType"))
    # Of more parts than an event's, which may be of a supplier with any name.
    alone = joined([F.lit("heartbeat"), F.lit(side.value), F.col("partition"), F.col("offset")])
    key = F.when(F.col("is_beat"), alone).otherwise(joined([F.col("read.supplierId"), F.col("read.activityId"), place]))
    p = side.prefix
    timed = known.select(
        key.alias(f"{p}_key"),
        F.coalesce(_ends_at(), F.lit(_BEFORE_ALL)).alias(f"{p}_w"),
        F.when(F.col("is_event"), F.to_json(F.array(*[F.col(f"read.{name}") for name in HELD]))).alias(f"{p}_text"),
    ).withWatermark(f"{p}_w", f"{TRAIL} seconds")
    return timed.withColumn(f"{p}_far", F.col(f"{p}_w") + F.expr(_FAR))


def _ends_at() -> Column:
    """The time `w`; null where the message is not one of ours."""
    beat, is_event = F.col("is_beat"), F.col("is_event")
    published, grace = F.col("its_publishedAt"), F.col("its_graceSeconds")
    up_to = F.when(beat, F.least(published, F.col("its_eventTime"))).when(is_event, published)
    seconds = F.when(beat, F.lit(TRAIL)).when(grace.between(0, LONGEST_GRACE), grace)
    return F.when(up_to < F.lit(_LATEST), up_to) + F.make_dt_interval(secs=seconds)


def _records(spark: SparkSession, settings: Settings, topic: str) -> DataFrame:
    # All that is there in one batch: with a limit, a backlog of one side would let the other's time run ahead of it.
    reader = spark.readStream.format("kafka").options(**source_options(settings, topic))
    return reader.load().select("partition", "offset", F.col("value").cast("string").alias("text"))
