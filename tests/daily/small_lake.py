"""A lake of a handful of activities, one for every kind of explanation, written without a JVM."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import write_deltalake

from jobs.common.arrow import polars_schema
from jobs.common.lake import append_version
from jobs.common.settings import Lake, Settings
from schemas.tables import TABLES

DAY = date(2026, 3, 10)
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
SUPPLIER = "SUP-007"


def event(source: str, activity: str, amount: int = 10_000, currency: str = "USD", **others: Any) -> dict[str, Any]:
    """A delivery of version 1 at noon, published five seconds later; `others` are columns of silver/activity."""
    at: datetime = others.get("event_time", NOON)
    row: dict[str, Any] = {
        "event_id": f"{source[0]}-{activity}",
        "source": source,
        "supplier_id": SUPPLIER,
        "activity_id": activity,
        "activity_type": "BOOKING",
        "amount_minor": amount,
        "currency": currency,
        "status": "BOOKED",
        "version": 1,
        "event_time": at,
        "kafka_time": at + timedelta(seconds=5),
        "mode": "NRT_HOURLY",
        "grace_seconds": 3600,
        "policy_version": 0,
        "topic": f"{source.lower()}.raw.activity",
        "partition": 0,
        "ingested_at": NOON + timedelta(hours=1),
    }
    row |= others
    return row | {"event_date": row["event_time"].date(), "event_hour": row["event_time"].hour}


def pair(activity: str, amount: int = 10_000, currency: str = "USD", **supplier: Any) -> list[dict[str, Any]]:
    """AGODA's 100 USD, and SUPPLIER's event as told."""
    return [event("AGODA", activity), event("SUPPLIER", activity, amount, currency, **supplier)]


def events() -> list[dict[str, Any]]:
    """What is there when the day is closed."""
    yesterday, late = NOON - timedelta(days=1), NOON + timedelta(minutes=20)
    messy = pair("BK-MESSY", status="PAID", event_time=late, kafka_time=late + timedelta(hours=3))
    other = event("AGODA", "BK-MESSY", 14_000, event_id="A-other", event_time=NOON - timedelta(seconds=1))
    return [
        *pair("BK-OK"),
        *pair("BK-EUR", 8_000, "EUR"),
        *pair("BK-BAHT", 300_000, "THB"),
        event("AGODA", "BK-ALONE", 15_000, "JPY"),
        *[*messy, messy[0] | {"kafka_time": NOON + timedelta(seconds=9)}, other],
        event("AGODA", "BK-REFUND", event_time=yesterday),
        event("SUPPLIER", "BK-REFUND", event_time=yesterday),
        event("AGODA", "BK-REFUND", event_id="A2", version=2, status="REFUNDED", activity_type="REFUND"),
    ]


def append(settings: Settings, rows: Sequence[dict[str, Any]], first_offset: int = 0) -> None:
    """Append deliveries, each with the next offset; the table is made where it is missing."""
    numbered = [row | {"offset": offset} for offset, row in enumerate(rows, start=first_offset)]
    if first_offset == 0:
        append_version(settings, "activity", numbered, 1, None)
        return
    schema = polars_schema(TABLES["activity"].schema)
    write_deltalake(settings.table_path("activity"), pl.DataFrame(numbered, schema=schema, orient="row"), mode="append")


def make(root: Path, rows: Sequence[dict[str, Any]]) -> Settings:
    """A new lake with these deliveries and rates for EUR and JPY; policies are the built-in ones."""
    settings = Settings(lake=Lake(root=str(root)))
    append(settings, rows)
    rates = {"EUR": Decimal("1.08"), "JPY": Decimal("0.0067")}
    loaded = {"rate_date": DAY - timedelta(days=1), "fx_version": 1, "loaded_at": NOON}
    append_version(
        settings, "fx_rates", [loaded | {"currency": c, "usd_per_unit": rate} for c, rate in rates.items()], 1, None
    )
    return settings
