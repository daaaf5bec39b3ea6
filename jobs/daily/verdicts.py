"""A day's facts from its deliveries: one read, one shuffle by key, the rules."""

from datetime import date, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.daily.inputs import Inputs
from reco_rules.latest import day_sides, flat_sides, latest_sides, with_history
from reco_rules.money import with_usd
from reco_rules.ownership import with_reco_date
from reco_rules.policy import with_policy
from reco_rules.verdict import judge
from reco_rules.vocabulary import KEY, Side


def sides_of(inputs: Inputs, day: date) -> DataFrame:
    """One row a key with an event of `day`: latest version of each side by that day's events, counts, delays."""
    owned = with_reco_date(inputs.around(day, day))
    return day_sides(owned.where((F.col("reco_date") == F.lit(day)) & ~F.col("is_redelivery")))


def with_earlier_versions(inputs: Inputs, sides: DataFrame, day: date) -> DataFrame:
    """Look for greater versions, and for missing sides, in the days before; unchanged where there is no history."""
    if not has_history(inputs, day):
        return sides
    first = day - timedelta(days=inputs.pins.history_days)
    keys = _keys_that_need_history(inputs, sides, first, day)
    around = inputs.around(first, day - timedelta(days=1)).join(keys, on=list(KEY), how="left_semi")
    earlier = with_reco_date(around).where(F.col("reco_date").between(first, day - timedelta(days=1)))
    return with_history(sides, latest_sides(earlier))


def has_history(inputs: Inputs, day: date) -> bool:
    """Whether there is any event in the days before in which latest versions are looked for."""
    first = day - timedelta(days=inputs.pins.history_days)
    if first == day:
        return False
    before = inputs.silver.where(F.col("event_date").between(first, day - timedelta(days=1)))
    return bool(before.select("event_date").head(1))


def _keys_that_need_history(inputs: Inputs, sides: DataFrame, first: date, day: date) -> DataFrame:
    """Keys with one side only, and keys of which an earlier day knows a greater version than this day does."""
    versions = sides.select(
        *KEY, *[F.coalesce(F.col(f"{s.prefix}_latest")["version"], F.lit(0)).alias(f"{s.prefix}_version") for s in Side]
    )
    one_sided = versions.where((F.col("agoda_version") == 0) | (F.col("supplier_version") == 0)).select(*KEY)
    # The first hours of the day itself too: they may belong to the day before.
    amended = inputs.silver.where(F.col("event_date").between(first, day) & (F.col("version") > 1)).select(
        *KEY, "source", "version"
    )
    known = F.when(F.col("source") == Side.AGODA.value, F.col("agoda_version")).otherwise(F.col("supplier_version"))
    outrun = amended.join(versions, on=list(KEY), how="inner").where(F.col("version") > known).select(*KEY)
    return one_sided.unionByName(outrun).distinct()


def facts_of(inputs: Inputs, sides: DataFrame, day: date, rates: DataFrame) -> DataFrame:
    """Rows of `gold/reconciliation_facts` but for `close_id`, with the policy's columns beside them."""
    flat = flat_sides(sides)
    judged = judge(with_policy(with_usd(flat, rates), inputs.policies, inputs.defaults))
    return judged.withColumn("reco_date", F.lit(day))
