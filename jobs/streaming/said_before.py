"""Which verdicts of a micro-batch say something new of their keys."""

from datetime import datetime

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.common import tables
from jobs.common.settings import Settings
from jobs.streaming.batch import Batch
from jobs.streaming.nrt_exceptions import IS_UNRESOLVED
from reco_rules.identity import digest
from reco_rules.vocabulary import KEY


def exceptions_of(spark: SparkSession, settings: Settings, keys: DataFrame, batch: Batch) -> DataFrame:
    """The rows of gold/nrt_exceptions on these keys at least; held where they are a part of it."""
    exceptions = tables.read(spark, settings.table_path("nrt_exceptions")).where(F.col("judged_by").isNotNull())
    if batch.is_large:  # there are more verdicts than exceptions
        return exceptions
    return batch.kept.fixed(exceptions.join(F.broadcast(keys), on=list(KEY), how="left_semi"))


def new_verdicts(
    spark: SparkSession,
    settings: Settings,
    results: DataFrame,
    exceptions: DataFrame,
    since: datetime | None,
    batch: Batch,
) -> tuple[DataFrame, int]:
    """Those of `results` that are not their key's last verdict already, held, and how many they are; all columns of
    gold/nrt_results.

    `exceptions`: of `exceptions_of`; they remember what their key was told last. Of any other key the table is asked,
    where the same verdict can only have a newest event that was published `since` then: redeliveries have moved it
    back, if at all.
    What was said of a key before, and then something else, is new (a wrong rate that was mended): it gets a
    `result_id` of its own, from what it says and what it ends, or whoever drops repeats would drop it.
    """
    both = results.join(_last_told(exceptions), on=list(KEY), how="left").where(
        ~F.col("result_id").eqNullSafe(F.col("last_said"))
    )
    marked = _mark_given(spark, settings, both, since, "is_given")
    new = batch.kept.fixed(marked.where(F.col("last_said").isNotNull() | ~F.col("is_given")))
    # Without a new event, only other rates or policies bring a break back.
    may_be_again = F.col("last_said").isNotNull() & (F.col("was_resolved") | F.lit(batch.judges_anew))
    breaks = may_be_again & (F.size("breaks") > 0)
    first, count = new.agg(F.min(F.when(breaks, F.col("published_at"))), F.count(F.lit(1))).collect()[0]
    again = _mark_given(spark, settings, new, first, "is_given_too")
    name = digest(F.col("result_id"), F.array_join("ended", " "))
    is_again = F.col("last_said").isNotNull() & (F.col("is_given") | F.col("is_given_too"))
    named = again.withColumn("result_id", F.when(is_again, name).otherwise(F.col("result_id")))
    rows = tables.conformed(named, "nrt_results")
    # Where the table was not asked again they follow from held rows alone.
    return rows if first is None else batch.kept.fixed(rows), count


def _last_told(exceptions: DataFrame) -> DataFrame:
    """By key, from its exceptions: `last_said`, `ended` (the verdicts that changed them last), `was_resolved`."""
    return F.broadcast(
        exceptions.groupBy(*KEY).agg(
            F.max("judged_by").alias("last_said"),
            F.sort_array(F.collect_set("result_id")).alias("ended"),
            F.bool_and(~F.expr(IS_UNRESOLVED)).alias("was_resolved"),
        )
    )


def _mark_given(
    spark: SparkSession, settings: Settings, results: DataFrame, since: datetime | None, name: str
) -> DataFrame:
    """Add whether the table has the verdict, if one published `since` then."""
    if since is None:
        return results.withColumn(name, F.lit(False))
    given = tables.read(spark, settings.table_path("nrt_results")).where(F.col("published_at") >= F.lit(since))
    marked = results.join(given.select("result_id", F.lit(True).alias(name)), on="result_id", how="left")
    return marked.withColumn(name, F.coalesce(name, F.lit(False)))
