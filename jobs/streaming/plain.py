"""Pairs that are judged by themselves: the micro-batch has all that is known of their keys."""

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.common import tables
from jobs.common.local_rows import with_constants
from jobs.common.settings import Settings
from jobs.streaming import verdicts
from jobs.streaming.batch import Batch
from reco_rules.vocabulary import KEY, Side
from reco_rules.waiting import ONE_SIDED


def plain_pairs(
    spark: SparkSession, settings: Settings, rows: DataFrame, rates: DataFrame, batch: Batch
) -> tuple[DataFrame, DataFrame]:
    """Judged facts of plain pairs; and the key and `known_since` of all other rows. `rows`: of `events_of`, held.

    Plain is a pair of two first versions, none of which was there before, whose key has nothing else in the batch, nor
    (of a small batch) in what silver received since. By what one side alone has done a plain pair is not judged: what
    looks delayed may have been sent before. What was sent again by both sides, after the join let go of the first, is
    found by the sweeper.
    """
    several = rows.join(F.broadcast(_several(spark, settings, rows, batch)), on=list(KEY), how="left")
    marked = with_constants(several, {"watermark": batch.moment.watermark})
    first = (F.col("agoda.version") == 1) & (F.col("supplier.version") == 1)
    # Up to the watermark all is read: what was published later comes with this batch.
    is_new = published() > F.col("watermark")
    is_plain = F.coalesce(first & is_new, F.lit(False)) & F.col("is_several").isNull()
    plain = verdicts.sides_of_pair(marked.where(is_plain).drop("is_several", "watermark"))
    judged = batch.kept.fixed(verdicts.judged(plain, batch.moment, rates))
    is_sided = F.arrays_overlap("anomaly_types", F.array(*[F.lit(kind.value) for kind in ONE_SIDED]))
    others = marked.where(~is_plain).select(*KEY, published().alias("known_since"))
    return judged.where(~is_sided), others.unionByName(judged.where(is_sided).select(*KEY, "known_since"))


def published() -> Column:
    """When the first of a row's events was published."""
    return F.least(*[F.col(side.prefix)["publishedAt"] for side in Side])


def _several(spark: SparkSession, settings: Settings, rows: DataFrame, batch: Batch) -> DataFrame:
    """The keys that more is known of than one row (`is_several`)."""
    seen = rows.select(*KEY, F.lit(1).alias("rows"), F.lit(0).alias("deliveries"))
    if not batch.is_large:
        # A later version waits in the join, and silver has it: until its grace has passed the key's break pends.
        silver = tables.read(spark, settings.table_path("activity"))
        late = silver.where(F.col("kafka_time") > F.lit(batch.moment.watermark))
        mine = late.join(F.broadcast(rows.select(*KEY)), on=list(KEY), how="left_semi")
        seen = seen.unionByName(mine.select(*KEY, F.lit(0).alias("rows"), F.lit(1).alias("deliveries")))
    counted = seen.groupBy(*KEY).agg(F.sum("rows").alias("rows"), F.sum("deliveries").alias("deliveries"))
    return counted.where("rows > 1 or deliveries > 2").select(*KEY, F.lit(True).alias("is_several"))
