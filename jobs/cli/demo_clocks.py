"""Both clocks beside each other: what the stream leaves open and what the closes found, read without a JVM."""

from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import polars as pl

from jobs.common.lake import open_table, read
from jobs.common.policies import current_policies
from jobs.common.settings import Settings

_BREAK = ("supplier_id", "activity_id", "anomaly_type")


def build(settings: Settings, last: date) -> list[dict[str, Any]]:
    """By anomaly type: breaks of NRT_HOURLY suppliers that the closes found, those the stream has open, those in both.

    A break of several days is counted once, as the stream has it; one of a day after the last is left out.
    """
    _, policies = current_policies(settings)
    daily = {supplier for supplier, policy in policies.items() if policy.mode == "DAILY_ONLY"}
    anomalies = read(open_table(settings, "anomalies"), "anomalies").select(*_BREAK)
    closed = {row for row in anomalies.iter_rows() if row[0] not in daily}
    told = read(open_table(settings, "nrt_exceptions"), "nrt_exceptions")
    # A supplier that is silent is no break of an activity.
    is_closed = pl.col("known_since") < datetime.combine(last + timedelta(days=1), time(tzinfo=UTC))
    exceptions = told.filter(pl.col("activity_id").is_not_null() & is_closed)
    states: dict[str, set[tuple[str, ...]]] = {
        state: set(exceptions.filter(pl.col("state") == state).select(*_BREAK).iter_rows())
        for state in ("OPEN", "PENDING")
    }
    counted = {
        "closed": closed,
        "stream_open": states["OPEN"],
        "stream_pending": states["PENDING"],
        "in_both": closed & states["OPEN"],
    }
    counts = {name: Counter(row[2] for row in rows) for name, rows in counted.items()}
    kinds = sorted(set().union(*counts.values()))
    return [{"anomaly_type": kind, **{name: counts[name][kind] for name in counted}} for kind in kinds]
