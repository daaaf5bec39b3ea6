"""Exceptions as the console shows them: the close's and the stream's joined, and what people did folded in."""

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count

import polars as pl
from deltalake import DeltaTable

from jobs.console.actions import folded_numbered
from jobs.console.joined import WORDS, joined, patched, rows_of
from jobs.console.ranks import Ranks, in_order
from jobs.console.tables import Tables
from jobs.console.users import User

SOURCES = ("exceptions", "nrt_exceptions", "exception_actions")
_OF_JOBS, _WHOLE = "exceptions of jobs", "exceptions"
_NUMBERS = count(1)
SEVERITIES = ("CRITICAL", "HIGH", "MEDIUM", "LOW")
STATES = ("OPEN", "PENDING", "RESOLVED")
EXACT = pl.Decimal(38, 6)


@dataclass(frozen=True)
class OfJobs:
    """Every exception as close and stream say, without what people did, and the tables that say so."""

    rows: pl.DataFrame
    by_id: pl.Series
    ranks: Ranks
    tables: dict[str, DeltaTable | None]
    number: int
    #: What was worked out before anybody asked, of these and the actions' number.
    ahead: "dict[int, Whole]"


@dataclass(frozen=True)
class Whole:
    """The same with what people did; `number` is another for other rows."""

    rows: pl.DataFrame
    of_jobs: Ranks
    by_state: Ranks
    number: int
    _cubes: "dict[object, tuple[int, pl.DataFrame]]"

    def ranks(self, column: str) -> Ranks:
        """What people do changes no order but that of states."""
        return self.by_state if column == "state" else self.of_jobs

    def cube(self, now: datetime) -> tuple[int, pl.DataFrame]:
        """`cube` as of five minutes, and its number."""
        at = (now.date(), now.hour, now.minute // 5)
        found = self._cubes.get(at)
        if found is None:
            found = next(_NUMBERS), _counted(self.rows, now)
            self._cubes.clear()
            self._cubes[at] = found
        return found


def everything(tables: Tables) -> pl.DataFrame:
    """Every exception, one row each, of every supplier; made once for each state of the lake.

    Columns: the key, `state` (OPEN, PENDING, RESOLVED, by job and people together), `verdict` (FINAL where a close
    has seen it, else PROVISIONAL), `severity`, `amount_at_risk_usd`, `since` (UTC, first seen), `last_seen_date`,
    `changed_at`, `held`, `reopened`, `acknowledged`, `assignee`, `resolved_by` (JOB or a user), `came_back`,
    `row` (its place here).
    """
    return whole(tables).rows


def whole(tables: Tables) -> Whole:
    """`everything` with its orders and sums: what close and stream say may be some seconds old, what people did not."""
    jobs = tables.made_behind(_OF_JOBS, SOURCES[:2], lambda before: _of_jobs(tables, before))
    return tables.made(_WHOLE, SOURCES[2:], lambda: _of_people(tables, jobs), also=jobs.number)


def _of_people(tables: Tables, jobs: OfJobs, before: Whole | None = None) -> Whole:
    number, people = folded_numbered(tables)
    found = jobs.ahead.pop(number, None)
    jobs.ahead.clear()
    if found is None:
        rows = _with_actions(people, jobs.rows)
        found = Whole(rows, jobs.ranks, Ranks(rows, jobs.by_id), next(_NUMBERS), {})
    if before is not None:
        found.by_state.like(before.by_state)
    return found


def _of_jobs(tables: Tables, before: OfJobs | None) -> OfJobs:
    """As the tables stand now. Where it is made anew, everything that rests on it is made too before anybody sees it,
    so that nobody waits for that.
    """
    sources = {name: tables.table(name) for name in SOURCES[:2]}
    made = None if before is None else patched(before.rows, before.by_id, before.tables, sources)
    if made is None:
        rows = joined(*(rows_of(name, sources[name]) for name in SOURCES[:2]))
        made = rows, in_order(rows["exception_id"])
    rows = made[0].with_row_index("row")
    jobs = OfJobs(rows, made[1], Ranks(rows, made[1]), sources, next(_NUMBERS), {})
    last = tables.last(_WHOLE)
    if before is not None and last is not None:
        jobs.ranks.like(before.ranks)
        number, _ = folded_numbered(tables)
        ahead = _of_people(tables, jobs, last)
        ahead.cube(datetime.now(UTC))
        jobs.ahead[number] = ahead
    return jobs


def visible(tables: Tables, user: User) -> pl.DataFrame:
    """Those of the user's suppliers only."""
    return limited_to(everything(tables), user)


def limited_to(rows: pl.DataFrame, user: User) -> pl.DataFrame:
    """Those of these rows."""
    if user.suppliers is None:
        return rows
    return rows.filter(pl.col("supplier_id").cast(pl.String).is_in(list(user.suppliers)))


def _with_actions(people: pl.DataFrame, jobs: pl.DataFrame) -> pl.DataFrame:
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
        pl.when(closed).then(pl.lit("RESOLVED")).otherwise(pl.col("state").cast(pl.String)).cast(WORDS).alias("state"),
        (pl.col("acknowledged").fill_null(False) & ~closed).alias("acknowledged"),
        "assignee",
        pl.when(closed).then(pl.col("decided_by")).when(by_job).then(pl.lit("JOB")).alias("resolved_by"),
        back.alias("came_back"),
    )
    return jobs.with_columns(told.get_columns())


def cube(tables: Tables) -> pl.DataFrame:
    """Counts and money by supplier, type, severity, state and age in days (unresolved ones), for sums of any kind."""
    return whole(tables).cube(datetime.now(UTC))[1]


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
