"""What `reco status` looks up: lag, last times, quarantine, open exceptions, closes; all without a JVM."""

from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import polars as pl
from confluent_kafka import Consumer, KafkaException, TopicPartition

from jobs.common import kafka
from jobs.common.errors import FAILED, UserError
from jobs.common.kafka_reach import partitions
from jobs.common.lake import open_table, scan
from jobs.common.law import Law
from jobs.common.settings import Settings

#: The newest closes that are shown.
CLOSES = 5
_TIMEOUT = 5.0
_CLOSE_COLUMNS = ["close_id", "reco_date", "revision", "provisional", "facts", "anomalies", "amount_at_risk_usd"]


@dataclass(frozen=True)
class Side:
    """When a side was last heard: its newest event's own and publish time, its newest heartbeat's publish time."""

    source: str
    last_event_time: datetime | None
    last_event_published: datetime | None
    last_heartbeat: datetime | None


@dataclass(frozen=True)
class Lag:
    """Records of a partition that are on the broker and not yet in bronze."""

    topic: str
    partition: int
    end_offset: int
    next_offset: int
    lag: int


def sides(settings: Settings, law: Law | None) -> list[Side]:
    """AGODA and SUPPLIER, heard or not."""
    table = open_table(settings, "activity")
    times: dict[str, tuple[datetime | None, datetime | None]] = {}
    if table is not None:
        newest = scan(table).group_by("source").agg(pl.col("event_time").max(), pl.col("kafka_time").max()).collect()
        times = {source: (event, published) for source, event, published in newest.iter_rows()}
    beats = law.last_heartbeat if law else {}
    found = []
    for source in ("AGODA", "SUPPLIER"):
        event, published = times.get(source, (None, None))
        found.append(Side(source, event, published, beats.get(source)))
    return found


def quarantine(settings: Settings) -> dict[str, int] | None:
    """Records by reason (a record may have several), the most frequent first; None where the table is absent."""
    table = open_table(settings, "quarantine")
    if table is None:
        return None
    reasons = scan(table).select(pl.col("reasons").explode().alias("reason")).group_by("reason").len().collect()
    return dict(reasons.sort("len", "reason", descending=[True, False]).iter_rows())


def open_exceptions(settings: Settings) -> list[dict[str, Any]] | None:
    """Open exceptions by anomaly type: how many, their money at risk, how many have no price; None where absent."""
    table = open_table(settings, "exceptions")
    if table is None:
        return None
    risk = pl.col("amount_at_risk_usd")
    found = (
        scan(table)
        .filter(pl.col("state") == "OPEN")
        .select("anomaly_type", "amount_at_risk_usd")
        .group_by("anomaly_type")
        .agg(pl.len().alias("open"), risk.null_count().alias("unpriced"), risk.drop_nulls().alias("amounts"))
        .sort("anomaly_type")
        .collect()
    )
    # Summed here, exactly, however many there are.
    return [
        {
            **{key: row[key] for key in ("anomaly_type", "open", "unpriced")},
            "amount_at_risk_usd": sum(row["amounts"], Decimal(0)),
        }
        for row in found.to_dicts()
    ]


def last_closes(settings: Settings) -> list[dict[str, Any]] | None:
    """The newest closes, the newest first; None where the table is absent."""
    table = open_table(settings, "closes")
    if table is None:
        return None
    newest = scan(table).select(*_CLOSE_COLUMNS, "finished_at").sort("finished_at", descending=True).head(CLOSES)
    return newest.collect().to_dicts()


def lags(settings: Settings, law: Law | None) -> list[Lag]:
    """Per partition of the raw topics: end of the broker minus end of bronze. UserError where no broker answers."""
    read = {(count.topic, count.partition): count.next_offset for count in law.counts} if law else {}
    raw = (settings.topics.agoda_raw, settings.topics.supplier_raw)
    known = partitions(settings, dict.fromkeys(raw, ()), seconds=_TIMEOUT)
    quiet = {"group.id": "reco-status", "log_level": 0, "error_cb": lambda _error: None}
    found = []
    try:
        with closing(Consumer({**kafka.client_options(settings), **quiet})) as consumer:
            for topic in raw:
                for partition in range(known[topic]):
                    low, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_TIMEOUT)
                    done = read.get((topic, partition), low)
                    found.append(Lag(topic, partition, end, done, max(end - done, 0)))
    except KafkaException as error:
        servers = kafka.bootstrap_servers(settings)
        raise UserError(
            f"The offsets at {servers} cannot be read ({kafka.reason_of(error)}): see `reco doctor`.", FAILED
        ) from error
    return found
