"""A day's facts from its deliveries: one read, one shuffle by key, the rules."""

from datetime import date

from pyspark.sql import DataFrame

from jobs.common.days import days_before
from jobs.common.engines import engine_of
from jobs.common.kept import Kept
from jobs.daily.inputs import Inputs
from reco_rules.engine import F
from reco_rules.latest import (
    VERSION_ORDER,
    day_sides,
    flat_sides,
    keys_of_several,
    latest_sides,
    single_sides,
    with_history,
)
from reco_rules.money import with_usd
from reco_rules.ownership import keys_across_midnight, with_reco_date
from reco_rules.policy import with_policy
from reco_rules.verdict import judge
from reco_rules.vocabulary import KEY, Side

_HASH = "key_hash"


def sides_of(inputs: Inputs, day: date, kept: Kept) -> DataFrame:
    """One row a key with an event of `day`: latest version of each side by that day's events, counts, delays."""
    # Sorting by a number that the key determines compares numbers where the key's texts have long common beginnings.
    deliveries, by = deliveries_of(inputs, day, kept), (_HASH, *KEY)
    if not engine_of(deliveries.sparkSession).sorts_dearly:
        return day_sides(deliveries, by)
    needed = kept.settled(deliveries.select(*by, "source", *VERSION_ORDER, "kafka_time"))
    several = kept(keys_of_several(needed, _HASH))
    single = single_sides(needed.join(several, on=_HASH, how="left_anti"), by)
    return single.unionByName(day_sides(needed.join(several, on=_HASH, how="left_semi"), by))


def deliveries_of(inputs: Inputs, day: date, kept: Kept) -> DataFrame:
    """The deliveries whose `reco_date` is `day`, with `key_hash`.

    Only keys with events around a midnight, and the few that share a hash with one, need a closer look.
    """
    near = inputs.around(day, day).withColumn(_HASH, F.xxhash64(*KEY))
    of_date = near.where(F.col("event_date") == F.lit(day))
    across = kept(keys_across_midnight(near, by=[_HASH]))
    if not across.count():
        return of_date
    dated = with_reco_date(near.join(across, on=_HASH, how="left_semi")).where(F.col("reco_date") == F.lit(day))
    return of_date.join(across, on=_HASH, how="left_anti").unionByName(dated.select(*of_date.columns))


def with_earlier_versions(inputs: Inputs, sides: DataFrame, day: date, kept: Kept) -> DataFrame:
    """Look for greater versions, and for missing sides, in the days before; unchanged where there is no history."""
    if not has_history(inputs, day):
        return sides
    first, last = days_before(day, inputs.pins.history_days), days_before(day, 1)
    by_day = kept(sides)
    keys = kept(_keys_that_need_history(inputs, by_day, first, day))
    if not keys.count():
        return by_day
    around = inputs.around(first, last).join(keys, on=list(KEY), how="left_semi")
    earlier = kept(latest_sides(with_reco_date(around).where(F.col("reco_date").between(first, last))))
    return with_history(by_day, earlier) if earlier.count() else by_day


def has_history(inputs: Inputs, day: date) -> bool:
    """Whether there is any event in the days before in which latest versions are looked for."""
    first = days_before(day, inputs.pins.history_days)
    if first == day:
        return False
    before = inputs.silver.where(F.col("event_date").between(first, days_before(day, 1)))
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


def priced(sides: DataFrame, rates: DataFrame) -> DataFrame:
    """The sides as flat columns with their amounts in US dollars: what comes in, before any verdict."""
    return with_usd(flat_sides(sides), F.broadcast(rates))


def facts_of(inputs: Inputs, came_in: DataFrame, day: date) -> DataFrame:
    """Rows of `gold/reconciliation_facts` but for `close_id`, with the policy's columns beside them."""
    judged = judge(with_policy(came_in, inputs.policies, inputs.defaults))
    return judged.withColumn("reco_date", F.lit(day))
