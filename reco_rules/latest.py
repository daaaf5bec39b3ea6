"""One row a key: the latest version of each side, and what its events of the day say about duplicates and delays."""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame

from reco_rules.clock import millis, seconds
from reco_rules.engine import F, Window, aggregated
from reco_rules.vocabulary import KEY, Side
from schemas.gold import DUPLICATES
from schemas.types import LONG

#: The order of versions (CONTRACT section 1), the activity type added so that no tie is left.
VERSION_ORDER = ("version", "event_time", "event_id", "amount_minor", "currency", "status", "activity_type")
DUPLICATE_FIELDS = ("version", "event_id", "amount_minor", "currency", "status", "event_time")


def latest_of(side: Side) -> Column:
    """Aggregate: the greatest version of one side as a struct of `VERSION_ORDER`; null where it has no event."""
    return F.max(F.when(F.col("source") == side.value, F.struct(*[F.col(name) for name in VERSION_ORDER])))


def latest_sides(events: DataFrame) -> DataFrame:
    """One row a key: `agoda_latest` and `supplier_latest` (structs of `VERSION_ORDER`)."""
    return events.groupBy(*KEY).agg(*[latest_of(side).alias(f"{side.prefix}_latest") for side in Side])


def day_sides(deliveries: DataFrame, by: Sequence[str] = KEY) -> DataFrame:
    """One row a key from the deliveries of one day: the columns of `latest_sides`, and for each side `_events` (how
    many distinct events), `_delay_seconds` (longest of first publications, decimal(18,3)) and `_duplicates` (the side's
    events where one idempotency key was sent twice with different ids or contents, else null).

    `by`: the key's columns, where a column that the key determines may precede them to make sorting cheaper.
    """
    in_order = Window.partitionBy(*by).orderBy("source", *VERSION_ORDER, "kafka_time")
    event, version = F.struct("source", *VERSION_ORDER), F.struct("source", "version")
    # Equal events lie beside each other, the first publication first; so do events of one version.
    marked = deliveries.select(
        *by,
        "source",
        *VERSION_ORDER,
        (millis(F.col("kafka_time")) - millis(F.col("event_time"))).alias("_delay_ms"),
        F.row_number().over(in_order).alias("_place"),
        F.coalesce(F.lag(event).over(in_order) != event, F.lit(True)).alias("_is_event"),
        F.coalesce(F.lag(version).over(in_order) != version, F.lit(True)).alias("_is_version"),
    )
    one_each = aggregated(marked, by, "_place", {name: value for side in Side for name, value in _day_of(side).items()})
    return one_each.select(*KEY, *[column for side in Side for column in _kept_of(side)])


def keys_of_several(deliveries: DataFrame, by: str) -> DataFrame:
    """The values of `by` (distinct), a column that the key determines, of which one side has several deliveries."""
    return (
        deliveries.groupBy(by, "source").agg(F.count(F.lit(1)).alias("_n")).where(F.col("_n") > 1).select(by).distinct()
    )


def single_sides(deliveries: DataFrame, by: Sequence[str] = KEY) -> DataFrame:
    """What `day_sides` gives of keys of which neither side has several deliveries: one join, and nothing is sorted."""
    agoda, supplier = (_single(deliveries, side, by) for side in (Side.AGODA, Side.SUPPLIER))
    same = [F.col(f"{Side.AGODA.prefix}_{name}") == F.col(f"{Side.SUPPLIER.prefix}_{name}") for name in by]
    joined = agoda.join(supplier, on=same, how="full_outer")
    keys = [F.coalesce(*[f"{side.prefix}_{name}" for side in Side]).alias(name) for name in KEY]
    return joined.select(*keys, *[column for side in Side for column in _of_single(side)])


def _single(deliveries: DataFrame, side: Side, by: Sequence[str]) -> DataFrame:
    return deliveries.where(F.col("source") == side.value).select(
        *[F.col(name).alias(f"{side.prefix}_{name}") for name in by],
        F.struct(*[F.col(name) for name in VERSION_ORDER]).alias(f"{side.prefix}_latest"),
        (millis(F.col("kafka_time")) - millis(F.col("event_time"))).alias(f"{side.prefix}_delay_ms"),
    )


def _of_single(side: Side) -> list[Column]:
    latest = F.col(f"{side.prefix}_latest")
    return [
        latest,
        F.when(latest.isNotNull(), F.lit(1)).otherwise(F.lit(0)).cast(LONG).alias(f"{side.prefix}_events"),
        seconds(F.col(f"{side.prefix}_delay_ms")).alias(f"{side.prefix}_delay_seconds"),
        F.lit(None).cast(DUPLICATES).alias(f"{side.prefix}_duplicates"),
    ]


def _day_of(side: Side) -> dict[str, Column]:
    """Aggregates over a key's marked deliveries."""
    mine = F.col("source") == side.value
    first = mine & F.col("_is_event")
    fields = F.struct(*[F.col(name) for name in DUPLICATE_FIELDS])
    # In order of versions the last is the greatest: one number is compared where `latest_of` compares seven fields.
    greatest = F.max_by(F.struct(*[F.col(name) for name in VERSION_ORDER]), F.when(mine, F.col("_place")))
    return {
        f"{side.prefix}_latest": greatest,
        f"{side.prefix}_events": F.count(F.when(first, F.lit(1))),
        f"{side.prefix}_versions": F.count(F.when(mine & F.col("_is_version"), F.lit(1))),
        f"{side.prefix}_delay_ms": F.max(F.when(first, F.col("_delay_ms"))),
        f"{side.prefix}_list": F.collect_list(F.when(first, fields)),
    }


def _kept_of(side: Side) -> list[Column]:
    is_duplicated = F.col(f"{side.prefix}_events") > F.col(f"{side.prefix}_versions")
    return [
        F.col(f"{side.prefix}_latest"),
        F.col(f"{side.prefix}_events"),
        seconds(F.col(f"{side.prefix}_delay_ms")).alias(f"{side.prefix}_delay_seconds"),
        F.when(is_duplicated, F.sort_array(F.col(f"{side.prefix}_list"))).alias(f"{side.prefix}_duplicates"),
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
