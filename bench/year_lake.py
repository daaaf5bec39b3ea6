"""A lake of so many small days, each closed when it was over, put in order by `reco maintain`; made without a JVM.

The first day comes in several commits, is judged and closed by DuckDB. Each later one has the same rows under other
dates and keys, in as many commits. Maintenance is as of so much later that nothing is kept for being young.
"""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import duckdb
import polars as pl
from deltalake import write_deltalake

from bench.engines import _SIDE, _SILVER, RATES
from jobs.common.arrow import polars_schema
from jobs.common.engines import delta
from jobs.common.engines.choice import EngineName, session_for
from jobs.common.lake import append_version, open_table, scan
from jobs.common.settings import Settings
from jobs.common.stale_mark import note_looked
from jobs.daily.close import close_day
from jobs.maintain.main import maintain
from schemas.tables import TABLES

FIRST = date(2025, 3, 1)
COMMITS = 8
#: Tables whose rows are no day's, and what must not come twice.
UNDATED = ("fx_rates", "policies", "formats")
KEYS = ("event_id", "activity_id", "result_id", "exception_id", "anomaly_id")


def grow(settings: Settings, days: int, activities: int) -> None:
    """So many days, each as its events, verdicts and close leave it, then all maintained."""
    loaded = {"fx_version": 1, "loaded_at": datetime.combine(FIRST, datetime.min.time(), UTC)}
    rates = [
        loaded | {"rate_date": FIRST + timedelta(days=number), "currency": code, "usd_per_unit": Decimal(rate)}
        for number in range(0, 500, 7)
        for code, rate in RATES.items()
    ]
    append_version(settings, "fx_rates", rates, 1, None)
    add_day(settings, 0, activities)
    with session_for("year", settings, EngineName.DUCKDB) as session:
        close_day(session, settings, day_of(0), over(0))
        stream_said(settings, day_of(0))
        close_day(session, settings, day_of(0), over(0))  # tells what became of the stream's verdicts, too
    _repeat(settings, days)
    silver = open_table(settings, "activity")
    assert silver is not None
    note_looked(settings, silver.version())
    for report in maintain(settings, datetime.now(UTC) + timedelta(days=60), vacuum_hours=0):
        print(f"year: {report.table} {report.before.files} files, then {report.after.files}; "
              f"log {report.before.log_files}, then {report.after.log_files}", flush=True)  # fmt: skip


def _repeat(settings: Settings, days: int) -> None:
    """The first day's rows of every table again for each later day, under other dates and keys, in as many commits."""
    tables = {
        name: table for name in TABLES if name not in UNDATED and (table := open_table(settings, name)) is not None
    }
    firsts = {name: scan(table).collect() for name, table in tables.items()}
    for number in range(1, days):
        for name, table in tables.items():
            rows = _moved(firsts[name], number)
            if name == "closes":
                rows = rows.tail(1).with_columns(
                    close_id=pl.lit(f"{day_of(number)}-r1"),
                    revision=pl.lit(1, rows.schema["revision"]),
                    silver_version=pl.lit(tables["activity"].version(), rows.schema["silver_version"]),
                )
            for part in range(parts := COMMITS if name == "activity" else 1):
                write_deltalake(table, rows[part::parts], mode="append")
        if number % 50 == 0:
            print(f"year: day {number} of {days}", flush=True)


def _moved(rows: pl.DataFrame, number: int) -> pl.DataFrame:
    """So many days later, with keys of that day."""
    keys = [name for name in KEYS if name in rows.columns]
    later = (pl.selectors.date() | pl.selectors.datetime()) + timedelta(days=number)
    return rows.with_columns(later, *[pl.col(name) + f"-{number}" for name in keys])


def day_of(number: int) -> date:
    return FIRST + timedelta(days=number)


def over(number: int) -> datetime:
    return datetime.combine(day_of(number + 1), datetime.min.time(), UTC) + timedelta(hours=12)


def add_day(settings: Settings, number: int, activities: int) -> None:
    """A day's events of both sides, in some commits."""
    midnight = int(datetime.combine(day_of(number), datetime.min.time(), UTC).timestamp() * 1000)
    table = delta.created(settings, "activity")
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'; set enable_progress_bar = false")
        for part in range(COMMITS):
            first = number * activities + part * activities // COMMITS
            those = f"{first}, {number * activities + (part + 1) * activities // COMMITS}"
            sides = {
                side.lower(): _SIDE.format(letter=side[0], side=side, midnight=midnight, activities=those)
                for side in ("AGODA", "SUPPLIER")
            }
            delta.append(table, connection.sql(_SILVER.format(**sides)))


def stream_said(settings: Settings, day: date) -> None:
    """What the stream would have left of the day: its verdicts, and its exceptions, by now resolved."""
    facts, broken = open_table(settings, "reconciliation_facts"), open_table(settings, "anomalies")
    assert facts is not None
    assert broken is not None
    at = pl.lit(datetime.combine(day, datetime.min.time(), UTC))
    of_day = pl.col("reco_date") == day
    results = scan(facts).filter(of_day).collect().with_columns(
        pl.concat_str("supplier_id", "activity_id").alias("result_id"), verdict_at=at, published_at=at,
        verdict_date=pl.lit(day), verdict_hour=pl.lit(10, pl.Int32),
    )  # fmt: skip
    _append(settings, "nrt_results", results)
    exceptions = scan(broken).filter(of_day).collect().with_columns(
        pl.concat_str("supplier_id", "activity_id", "anomaly_type").alias("exception_id"),
        state=pl.lit("RESOLVED"), known_since=at, first_seen_at=at, opened_at=at, resolved_at=at,
    )  # fmt: skip
    _append(settings, "nrt_exceptions", exceptions)


def _append(settings: Settings, name: str, rows: pl.DataFrame) -> None:
    """With the columns that the table has besides, empty."""
    table = delta.created(settings, name)
    kinds = polars_schema(TABLES[name].schema)
    whole = rows.select(
        (pl.col(column).cast(kind) if column in rows.columns else pl.lit(None, kind)).alias(column)
        for column, kind in kinds.items()
    )
    write_deltalake(table, whole, mode="append")
