"""The summary of each hour: one story a supplier with the row expected, and what is written when."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
from deltalake import DeltaTable, QueryBuilder, write_deltalake
from pyspark.sql import SparkSession

from jobs.common import tables
from jobs.common.arrow import polars_schema
from jobs.common.lake import open_table, read
from jobs.common.local_rows import local_rows
from jobs.common.settings import Lake, Settings, Stream
from jobs.streaming.hourly import HourlySummary, summarised
from schemas.nrt import BREAK, NRT_RESULTS
from schemas.tables import TABLES
from tests.oracle.summary import summary, told

AT = datetime(2026, 3, 9, 10, tzinfo=UTC)
PRICE, STATUS, MISSING, DUPLICATE = "PRICE_MISMATCH", "STATUS_MISMATCH", "MISSING_SUPPLIER", "DUPLICATE_AGODA"


def verdict(activity: str, at: datetime, delay: int = 1000, **others: Any) -> dict[str, Any]:
    """A row of gold/nrt_results: matched unless told otherwise, so many milliseconds after publication."""
    sides = {"agoda_version": 1, "supplier_version": 1}
    ids = {"activity_id": activity, "result_id": f"{activity}{at}", "batch_id": 1}
    times = {"verdict_at": at, "verdict_date": at.date(), "verdict_hour": at.hour}
    told = {"outcome": "MATCHED", "breaks": [], "published_at": at - timedelta(milliseconds=delay)}
    return ids | sides | times | told | others


def broken(kind: str, usd: str | None = None, state: str = "OPEN") -> dict[str, Any]:
    return {"anomaly_type": kind, "state": state, "amount_at_risk_usd": usd and Decimal(usd)}


def missing(activity: str, at: datetime, usd: str = "100", **others: Any) -> dict[str, Any]:
    return verdict(activity, at, outcome=MISSING, supplier_version=None, breaks=[broken(MISSING, usd)], **others)


def _minutes(minutes: float) -> datetime:
    return AT + timedelta(minutes=minutes)


NONE: tuple[Any, ...] = ()
#: supplier: verdicts, and by date and hour what is expected: verdicts, matched, broken, money, unpriced, delays.
STORIES: dict[str, tuple[list[dict[str, Any]], dict[str, tuple[Any, ...]]]] = {
    "matched": ([verdict("a", AT, 1500)], {"09T10": (1, 1, NONE, 0, 0, 1500, 1500)}),
    "missing": ([missing("a", AT)], {"09T10": (1, 0, ((MISSING, 1, 0),), 100, 0, None, None)}),
    "the last counts": (
        [verdict("a", _minutes(9), 5), missing("a", _minutes(8))],
        {"09T10": (1, 1, NONE, 0, 0, 5, 5)},
    ),
    "then the later batch": (
        [verdict("a", AT, 7, batch_id=10, result_id="a"), missing("a", AT, batch_id=9, result_id="b")],
        {"09T10": (1, 1, NONE, 0, 0, 7, 7)},
    ),
    "then the greater id": (
        [verdict("a", AT, 7, result_id="b"), missing("a", AT, result_id="a")],
        {"09T10": (1, 1, NONE, 0, 0, 7, 7)},
    ),
    "each hour by itself": (
        [missing("a", _minutes(59)), verdict("a", _minutes(60), 3)],
        {"09T10": (1, 0, ((MISSING, 1, 0),), 100, 0, None, None), "09T11": (1, 1, NONE, 0, 0, 3, 3)},
    ),
    "each day by itself": (
        [missing("a", AT), verdict("a", _minutes(24 * 60), 3)],
        {"09T10": (1, 0, ((MISSING, 1, 0),), 100, 0, None, None), "10T10": (1, 1, NONE, 0, 0, 3, 3)},
    ),
    "pending is no money yet": (
        [verdict("a", AT, outcome="MISMATCHED", breaks=[broken(PRICE, "1.5"), broken(STATUS, "9", "PENDING")])],
        {"09T10": (1, 0, ((PRICE, 1, 0), (STATUS, 0, 1)), Decimal("1.5"), 0, 1000, 1000)},
    ),
    "to the last digit": (
        [missing(f"{n}", AT, "0.100001") for n in range(3)],
        {"09T10": (3, 0, ((MISSING, 3, 0),), Decimal("0.300003"), 0, None, None)},
    ),
    "unpriced": (
        [verdict("a", AT, outcome="MISMATCHED", breaks=[broken(PRICE), broken(STATUS, None, "PENDING")])],
        {"09T10": (1, 0, ((PRICE, 1, 0), (STATUS, 0, 1)), 0, 1, 1000, 1000)},
    ),
    "a break of a matched key": (
        [verdict("a", AT, breaks=[broken(DUPLICATE, "2")])],
        {"09T10": (1, 1, ((DUPLICATE, 1, 0),), 2, 0, 1000, 1000)},
    ),
    "a key is counted once, whatever breaks it has": (
        [
            verdict("a", AT, 100, breaks=[broken(PRICE, "1"), broken(STATUS, "1"), broken(DUPLICATE, "1")]),
            *[verdict("b", AT, 1), verdict("c", AT, 2)],
        ],
        {"09T10": (3, 3, ((DUPLICATE, 1, 0), (PRICE, 1, 0), (STATUS, 1, 0)), 3, 0, 2, 100)},
    ),
    "a delay that was there": (
        [verdict("a", AT, 21), verdict("b", AT, 10)],
        {"09T10": (2, 2, NONE, 0, 0, 10, 21)},
    ),
    "by nearest rank": (
        [verdict(f"{n}", AT, n) for n in range(1, 201)],
        {"09T10": (200, 200, NONE, 0, 0, 100, 198)},
    ),
    "published by a clock ahead": ([verdict("a", AT, -40)], {"09T10": (1, 1, NONE, 0, 0, -40, -40)}),
}


def test_every_story(spark: SparkSession) -> None:
    rows = [row | {"supplier_id": name} for name, (verdicts, _) in STORIES.items() for row in verdicts]
    expected = {(name, hour): row for name, (_, hours) in STORIES.items() for hour, row in hours.items()}
    found = told(row.asDict() for row in summarised(_frame(spark, rows)).collect())
    assert {(key[2], f"{key[0]:%d}T{key[1]}"): row for key, row in found.items()} == expected
    assert summary(rows) == found


def _frame(spark: SparkSession, rows: Sequence[dict[str, Any]]) -> Any:
    names = BREAK.names
    whole = [row | {"breaks": [tuple(one.get(name) for name in names) for one in row["breaks"]]} for row in rows]
    return local_rows(
        spark, [tuple(row.get(name) for name in NRT_RESULTS.schema.names) for row in whole], NRT_RESULTS.schema
    )


class Hours:
    """A lake with verdicts and their summary."""

    def __init__(self, spark: SparkSession, root: Path, minutes: int = 5) -> None:
        self.spark = spark
        self.settings = Settings(lake=Lake(root=str(root)), stream=Stream(summary_minutes=minutes))
        tables.ensure_table(spark, self.settings, "nrt_results")

    def give(self, *verdicts: dict[str, Any]) -> None:
        """Append verdicts of the supplier SUP."""
        rows = [
            {name: (row | {"supplier_id": "SUP"}).get(name) for name in NRT_RESULTS.schema.names} for row in verdicts
        ]
        frame = pl.DataFrame(rows, schema=polars_schema(NRT_RESULTS.schema), orient="row")
        write_deltalake(self.settings.table_path("nrt_results"), frame, mode="append")

    def start(self) -> HourlySummary:
        """As a start of the job would."""
        return HourlySummary(self.spark, self.settings)

    @property
    def table(self) -> DeltaTable:
        """gold/hourly_summary as it is now."""
        found = open_table(self.settings, "hourly_summary")
        assert found is not None
        return found

    def told(self) -> dict[str, int]:
        """Verdicts by day and hour."""
        rows = read(self.table, "hourly_summary").to_dicts()
        return {f"{row['verdict_date']:%d}T{row['verdict_hour']:02}": row["verdicts"] for row in rows}

    def is_right(self) -> bool:
        """Every hour is there, and is what the verdicts give."""
        results = read(open_table(self.settings, "nrt_results"), "nrt_results").to_dicts()
        return told(read(self.table, "hourly_summary").to_dicts()) == summary(results)

    def jobs(self, summary: HourlySummary, at: datetime) -> int:
        """How many jobs Spark ran to keep the summary."""
        context, group = self.spark.sparkContext, f"{at} {self.table.version()}"
        context.setJobGroup(group, group)
        summary.keep(self.spark, at)
        context.setJobGroup("", "")
        return len(context.statusTracker().getJobIdsForGroup(group))


def test_an_hour_is_written_when_it_is_due_and_a_start_makes_up_for_a_kill(spark: SparkSession, tmp_path: Path) -> None:
    hours = Hours(spark, tmp_path)
    running = hours.start()
    assert hours.jobs(running, AT) == 0, "nothing was given"
    hours.give(verdict("a", _minutes(-1)), missing("b", _minutes(1)))
    running.gave(_minutes(-1))
    running.gave(_minutes(1))
    assert hours.jobs(running, _minutes(1)) > 0
    assert hours.told() == {"09T09": 1, "09T10": 1}
    hours.give(verdict("c", _minutes(58)))
    running.gave(_minutes(58))
    assert hours.jobs(running, _minutes(5.9)) == 0, "not due"
    assert hours.jobs(running, _minutes(58)) > 0
    assert hours.jobs(running, _minutes(59)) == 0, "all is told"
    hours.give(verdict("b", _minutes(59)), missing("d", _minutes(61)))
    running.gave(_minutes(59))
    running.gave(_minutes(61))
    assert hours.jobs(running, _minutes(61)) > 0
    assert hours.told() == {"09T09": 1, "09T10": 2}, "the hour is over, the next is not due"
    # Killed here; its last batch is made whole at the next start, by its first time.
    hours.give(verdict("e", _minutes(62)), verdict("e", _minutes(14 * 60 + 1), 7))
    hours.start().keep(spark, _minutes(14 * 60 + 30))
    assert hours.told() == {"09T09": 1, "09T10": 2, "09T11": 2, "10T00": 1}
    assert hours.is_right()
    _is_read_by_all(hours)
    # What is closed is not looked at again.
    results = DeltaTable(hours.settings.table_path("nrt_results"))
    old = [file for file in results.file_uris() if "verdict_date=2026-03-09" in file]
    assert old
    for file in old:
        Path(file).unlink()
    hours.give(verdict("f", _minutes(14 * 60 + 40)))
    hours.start().finish(spark)
    assert hours.told() == {"09T09": 1, "09T10": 2, "09T11": 2, "10T00": 2}


def test_a_first_start_reaches_back_to_the_horizon_and_none_where_it_is_off(
    spark: SparkSession, tmp_path: Path
) -> None:
    hours = Hours(spark, tmp_path, minutes=0)
    hours.give(verdict("a", _minutes(-49 * 60)), verdict("b", _minutes(-48 * 60)), verdict("c", _minutes(0)))
    off = hours.start()
    off.gave(AT)
    off.keep(spark, AT)
    off.finish(spark)
    assert open_table(hours.settings, "hourly_summary") is None
    Hours(spark, tmp_path).start().finish(spark)
    assert hours.told() == {"07T10": 1, "09T10": 1}


def _is_read_by_all(hours: Hours) -> None:
    """deltalake, Polars and DuckDB read the breaks by type alike, and the table says what its columns are."""
    table = hours.table
    ours = TABLES["hourly_summary"]
    assert [(f.name, f.metadata) for f in table.schema().fields] == [(f.name, f.metadata) for f in ours.schema.fields]
    assert table.metadata().partition_columns == ["verdict_date"]
    sql = "select sum(one.open) from (select unnest(broken) as one from {})"
    by_polars = pl.scan_delta(table).select(pl.col("broken").explode().struct.field("open").sum()).collect().item()
    by_deltalake = pl.DataFrame(QueryBuilder().register("hours", table).execute(sql.format("hours")).read_all()).item()
    files = table.file_uris()
    by_duckdb = duckdb.connect().execute(sql.format(f"read_parquet({files}, hive_partitioning=true)")).fetchall()
    assert (by_polars, by_deltalake, by_duckdb) == (1, 1, [(1,)])
