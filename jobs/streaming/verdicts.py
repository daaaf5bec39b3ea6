"""Verdicts of a micro-batch: plain pairs from the message itself, all else from everything that silver knows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType

from jobs.common import tables
from jobs.common.local_rows import with_constants
from jobs.common.settings import Settings
from jobs.streaming.in_force import InForce
from jobs.streaming.parse import MAX_FUTURE_SECONDS
from reco_rules.anomalies import anomalies_of
from reco_rules.clock import millis, seconds
from reco_rules.latest import VERSION_ORDER, day_sides, flat_sides
from reco_rules.money import with_usd
from reco_rules.policy import POLICY_COLUMNS, with_policy
from reco_rules.verdict import judge
from reco_rules.vocabulary import KEY, Side
from reco_rules.waiting import state, waiting
from schemas.gold import DUPLICATE_EVENT
from schemas.nrt import BREAK
from schemas.types import STRING

_PART = {
    "version": "version",
    "event_time": "eventTime",
    "event_id": "eventId",
    "amount_minor": "amountMinor",
    "currency": "currency",
    "status": "status",
    "activity_type": "activityType",
}


@dataclass(frozen=True)
class Moment:
    """What a micro-batch stands on besides its rows."""

    watermark: datetime
    at: datetime
    policies: InForce
    #: Versions of the tables of policies and rates.
    references: tuple[int | None, int | None] = (None, None)


def sides_of_pair(pairs: DataFrame) -> DataFrame:
    """One row a pair of messages (`agoda`, `supplier`: structs of a canonical event) as `day_sides` would have it."""
    columns: list[Column] = []
    for side in Side:
        event = F.col(side.prefix)
        parts = [event[_PART[name]].alias(name) for name in VERSION_ORDER]
        delay = seconds(millis(event["publishedAt"]) - millis(event["eventTime"]))
        columns += [
            F.struct(*parts).alias(f"{side.prefix}_latest"),
            F.lit(1).cast("bigint").alias(f"{side.prefix}_events"),
            delay.alias(f"{side.prefix}_delay_seconds"),
            F.lit(None).cast(ArrayType(DUPLICATE_EVENT)).alias(f"{side.prefix}_duplicates"),
        ]
    published = [F.col(side.prefix)["publishedAt"] for side in Side]
    return pairs.select(
        *KEY,
        *columns,
        F.greatest(*published).alias("published_at"),
        F.least(*published).alias("known_since"),
        F.least(*published).alias("not_before"),
        F.lit(None).cast("timestamp").alias("pending_until"),
    )


def sides_of_keys(events: DataFrame, moment: Moment) -> DataFrame:
    """One row a key from every delivery known of it (`known_events`), with what it still waits for."""
    sides = with_policy(
        day_sides(events), moment.policies.rows(events.sparkSession), moment.policies.defaults, {"versions": STRING}
    )
    identity = ["source", *VERSION_ORDER]
    first = events.groupBy(*KEY, *identity).agg(F.min("kafka_time").alias("first_published"))
    newest = first.groupBy(*KEY).agg(F.max("first_published").alias("published_at"))
    since = events.groupBy(*KEY).agg(F.min("known_since").alias("known_since"))
    newest = newest.join(since, on=list(KEY), how="inner")
    known = sides.join(newest, on=list(KEY), how="inner").join(waiting(events, sides), on=list(KEY), how="inner")
    return known.drop("versions").withColumn("not_before", F.col("published_at"))


def known_events(spark: SparkSession, settings: Settings, keys: DataFrame, first: datetime) -> DataFrame:
    """Every delivery of these keys within the stream's horizon, whatever the supplier's mode was then.

    `keys`: the key and `known_since`, when what called for the verdict was published; the horizon reaches back from
    there. `first`: the least of them, by which files are skipped.
    """
    silver = tables.read(spark, settings.table_path("activity"))
    horizon = F.make_dt_interval(hours=F.lit(settings.stream.nrt_horizon_hours))
    recent = silver.where(F.col("kafka_time") >= F.lit(first) - horizon)
    of_keys = recent.join(keys, on=list(KEY), how="inner")
    return of_keys.where(F.col("kafka_time") >= F.col("known_since") - horizon)


def may_be_sent_again(settings: Settings) -> Column:
    """Whether a delivery of `known_events` is of an event so old that it may have been published before the horizon."""
    horizon = F.make_dt_interval(hours=F.lit(settings.stream.nrt_horizon_hours))
    # An event may be dated so much later than it is published.
    return F.col("event_time") < F.col("known_since") - horizon + F.make_dt_interval(secs=F.lit(MAX_FUTURE_SECONDS))


def since_first_sent(
    spark: SparkSession, settings: Settings, keys: DataFrame, events: DataFrame, days: Sequence[date]
) -> DataFrame:
    """The keys, `known_since` moved back to the first publication of those events that had been sent before.

    A redelivery changes no verdict, however late it comes: its key is judged from where its event was first known.
    `events`: of `known_events`; `days`: the dates of those that `may_be_sent_again`.
    """
    event = [*KEY, "source", *VERSION_ORDER]
    again = events.where(may_be_sent_again(settings)).select(*event).distinct()
    silver = tables.read(spark, settings.table_path("activity")).where(F.col("event_date").isin(list(days)))
    first = silver.join(again, on=event, how="left_semi").groupBy(*KEY).agg(F.min("kafka_time").alias("first_sent"))
    moved = keys.join(first, on=list(KEY), how="left")
    return moved.select(*KEY, F.least("known_since", "first_sent").alias("known_since"))


def judged(sides: DataFrame, moment: Moment, rates: DataFrame) -> DataFrame:
    """The rules' word on each key: `judge` over priced sides with the policy's columns."""
    priced = with_usd(flat_sides(sides), F.broadcast(rates))
    return judge(
        with_policy(priced, moment.policies.rows(sides.sparkSession), moment.policies.defaults, POLICY_COLUMNS)
    )


def with_breaks(facts: DataFrame, moment: Moment, rates: DataFrame) -> DataFrame:
    """Add `breaks`: each with its state, cost and explanation, in the order of `anomaly_types`."""
    dated = facts.withColumn("reco_date", F.col("fx_date"))
    parts = {
        "anomaly_type": F.col("anomaly_type"),
        "state": state(F.col("anomaly_type"), F.col("pending_until"), F.col("watermark")),
        **{name: F.col(name) for name in ("severity", "amount_at_risk_usd", "explanation")},
    }
    broken = dated.where(F.size("anomaly_types") > 0)
    pending = with_constants(broken.select(*KEY, "pending_until"), {"watermark": moment.watermark})
    found = anomalies_of(broken, F.broadcast(rates)).join(pending, on=list(KEY), how="inner")
    one = F.struct(*[value.alias(name) for name, value in parts.items()])
    listed = found.groupBy(*KEY).agg(F.sort_array(F.collect_list(one)).alias("breaks"))
    joined = facts.join(listed, on=list(KEY), how="left")
    return joined.withColumn("breaks", F.coalesce("breaks", no_breaks()))


def no_breaks() -> Column:
    """The empty list of breaks."""
    return F.array().cast(ArrayType(BREAK))


def as_results(facts: DataFrame, moment: Moment, names: Mapping[str, object]) -> DataFrame:
    """Rows of gold/nrt_results.

    `facts`: judged rows with `breaks`. `names`: query_id and batch_id.
    """
    of_batch = {"policy_version": moment.policies.version, "watermark": moment.watermark, "verdict_at": moment.at}
    dated = {"verdict_date": F.to_date("verdict_at"), "verdict_hour": F.hour("verdict_at")}
    named = with_constants(facts, {**of_batch, **names}).withColumns(dated)
    rows = tables.conformed(named.withColumn("result_id", F.lit(None)), "nrt_results")
    return rows.withColumn("result_id", said())


def said() -> Column:
    """What a row of gold/nrt_results says, hashed: the same for the same word by the same events and policies."""
    told = [*KEY, "outcome", *[f"{s.prefix}_{n}" for s in Side for n in (*VERSION_ORDER, "events")], "breaks"]
    # Names stand beside the values, nulls are left out. As text: each part built by calls is a call to the JVM.
    return F.expr(f"sha2(to_json(struct({', '.join((*told, 'policy_version'))})), 256)")
