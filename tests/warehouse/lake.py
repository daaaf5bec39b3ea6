"""Closes of small days, written as the close writes them, without a JVM."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
from deltalake import DeltaTable, write_deltalake

from jobs.common.arrow import delta_schema, polars_schema
from jobs.common.settings import Settings
from schemas.tables import TABLES

DAY, NEXT = date(2026, 3, 9), date(2026, 3, 10)
AT = datetime(2026, 3, 9, 10, 0, 0, 123_000, tzinfo=UTC)
HOSTILE = "=cmd|'/c calc'!A1\t\"予約\" \\ 'x'"


def frame(name: str, rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    schema = polars_schema(TABLES[name].schema)
    return pl.DataFrame([{key: row.get(key) for key in schema} for row in rows], schema=schema, orient="row")


def fact(activity: str, usd: str | None = "10.000001", day: date = DAY, **more: Any) -> dict[str, Any]:
    duplicate = {"version": 1, "event_id": "e", "amount_minor": 5, "currency": "USD", "status": None, "event_time": AT}
    told = {
        "reco_date": day,
        "supplier_id": "SUP-1",
        "activity_id": activity,
        "outcome": "MATCHED",
        "anomaly_types": [],
        "agoda_event_time": AT,
        "agoda_amount_usd": None if usd is None else Decimal(usd),
        "supplier_duplicates": [duplicate],
        "close_id": f"{day}-r1",
    }
    return {**told, **more}


def anomaly(activity: str, usd: str | None, day: date = DAY, kind: str = "PRICE_MISMATCH") -> dict[str, Any]:
    return {
        "anomaly_id": f"{day}-{activity}-{kind}",
        "reco_date": day,
        "supplier_id": "SUP-1",
        "activity_id": activity,
        "anomaly_type": kind,
        "outcome": "MISMATCHED",
        "severity": "HIGH",
        "amount_at_risk_usd": None if usd is None else Decimal(usd),
        "explanation": HOSTILE,
        "close_id": f"{day}-r1",
    }


def life(activity: str, usd: str, state: str = "OPEN") -> dict[str, Any]:
    days = {"first_seen_date": DAY, "last_seen_date": DAY, "resolved_date": None if state == "OPEN" else NEXT}
    key = {"supplier_id": "SUP-1", "activity_id": activity, "anomaly_type": "PRICE_MISMATCH"}
    money = {"severity": "HIGH", "amount_at_risk_usd": Decimal(usd)}
    return {"exception_id": f"x-{activity}", **key, "state": state, **money, **days, "close_id": "c"}


def hour(at: int, verdicts: int) -> dict[str, Any]:
    broken = [{"anomaly_type": "PRICE_MISMATCH", "open": 1, "pending": 2}]
    key = {"verdict_date": DAY, "verdict_hour": at, "supplier_id": "SUP-1"}
    return {**key, "verdicts": verdicts, "matched": 1, "broken": broken, "amount_at_risk_usd": Decimal("3.5")}


def write(settings: Settings, name: str, rows: Sequence[dict[str, Any]], predicate: str | None = None) -> None:
    """Append, or replace what the predicate names."""
    table, path = TABLES[name], settings.table_path(name)
    if not DeltaTable.is_deltatable(path):
        DeltaTable.create(path, delta_schema(table.schema), partition_by=list(table.partition_by))
    mode = "append" if predicate is None else "overwrite"
    write_deltalake(path, frame(name, rows), mode=mode, predicate=predicate)  # type: ignore[call-overload]


def replace_day(settings: Settings, name: str, rows: Sequence[dict[str, Any]], day: date = DAY) -> None:
    """As a close does it."""
    write(settings, name, rows, f"reco_date = '{day}'")


def merge(settings: Settings, rows: Sequence[dict[str, Any]]) -> None:
    """As a close brings gold/exceptions up to date."""
    table = DeltaTable(settings.table_path("exceptions"))
    same = "known.exception_id = changed.exception_id"
    merger = table.merge(frame("exceptions", rows), same, source_alias="changed", target_alias="known")
    merger.when_matched_update_all().when_not_matched_insert_all().execute()


def first_closes(settings: Settings) -> None:
    """Two days, with what belongs to them."""
    for day in (DAY, NEXT):
        replace_day(settings, "reconciliation_facts", [fact(f"BK-{n}", day=day) for n in range(5)], day)
        replace_day(settings, "anomalies", [anomaly("BK-1", "0.010001", day), anomaly(HOSTILE, None, day)], day)
    write(settings, "exceptions", [life("BK-1", "0.010001"), life("BK-2", "7.5")])
    write(settings, "hourly_summary", [hour(9, 3), hour(10, 4)])
