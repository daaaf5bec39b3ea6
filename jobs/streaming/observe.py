"""What micro-batches tell of their rows: into the registry of metrics, and for their lines in the log."""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.common import tables
from jobs.common.metric_table import METRICS
from jobs.common.metrics import REGISTRY
from jobs.common.settings import Settings
from jobs.streaming.parse import MAX_FUTURE_SECONDS
from reco_rules.vocabulary import AnomalyType

#: Up to so many suppliers a line of the log names; of more it says how many.
NAMED = 5
_Group = tuple[str, tuple[str, ...], int]
_LAG = "reco_reconciliation_lag_seconds"
_BOUNDS = next(metric.buckets for metric in METRICS if metric.name == _LAG)


@dataclass
class Read:
    """What a batch of `normalise` has. Times are milliseconds since 1970."""

    #: Records by kind.
    kinds: Counter[str] = field(default_factory=Counter)
    #: By topic and partition the first and the last offset.
    offsets: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)
    #: Of the last record that is not published in the future: its offset, and when it was published.
    last: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)
    #: By topic with heartbeats the latest time that one of them speaks for.
    beats: dict[str, int] = field(default_factory=dict)


def records(rows: DataFrame) -> Read:
    """Count a batch of `normalise`; one job, which has the sides, the reasons and the newest times too.

    `rows`: parsed records with `kind, source, reasons, topic, partition, offset, kafka_time, ingested_at, eventAt`.
    """
    published = F.unix_millis("kafka_time")
    latest = F.col("ingested_at") + F.make_dt_interval(secs=F.lit(MAX_FUTURE_SECONDS))
    in_time = F.when(F.col("kafka_time") <= latest, F.col("offset"))
    grouped = rows.groupBy("kind", "source", "reasons", "topic", "partition").agg(
        F.count(F.lit(1)).alias("n"),
        F.max(published).alias("newest"),
        F.min("offset").alias("first"),
        F.max("offset").alias("offset"),
        F.max(in_time).alias("last"),
        F.max_by(published, in_time).alias("at"),
        F.max(F.when(F.col("kind") == "HEARTBEAT", speaks_to())).alias("beat"),
    )
    read = Read()
    for row in grouped.collect():
        read.kinds[row["kind"]] += row["n"]
        place, one = (row["topic"], row["partition"]), (row["last"], row["at"])
        first, offset = read.offsets.get(place, (row["first"], row["offset"]))
        read.offsets[place] = min(first, row["first"]), max(offset, row["offset"])
        if row["last"] is not None:
            read.last[place] = max(one, read.last.get(place, one))
        if row["beat"] is not None:
            read.beats[row["topic"]] = max(row["beat"], read.beats.get(row["topic"], row["beat"]))
        of = {"side": row["source"], "kind": row["kind"]}
        REGISTRY.add("reco_records_total", row["n"], **of)
        for reason in row["reasons"] or ():
            REGISTRY.add("reco_quarantined_total", row["n"], reason=reason)
        if row["kind"] != "QUARANTINE":
            name, newest = "reco_newest_published_timestamp_seconds", row["newest"] / 1000
            REGISTRY.put(name, max(newest, REGISTRY.value(name, **of) or newest), **of)
    return read


def speaks_to() -> Column:
    """Up to when a parsed heartbeat says that all was sent: its `eventTime`, for no time after its publication."""
    return F.least(F.unix_millis("eventAt"), F.unix_millis("kafka_time"))


def verdicts(written: DataFrame, at: datetime, is_large: bool) -> dict[str, Any]:
    """Count a batch's verdicts (rows of gold/nrt_results); what the log says of them: `verdicts`, and `suppliers`.

    `at`: when they were written and told, UTC. Of a large batch suppliers are not looked at.
    """
    lag = f"greatest({round(at.timestamp() * 1000)} - unix_millis(published_at), 0) AS lag"
    suppliers: set[str] = set()
    counts: Counter[_Group] = Counter()
    totals: Counter[_Group] = Counter()
    if is_large:
        for row in _grouped(written.selectExpr("outcome", "anomaly_types", lag)).collect():
            group = row["outcome"], tuple(row["anomaly_types"]), row["bucket"]
            counts[group], totals[group] = row["n"], row["total"]
    else:
        # Grouping them takes a shuffle, and three times as long as to fetch and count them here.
        for row in written.selectExpr("outcome", "anomaly_types", "supplier_id", lag).collect():
            group = row["outcome"], tuple(row["anomaly_types"]), bisect_left(_BOUNDS, row["lag"] / 1000)
            counts[group] += 1
            totals[group] += row["lag"]
            suppliers.add(row["supplier_id"])
    for group, count in counts.items():
        outcome, kinds, bucket = group
        REGISTRY.add("reco_verdicts_total", count, outcome=outcome)
        REGISTRY.observe_many(_LAG, {bucket: count}, totals[group] / 1000, outcome=outcome)
        for kind in kinds:
            REGISTRY.add("reco_anomalies_total", count, anomaly_type=kind)
    named = sorted(suppliers) if len(suppliers) <= NAMED else len(suppliers)
    return {"verdicts": counts.total(), **({} if is_large else {"suppliers": named})}


def _grouped(timed: DataFrame) -> DataFrame:
    """`n` and `total` (milliseconds) by outcome, anomalies and the bucket that `lag` (milliseconds) falls into."""
    case = "".join(f" WHEN lag <= {round(bound * 1000)} THEN {index}" for index, bound in enumerate(_BOUNDS))
    placed = timed.selectExpr("*", f"CASE{case} ELSE {len(_BOUNDS)} END AS bucket")
    grouped = placed.groupBy("outcome", "anomaly_types", "bucket")
    return grouped.agg(F.count(F.lit(1)).alias("n"), F.sum("lag").alias("total"))


def exceptions(spark: SparkSession, settings: Settings) -> None:
    """Count the stream's exceptions that are not resolved."""
    rows = tables.read(spark, settings.table_path("nrt_exceptions")).where(F.col("state") != "RESOLVED")
    counted = rows.groupBy("anomaly_type", "state").count().collect()
    found = {(kind.value, state): 0 for kind in AnomalyType for state in ("OPEN", "PENDING")}
    found |= {(row["anomaly_type"], row["state"]): row["count"] for row in counted}
    for (kind, state), count in found.items():
        REGISTRY.put("reco_unresolved_exceptions", count, anomaly_type=kind, state=state)
