"""Exceptions as the console shows them: the close's and the stream's joined, and what people did folded in."""

from datetime import UTC, datetime

import polars as pl

from jobs.common.arrow import polars_schema
from jobs.console.actions import folded
from jobs.console.tables import Tables
from jobs.console.users import User
from schemas.tables import TABLES

SOURCES = ("exceptions", "nrt_exceptions", "exception_actions")
#: Under what names the frames are kept.
OF_JOBS, WHOLE, CUBE = "exceptions of jobs", "exceptions", "cube"
SEVERITIES = ("CRITICAL", "HIGH", "MEDIUM", "LOW")
STATES = ("OPEN", "PENDING", "RESOLVED")
#: Words that come back in a million rows are kept once.
_WORDS = pl.Categorical()
_KEY = ("exception_id", "supplier_id", "activity_id", "anomaly_type")
EXACT = pl.Decimal(38, 6)


def everything(tables: Tables) -> pl.DataFrame:
    """Every exception, one row each, of every supplier; made once for each state of the lake.

    Columns: the key, `state` (OPEN, PENDING, RESOLVED, by job and people together), `verdict` (FINAL where a close
    has seen it, else PROVISIONAL), `severity`, `amount_at_risk_usd`, `since` (UTC, first seen), `last_seen_date`,
    `changed_at`, `held`, `reopened`, `acknowledged`, `assignee`, `resolved_by` (JOB or a user), `came_back`,
    `row` (its place here).
    """
    of_jobs(tables)
    number, jobs = tables.held(OF_JOBS)
    return tables.made(WHOLE, SOURCES[2:], lambda: _with_actions(tables, jobs), also=number)


def of_jobs(tables: Tables) -> pl.DataFrame:
    """Every exception as close and stream say, without what people did; the same rows in the same order."""
    return tables.made_behind(OF_JOBS, SOURCES[:2], lambda: _joined(tables).with_row_index("row"))


def visible(tables: Tables, user: User) -> pl.DataFrame:
    """Those of the user's suppliers only."""
    return limited_to(everything(tables), user)


def limited_to(rows: pl.DataFrame, user: User) -> pl.DataFrame:
    """Those of these rows."""
    if user.suppliers is None:
        return rows
    return rows.filter(pl.col("supplier_id").cast(pl.String).is_in(list(user.suppliers)))


def _joined(tables: Tables) -> pl.DataFrame:
    close, stream = (
        _rows(tables, name, columns) for name, columns in (("exceptions", _CLOSE), ("nrt_exceptions", _NRT))
    )
    both = close.join(stream, on=_KEY, how="full", coalesce=True, suffix="_nrt", nulls_equal=True)
    midnight = pl.max_horizontal("last_seen_date", "resolved_date").dt.offset_by("1d").cast(pl.Datetime("us", "UTC"))
    told_at = pl.max_horizontal("first_seen_at", "opened_at", "resolved_at")
    # The close is the authority on its day; what the stream saw after that day is newer.
    by_stream = pl.col("state").is_null() | (told_at >= midnight).fill_null(False)

    def newer(name: str) -> pl.Expr:
        return pl.when(by_stream).then(pl.col(f"{name}_nrt")).otherwise(pl.col(name))

    first_day = pl.col("first_seen_date").cast(pl.Datetime("us", "UTC"))
    return both.select(
        *_KEY[:1],
        *(pl.col(name).cast(_WORDS) for name in ("supplier_id",)),
        "activity_id",
        pl.col("anomaly_type").cast(_WORDS),
        newer("state").cast(_WORDS).alias("state"),
        pl.when(pl.col("last_seen_date").is_null())
        .then(pl.lit("PROVISIONAL"))
        .otherwise(pl.lit("FINAL"))
        .cast(_WORDS)
        .alias("verdict"),
        newer("severity").cast(_WORDS).alias("severity"),
        newer("amount_at_risk_usd").alias("amount_at_risk_usd"),
        pl.min_horizontal("known_since", first_day).fill_null(pl.col("first_seen_at")).alias("since"),
        "last_seen_date",
        pl.coalesce(pl.when(by_stream).then(told_at), midnight, told_at).alias("changed_at"),
        pl.col("held_by").is_not_null().alias("held"),
        pl.col("reopened"),
    ).collect(engine="streaming")


_CLOSE = (*_KEY, "state", "severity", "amount_at_risk_usd", "first_seen_date", "last_seen_date", "resolved_date")
_NRT = (*_KEY, "state", "severity", "amount_at_risk_usd", "known_since", "first_seen_at", "opened_at", "resolved_at",
        "held_by", "reopened")  # fmt: skip


def _rows(tables: Tables, name: str, columns: tuple[str, ...]) -> pl.LazyFrame:
    found = tables.scan(name)
    schema = polars_schema(TABLES[name].schema)
    empty = pl.LazyFrame(schema={column: schema[column] for column in columns})
    return empty if found is None else found.select(columns)


def _with_actions(tables: Tables, jobs: pl.DataFrame) -> pl.DataFrame:
    people = folded(tables)
    by_job = pl.col("state").cast(pl.String) == "RESOLVED"
    if people.is_empty():
        no, nobody = pl.lit(value=False), pl.lit(None, pl.String)
        return jobs.with_columns(
            no.alias("acknowledged"),
            nobody.alias("assignee"),
            pl.when(by_job).then(pl.lit("JOB")).alias("resolved_by"),
            no.alias("came_back"),
        )
    # Of few columns: the long ones are then shared with the frame without actions, not copied.
    few = jobs.select("exception_id", "state", "amount_at_risk_usd", "last_seen_date", "reopened")
    joined = few.join(people, on="exception_id", how="left", maintain_order="left")
    worse = pl.col("amount_at_risk_usd") > pl.col("seen_amount_at_risk_usd")
    seen_again = pl.col("last_seen_date") > pl.coalesce("seen_last_seen_date", pl.col("decided_at").dt.date())
    reopened = pl.col("reopened") > pl.col("seen_reopened").fill_null(0)
    person = pl.col("resolved").fill_null(False)
    back = person & ~by_job & pl.any_horizontal(worse, seen_again, reopened).fill_null(False)
    closed = person & ~back & ~by_job
    told = joined.select(
        pl.when(closed).then(pl.lit("RESOLVED")).otherwise(pl.col("state").cast(pl.String)).cast(_WORDS).alias("state"),
        (pl.col("acknowledged").fill_null(False) & ~closed).alias("acknowledged"),
        "assignee",
        pl.when(closed).then(pl.col("decided_by")).when(by_job).then(pl.lit("JOB")).alias("resolved_by"),
        back.alias("came_back"),
    )
    return jobs.with_columns(told.get_columns())


def cube(tables: Tables) -> pl.DataFrame:
    """Counts and money by supplier, type, severity, state and age in days (unresolved ones), for sums of any kind."""
    everything(tables)
    (number, rows), now = tables.held(WHOLE), datetime.now(UTC)
    return tables.made(CUBE, (), lambda: _counted(rows, now), also=(number, now.date(), now.hour, now.minute // 5))


def _counted(rows: pl.DataFrame, now: datetime) -> pl.DataFrame:
    return (
        rows.lazy()
        .filter(pl.col("state").cast(pl.String) != "RESOLVED")
        .with_columns(age_bucket(now).alias("age"))
        .group_by("supplier_id", "anomaly_type", "severity", "state", "age", "held", "acknowledged")
        .agg(
            pl.len().cast(pl.Int64).alias("exceptions"),
            pl.col("amount_at_risk_usd").cast(EXACT).sum().alias("amount_at_risk_usd"),
            pl.col("amount_at_risk_usd").null_count().cast(pl.Int64).alias("unpriced"),
        )
        .with_columns(pl.col("supplier_id", "anomaly_type", "severity", "state").cast(pl.String))
        .collect()
    )


#: Age buckets of what is unresolved: name and upper end in hours.
AGES = (("under 1 hour", 1), ("1 to 6 hours", 6), ("6 to 24 hours", 24), ("1 to 7 days", 168), ("over 7 days", None))


def age_bucket(now: datetime) -> pl.Expr:
    """The index in AGES of how long ago `since` was."""
    hours = (pl.lit(now).cast(pl.Datetime("us", "UTC")) - pl.col("since")).dt.total_minutes() / 60
    found = pl.lit(len(AGES) - 1)
    for index in range(len(AGES) - 2, -1, -1):
        found = pl.when(hours < AGES[index][1]).then(pl.lit(index)).otherwise(found)
    return found.cast(pl.Int8)
