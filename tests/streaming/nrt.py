"""Small stories for the stream's verdicts: records by the minute, and a lake that takes them."""

import json
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from jobs.cli.broker import Broker
from jobs.common.kafka import topic_partitions
from jobs.common.lake import open_table, read
from jobs.common.policies import apply
from jobs.common.settings import Settings
from jobs.streaming.main import checkpoint_root, start_match, start_normalise
from jobs.streaming.progress import Watch
from jobs.streaming.settle import Settler
from tests.oracle.normalise import Raw
from tests.oracle.stream import OpenBreaks
from tests.streaming.feed import new_settings, produce
from tests.workloads.values import CLOCK

T0 = CLOCK - timedelta(days=20)
POLICIES = """
version: 1
defaults: {grace: 1h}
suppliers:
  FAST: {grace: 1m}
  SLOW: {grace: 10m}
  SLOWEST: {grace: 6h}
  APART: {grace: 1m, versions: independent}
  DAILY: {grace: 1m, mode: %s}
  TIGHT: {grace: 1m, price: {abs_tol_usd: "%s"}}
"""
Exceptions = dict[tuple[str, str], str]


def event(side: str, activity: str, minutes: float, supplier: str = "FAST", **fields: Any) -> Raw:
    """One side's raw record, of an event that is published as it happens, so many minutes after T0."""
    when = T0 + timedelta(minutes=minutes)
    payload = {
        "eventId": f"{side}-{activity}-{fields.get('version', 1)}",
        "activityId": activity,
        "supplierId": supplier,
        "activityType": "BOOKING",
        "amountMinor": 10_000,
        "currency": "USD",
        "status": "BOOKED",
        "version": 1,
        "eventTime": when.isoformat(timespec="milliseconds"),
    }
    return _raw(side, json.dumps(payload | fields).encode(), when, activity)


def both(activity: str, minutes: float, supplier: str = "FAST", **differing: Any) -> list[Raw]:
    """The record of either side; SUPPLIER's with the differing fields."""
    return [event("agoda", activity, minutes, supplier), event("supplier", activity, minutes, supplier, **differing)]


def beats(minutes: float, *sides: str, partitions: int = 4, later: float = 0) -> list[Raw]:
    """A heartbeat on each partition of those sides, of both where none is named; published so many minutes later."""
    return beats_at(T0 + timedelta(minutes=minutes), *sides, partitions=partitions, later=timedelta(minutes=later))


def beats_at(when: datetime, *sides: str, partitions: int = 4, later: timedelta = timedelta(0)) -> list[Raw]:
    """The same at a time of its own."""
    value = json.dumps({"heartbeat": True, "eventTime": when.isoformat(timespec="milliseconds")}).encode()
    named = sides or ("agoda", "supplier")
    return [_raw(side, value, when + later, None, partition) for side in named for partition in range(partitions)]


def _raw(side: str, value: bytes, when: datetime, key: str | None, partition: int = 3) -> Raw:
    return Raw(f"{side}.raw.activity", partition, 0, key.encode() if key else None, value, when)


def open_of(settings: Settings) -> OpenBreaks:
    """The stream's open exceptions as the oracle tells them, when every grace has passed."""
    rows = read(open_table(settings, "nrt_exceptions"), "nrt_exceptions").to_dicts()
    rows = [row for row in rows if row["anomaly_type"] != "FEED_SILENT"]
    keys = Counter((row["supplier_id"], row["activity_id"], row["anomaly_type"]) for row in rows)
    assert set(keys.values()) <= {1}, "an exception is one row"
    assert {row["state"] for row in rows} <= {"OPEN", "RESOLVED"}, "every grace has passed"
    return {
        (row["supplier_id"], row["activity_id"], row["anomaly_type"]): (row["severity"], row["amount_at_risk_usd"])
        for row in rows
        if row["state"] == "OPEN"
    }


class Stream:
    """A lake, topics and policies of its own; `take` runs both queries over what is there."""

    def __init__(self, spark: SparkSession, broker: Broker, root: Path, name: str, **stream: Any) -> None:
        options = {"state_store": "memory", "sweep_minutes": 0, "summary_minutes": 0} | stream
        self.spark, self.root = spark, root
        self.settler: Settler | None = None
        self.settings = new_settings(str(root / "lake"), broker.bootstrap_servers, name, **options)
        self.watch = Watch(spark, self.settings)
        self.apply()

    def apply(self, daily: str = "DAILY_ONLY", tight: str = "0.50") -> None:
        """Put policies in force."""
        (self.root / "policies.yaml").write_text(POLICIES % (daily, tight))
        apply(self.settings, self.root / "policies.yaml", CLOCK)

    def take(self, *records: Raw) -> str:
        """Feed the records to both queries, one after the other; the plan of the last batch of `match`."""
        self.send(*records)
        return self.match()

    def send(self, *records: Raw) -> None:
        """Feed the records to the query `normalise` alone."""
        produce(self.settings, records)
        partitions = topic_partitions(self.settings)
        query = start_normalise(self.spark, self.settings, partitions, available_now=True, clock=lambda: CLOCK)
        query.awaitTermination()
        self.watch.look([query])

    def match(self) -> str:
        """Run the query `match` over what is there; the plan of its last batch."""
        # One process, as it were: what it does at its start alone is done once.
        self.settler = self.settler or Settler(self.spark, self.settings, f"{checkpoint_root(self.settings)}/match")
        query = start_match(self.spark, self.settings, available_now=True, settler=self.settler)
        query.awaitTermination()
        self.watch.look([query])
        return str(query._jsq.explainInternal(False))

    def restart(self) -> None:
        """What runs next is another process."""
        self.settler = None

    def exceptions(self, *activities: str) -> Exceptions:
        """The state of every exception, of those activities if any are named; with `+1` where it was reopened."""
        return {
            (row["activity_id"], row["anomaly_type"]): row["state"] + ("+1" if row["reopened"] else "")
            for row in self.rows("nrt_exceptions")
            if not activities or row["activity_id"] in activities
        }

    def outcomes(self, activity: str) -> list[str]:
        """Every outcome given on an activity, in order."""
        mine = [row for row in self.rows("nrt_results") if row["activity_id"] == activity]
        return [row["outcome"] for row in sorted(mine, key=lambda row: (row["verdict_at"], row["batch_id"]))]

    def version(self, name: str) -> int:
        """A table's newest version."""
        table = open_table(self.settings, name)
        assert table is not None
        return table.version()

    def rows(self, name: str) -> list[dict[str, Any]]:
        """All rows of a table."""
        return read(open_table(self.settings, name), name).to_dicts()
