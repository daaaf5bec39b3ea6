"""Pairs that are judged by themselves: the micro-batch has all that is known of their keys."""

from datetime import datetime, timedelta
from functools import reduce

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.common import tables
from jobs.common.local_rows import with_constants
from jobs.common.settings import Settings
from jobs.streaming import verdicts
from jobs.streaming.batch import BROADCAST, Batch
from jobs.streaming.parse import MAX_FUTURE_SECONDS
from reco_rules.vocabulary import KEY, Side
from reco_rules.waiting import ONE_SIDED

#: What is counted of a key that may be a plain pair's.
_COUNTED = ("rows", "deliveries", "verdicts")


def plain_pairs(
    spark: SparkSession, settings: Settings, rows: DataFrame, happened_at: datetime, rates: DataFrame, batch: Batch
) -> tuple[DataFrame, DataFrame]:
    """Judged facts of plain pairs; and the key and `known_since` of all other rows. `rows`: of `events_of`, held.

    `happened_at`: when the first event of all pairs did.

    Plain is a pair of two first versions of the horizon, none of which was there before, whose key has no verdict yet
    (`given`) and nothing else in the batch, nor (of a small batch) in what silver received since. By what one side
    alone has done a plain pair is not judged: what looks delayed may have been sent before. What both sides sent again
    under other ids, as if it had happened later, is found by the sweeper.
    """
    several = rows.join(F.broadcast(_several(spark, settings, rows, happened_at, batch)), on=list(KEY), how="left")
    marked = with_constants(several, {"watermark": batch.moment.watermark})
    first = (F.col("agoda.version") == 1) & (F.col("supplier.version") == 1)
    # Up to the watermark all is read: what was published later comes with this batch.
    is_new = published() > F.col("watermark")
    # What happened before all that is looked at may have been judged before it.
    horizon = timedelta(hours=settings.stream.nrt_horizon_hours) - timedelta(seconds=MAX_FUTURE_SECONDS)
    happened = F.least(*[F.col(side.prefix)["eventTime"] for side in Side])
    is_new = is_new & (happened >= F.col("watermark") - F.lit(horizon))
    is_plain = F.coalesce(first & is_new, F.lit(False)) & F.col("is_several").isNull()
    plain = verdicts.sides_of_pair(marked.where(is_plain).drop("is_several", "watermark"))
    judged = batch.kept.fixed(verdicts.judged(plain, batch.moment, rates))
    is_sided = F.arrays_overlap("anomaly_types", F.array(*[F.lit(kind.value) for kind in ONE_SIDED]))
    others = marked.where(~is_plain).select(*KEY, published().alias("known_since"))
    return judged.where(~is_sided), others.unionByName(judged.where(is_sided).select(*KEY, "known_since"))


def published() -> Column:
    """When the first of a row's events was published."""
    return F.least(*[F.col(side.prefix)["publishedAt"] for side in Side])


def _several(spark: SparkSession, settings: Settings, rows: DataFrame, first: datetime, batch: Batch) -> DataFrame:
    """The keys that more is known of than one row (`is_several`)."""
    mine = F.broadcast(rows.select(*KEY)) if batch.rows <= BROADCAST else rows.select(*KEY)
    seen = [_counts(rows, rows=1)]
    if batch.number:
        # What is sent again is published again, but has happened when it did; so has what was judged of it. Of a
        # checkpoint's first batch all may be judged already, which `new_verdicts` tells by what they say.
        horizon = batch.moment.watermark - timedelta(hours=settings.stream.nrt_horizon_hours)
        since = max(first - timedelta(seconds=MAX_FUTURE_SECONDS), horizon)
        results = tables.read(spark, settings.table_path("nrt_results"))
        given = results.where(F.col("published_at") >= F.lit(since))
        seen.append(_counts(given.join(mine, on=list(KEY), how="left_semi"), verdicts=1))
    if not batch.is_large:
        # A later version waits in the join, and silver has it: until its grace has passed the key's break pends.
        silver = tables.read(spark, settings.table_path("activity"))
        late = silver.where(F.col("kafka_time") > F.lit(batch.moment.watermark))
        seen.append(_counts(late.join(mine, on=list(KEY), how="left_semi"), deliveries=1))
    sums = [F.sum(name).alias(name) for name in _COUNTED]
    counted = reduce(DataFrame.unionByName, seen).groupBy(*KEY).agg(*sums)
    return counted.where("rows > 1 or deliveries > 2 or verdicts > 0").select(*KEY, F.lit(True).alias("is_several"))


def _counts(frame: DataFrame, **one: int) -> DataFrame:
    return frame.select(*KEY, *[F.lit(one.get(name, 0)).alias(name) for name in _COUNTED])
