"""The lake that the console's promises are about: a million exceptions, thirty days of 100,000 facts."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
from deltalake import write_deltalake

from jobs.common.arrow import polars_schema
from jobs.common.settings import Settings
from schemas.tables import TABLES
from tests.console.lake import DAY, PRICE, small_lake

ROWS, DAYS, FACTS = 1_000_000, 30, 100_000
PAGES = (
    "/", "/exceptions", "/exceptions?sort=severity", "/exceptions?sort=since&order=asc&page=5000",
    "/exceptions?q=77777",
    "/exceptions?supplier=SUP-7&age=4", f"/exceptions/{PRICE['exception_id']}", "/closes", "/closes/2026-03-09-r1",
    "/quarantine", "/suppliers", "/suppliers/SUP-7", "/system",
)  # fmt: skip
#: Suppliers of somebody who does not see all.
SOME = tuple(f"SUP-{number}" for number in range(40))


def large_lake(settings: Settings, days: int = DAYS) -> None:
    """Everything of the small lake, a million exceptions and their breaks, and so many days of facts and events."""
    for back in range(days):
        day = DAY - timedelta(days=back)
        _append(settings, "reconciliation_facts", _facts(day), "reco_date")
        _append(settings, "activity", _events(day), "event_date")
    small_lake(settings)
    rows = a_million()
    _append(settings, "exceptions", rows)
    breaks = rows.rename({"exception_id": "anomaly_id", "last_seen_date": "reco_date"})
    told = breaks.with_columns(pl.lit("MISMATCHED").alias("outcome"), pl.lit("said").alias("explanation"))
    _append(settings, "anomalies", told.select(list(polars_schema(TABLES["anomalies"].schema))))


def a_million() -> pl.DataFrame:
    """Exceptions of 200 suppliers and 100 days."""
    number = pl.int_range(ROWS, eager=True).alias("n").to_frame()
    word = pl.col("n").hash(1).cast(pl.String).str.zfill(20)
    text = pl.col("n").cast(pl.String)

    def one_of(*words: str) -> pl.Expr:
        places = (pl.col("n").hash(len(words)) % len(words)).cast(pl.Int64)
        return places.replace_strict(dict(enumerate(words)), return_dtype=pl.String)

    day = pl.lit(date(2026, 3, 9)) - (pl.col("n") % 100) * timedelta(days=1)
    return number.select(
        (word + word + word + text.str.zfill(4).str.tail(4)).alias("exception_id"),
        ("SUP-" + (pl.col("n").hash(9) % 200).cast(pl.String)).alias("supplier_id"),
        ("BK-" + text).alias("activity_id"),
        one_of("MISSING_SUPPLIER", "PRICE_MISMATCH", "STATUS_MISMATCH").alias("anomaly_type"),
        one_of("OPEN", "OPEN", "OPEN", "RESOLVED").alias("state"),
        one_of("CRITICAL", "HIGH", "MEDIUM", "LOW", "LOW").alias("severity"),
        ((pl.col("n").hash(3) % 10**9).cast(pl.Decimal(28, 6)) / 1000)
        .cast(pl.Decimal(28, 6))
        .alias("amount_at_risk_usd"),
        day.alias("first_seen_date"),
        day.alias("last_seen_date"),
        pl.lit(None, pl.Date).alias("resolved_date"),
        pl.lit("2026-03-09-r1").alias("close_id"),
    )


def _keys(day: date) -> pl.DataFrame:
    number = pl.int_range(FACTS, eager=True).alias("n").to_frame()
    supplier = "SUP-" + (pl.col("n") % 200).cast(pl.String)
    return number.select(supplier.alias("supplier_id"), ("BK-" + pl.col("n").cast(pl.String)).alias("activity_id"))


def _facts(day: date) -> pl.DataFrame:
    told = {"reco_date": pl.lit(day), "outcome": pl.lit("MATCHED"), "close_id": pl.lit(f"{day}-r1")}
    return _whole("reconciliation_facts", _keys(day).with_columns(**told))


def _events(day: date) -> pl.DataFrame:
    at = pl.lit(datetime(day.year, day.month, day.day, 10, tzinfo=UTC)).cast(pl.Datetime("us", "UTC"))
    times = {"event_time": at, "kafka_time": at, "ingested_at": at, "event_date": pl.lit(day)}
    keys = _keys(day).with_columns(**times, currency=pl.lit("USD"), status=pl.lit("BOOKED"))
    both = pl.concat([keys.with_columns(source=pl.lit(side)) for side in ("AGODA", "SUPPLIER")])
    return _whole("activity", both.with_columns(amount_minor=pl.lit(1, pl.Int64), version=pl.lit(1, pl.Int64)))


def _whole(name: str, rows: pl.DataFrame) -> pl.DataFrame:
    """With the columns that the table has besides, empty."""
    kinds = polars_schema(TABLES[name].schema)
    return rows.select(
        (pl.col(column).cast(kind) if column in rows.columns else pl.lit(None, kind)).alias(column)
        for column, kind in kinds.items()
    )


def _append(settings: Settings, name: str, rows: pl.DataFrame, partition: str | None = None) -> None:
    write_deltalake(settings.table_path(name), rows, mode="append", partition_by=[partition] if partition else None)
