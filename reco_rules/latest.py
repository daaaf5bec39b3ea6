"""One row a key: the latest version of each side, and what its events of the day say about duplicates and delays."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from reco_rules.clock import millis, seconds
from reco_rules.vocabulary import KEY, Side

#: The order of versions (CONTRACT section 1), the activity type added so that no tie is left.
VERSION_ORDER = ("version", "event_time", "event_id", "amount_minor", "currency", "status", "activity_type")
DUPLICATE_FIELDS = ("version", "event_id", "amount_minor", "currency", "status", "event_time")


def latest_of(side: Side) -> Column:
    """Aggregate: the greatest version of one side as a struct of `VERSION_ORDER`; null where it has no event."""
    return F.max(F.when(F.col("source") == side.value, F.struct(*[F.col(name) for name in VERSION_ORDER])))


def latest_sides(events: DataFrame) -> DataFrame:
    """One row a key: `agoda_latest` and `supplier_latest` (structs of `VERSION_ORDER`)."""
    return events.groupBy(*KEY).agg(*[latest_of(side).alias(f"{side.prefix}_latest") for side in Side])


def day_sides(events: DataFrame) -> DataFrame:
    """One row a key from the distinct events of one day: the columns of `latest_sides`, and for each side
    `_events` (their count), `_delay_seconds` (longest, decimal(18,3)) and `_duplicates` (the side's events where one
    idempotency key was sent twice with different ids or contents, else null).
    """
    aggregates = [aggregate for side in Side for aggregate in _day_of(side)]
    kept = [
        column
        for side in Side
        for column in (
            F.col(f"{side.prefix}_latest"),
            F.col(f"{side.prefix}_events"),
            seconds(F.col(f"{side.prefix}_delay_ms")).alias(f"{side.prefix}_delay_seconds"),
            F.when(
                F.col(f"{side.prefix}_events") > F.col(f"{side.prefix}_versions"),
                F.sort_array(F.col(f"{side.prefix}_list")),
            ).alias(f"{side.prefix}_duplicates"),
        )
    ]
    return events.groupBy(*KEY).agg(*aggregates).select(*KEY, *kept)


def _day_of(side: Side) -> list[Column]:
    def mine(value: Column) -> Column:
        return F.when(F.col("source") == side.value, value)

    delay = millis(F.col("kafka_time")) - millis(F.col("event_time"))
    fields = F.struct(*[F.col(name) for name in DUPLICATE_FIELDS])
    return [
        latest_of(side).alias(f"{side.prefix}_latest"),
        F.count(mine(F.col("version"))).alias(f"{side.prefix}_events"),
        F.max(mine(delay)).alias(f"{side.prefix}_delay_ms"),
        F.size(F.collect_set(mine(F.col("version")))).alias(f"{side.prefix}_versions"),
        F.collect_list(mine(fields)).alias(f"{side.prefix}_list"),
    ]


def with_history(day: DataFrame, history: DataFrame) -> DataFrame:
    """Let an earlier day's greater version, or the only one, stand for its side. `history`: as of `latest_sides`."""
    earlier = history.select(*KEY, *[F.col(f"{s.prefix}_latest").alias(f"{s.prefix}_earlier") for s in Side])
    joined = day.join(earlier, on=list(KEY), how="left")
    chosen = {f"{s.prefix}_latest": F.greatest(f"{s.prefix}_latest", f"{s.prefix}_earlier") for s in Side}
    return joined.select(*[chosen[name].alias(name) if name in chosen else F.col(name) for name in day.columns])


def flat_sides(sides: DataFrame) -> DataFrame:
    """The two structs as columns: `agoda_event_id`, `agoda_version`, … `supplier_status`; the rest as it is."""
    structs = {f"{side.prefix}_latest" for side in Side}
    flat = [
        F.col(f"{side.prefix}_latest")[name].alias(f"{side.prefix}_{name}") for side in Side for name in VERSION_ORDER
    ]
    return sides.select(*[F.col(name) for name in sides.columns if name not in structs], *flat)
