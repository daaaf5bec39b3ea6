"""A lake that holds workloads as the streaming job would have left them, written without a JVM."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import write_deltalake

from jobs.common.arrow import polars_schema
from jobs.common.lake import append_version, open_table, read
from jobs.common.settings import Lake, Settings
from schemas.tables import TABLES
from tests.oracle.model import Event, Fx, Policy
from tests.properties.harness import Verdicts, found
from tests.workloads.generate import Workload
from tests.workloads.values import CLOCK, FX


def make_lake(
    root: Path, workloads: Sequence[Workload], events: Sequence[Event], files: int = 1, fx: Fx = FX
) -> Settings:
    """Settings of a new lake with the workloads' policies, the rates, and these deliveries in so many appends."""
    settings = Settings(lake=Lake(root=str(root)))
    append_version(settings, "policies", [*policy_rows(workloads)], 1, None)
    append_version(settings, "fx_rates", [*rate_rows(fx)], 1, None)
    modes = {workload.supplier_id: workload.policy.mode for workload in workloads}
    rows = [silver_row(event, modes[event.supplier_id], offset) for offset, event in enumerate(events)]
    share = -(-len(rows) // files)
    append_version(settings, "activity", rows[:share], 1, None)
    for start in range(share, len(rows), share):
        frame = pl.DataFrame(rows[start : start + share], schema=polars_schema(TABLES["activity"].schema), orient="row")
        write_deltalake(settings.table_path("activity"), frame, mode="append")
    return settings


def verdicts_of(settings: Settings, dates: Iterable[date]) -> Verdicts:
    """What the closes of these dates left in the two gold tables."""
    days = list(dates)
    tables = [read(open_table(settings, name), name) for name in ("reconciliation_facts", "anomalies")]
    facts, anomalies = (table.filter(pl.col("reco_date").is_in(days)).to_dicts() for table in tables)
    return found(facts, anomalies)


def silver_row(event: Event, mode: str, offset: int) -> dict[str, Any]:
    """The delivery as a row of silver/activity."""
    names = ("event_id", "source", "supplier_id", "activity_id", "activity_type", "amount_minor", "currency", "status")
    return {
        **{name: getattr(event, name) for name in names},
        "version": event.version,
        "event_time": event.event_time,
        "kafka_time": event.kafka_time,
        "mode": mode,
        "grace_seconds": event.grace_seconds,
        "policy_version": event.policy_version,
        "topic": f"{event.source.lower()}.raw.activity",
        "partition": 0,
        "offset": offset,
        "ingested_at": CLOCK,
        "event_date": event.event_time.date(),
        "event_hour": event.event_time.hour,
    }


def policy_rows(workloads: Iterable[Workload]) -> Iterable[Mapping[str, Any]]:
    """Rows of ref/policies: the defaults, and each workload's own where it has one."""
    yield _policy_row(None, Policy())
    for workload in workloads:
        if workload.policy != Policy():  # a supplier that has the defaults need not be listed
            yield _policy_row(workload.supplier_id, workload.policy)


def _policy_row(supplier_id: str | None, policy: Policy) -> Mapping[str, Any]:
    same = ("mode", "versions", "abs_tol_usd", "pct_tol", "high_usd", "critical_usd", "format")
    return {
        "policy_version": 1,
        "supplier_id": supplier_id,
        **{name: getattr(policy, name) for name in same},
        "grace_seconds": policy.grace,
        "allowed_skew_seconds": policy.allowed_skew,
        "max_delay_seconds": policy.max_delay,
        "applied_at": CLOCK - timedelta(days=60),
        "file_hash": "0" * 64,
    }


def rate_rows(fx: Fx) -> Iterable[Mapping[str, Any]]:
    """Rows of ref/fx_rates."""
    for (day, currency), rate in fx.items():
        yield {
            "rate_date": day,
            "currency": currency,
            "usd_per_unit": rate,
            "fx_version": 1,
            "loaded_at": CLOCK - timedelta(days=60),
        }
