"""Spark and DuckDB close a day alike: the same hash, the same tables, and each goes on where the other left off."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from jobs.common.engines import Session
from jobs.common.engines.duckdb import duckdb_session
from jobs.common.errors import UserError
from jobs.common.settings import Settings
from jobs.daily.close import Report, close_day
from jobs.daily.explain import Key, explain
from jobs.daily.replay import replay
from jobs.daily.revisions import stale_dates
from tests.daily import small_lake
from tests.daily.small_lake import DAY, NOON

_TABLES = {
    "reconciliation_facts": ["reco_date", "supplier_id", "activity_id"],
    "anomalies": ["anomaly_id"],
    "exceptions": ["exception_id"],
    "close_changes": ["revision", "activity_id"],
    "closes": ["close_id"],
}
#: What of a close depends on the run.
_OF_THE_RUN = ["started_at", "finished_at", "engine"]
_LATE = [*small_lake.pair("BK-LATE"), small_lake.event("SUPPLIER", "BK-ALONE")]


def rows(settings: Settings, name: str) -> list[dict[str, Any]]:
    """A table's rows, sorted, without what depends on the run."""
    frame = pl.scan_delta(settings.table_path(name)).collect()
    return frame.drop(_OF_THE_RUN, strict=False).sort(_TABLES[name]).to_dicts()


@contextmanager
def opened(spark: SparkSession | None) -> Iterator[Session]:
    """Spark's session, or where there is none a new one of DuckDB."""
    if spark is not None:
        yield spark
        return
    with duckdb_session(Settings()) as session:
        yield session


def closed_twice(first: SparkSession | None, then: SparkSession | None, root: Path) -> tuple[Settings, list[Report]]:
    """A lake whose day was closed by one engine and, after late events, by another; None is DuckDB."""
    settings = small_lake.make(root, small_lake.events())
    with opened(first) as session:
        reports = [close_day(session, settings, DAY, NOON)]
    small_lake.append(settings, _LATE, 1000)
    with opened(then) as session:
        assert stale_dates(session, settings) == [DAY]
        return settings, [*reports, close_day(session, settings, DAY, NOON)]


def alike(one: Settings, other: Settings, names: Iterable[str]) -> None:
    """The tables of both lakes say the same, and nobody can tell from them which engine wrote them."""
    for name in names:
        assert rows(one, name) == rows(other, name), name
        tables = [DeltaTable(settings.table_path(name)) for settings in (one, other)]
        assert len({table.schema().to_json() for table in tables}) == 1
        assert tables[0].metadata().partition_columns == tables[1].metadata().partition_columns
        assert tables[0].metadata().description == tables[1].metadata().description
        assert tables[0].metadata().configuration == tables[1].metadata().configuration


def test_a_close_by_either_is_the_others(spark: SparkSession, tmp_path: Path) -> None:
    lakes = [small_lake.make(tmp_path / name, small_lake.events()) for name in ("spark", "duckdb")]
    expected = close_day(spark, lakes[0], DAY, NOON)
    with opened(None) as duckdb:
        assert close_day(duckdb, lakes[1], DAY, NOON) == expected
        assert replay(duckdb, lakes[0], expected.close_id).equal
    alike(lakes[0], lakes[1], [name for name in _TABLES if name != "close_changes"])
    engines = pl.scan_delta(lakes[1].table_path("closes")).collect()["engine"]
    assert engines.to_list() == ["duckdb"]


def test_the_first_of_all_days_can_be_closed(spark: SparkSession, tmp_path: Path) -> None:
    """What some programs write for no time at all is an event, and its day has no days before it."""
    first = datetime.min.replace(tzinfo=UTC)
    of_no_time = [
        small_lake.event("AGODA", "BK-1", event_time=first, kafka_time=NOON),
        small_lake.event("SUPPLIER", "BK-1", event_time=first + timedelta(minutes=1), kafka_time=NOON, status="PAID"),
        small_lake.event("AGODA", "BK-2", 8_000, "EUR", event_time=first, kafka_time=NOON),
    ]
    lakes = [small_lake.make(tmp_path / name, of_no_time) for name in ("spark", "duckdb")]
    expected = close_day(spark, lakes[0], first.date(), NOON)
    assert expected.outcomes == {"MISMATCHED": 1, "MISSING_SUPPLIER": 1}
    with pytest.raises(UserError, match="explain 0001-01-01 with --engine duckdb"):
        explain(spark, lakes[0], Key(small_lake.SUPPLIER, "BK-2"))
    with opened(None) as duckdb:
        assert close_day(duckdb, lakes[1], first.date(), NOON) == expected
        assert replay(duckdb, lakes[0], expected.close_id).equal
        told = explain(duckdb, lakes[1], Key(small_lake.SUPPLIER, "BK-2"))
        assert (told.reco_date, told.outcome) == (first.date(), "MISSING_SUPPLIER")
        small_lake.append(lakes[1], [small_lake.event("SUPPLIER", "BK-2", 8_000, "EUR", event_time=first)], 1000)
        assert stale_dates(duckdb, lakes[1]) == [first.date()]
        assert close_day(duckdb, lakes[1], first.date(), NOON).changes == {"CHANGED": 1}


@pytest.mark.long
def test_revisions_replays_and_explanations_are_alike_too(spark: SparkSession, tmp_path: Path) -> None:
    by_spark, expected = closed_twice(spark, spark, tmp_path / "spark")
    by_duckdb, found = closed_twice(None, None, tmp_path / "duckdb")
    assert found == expected
    asked = Key(small_lake.SUPPLIER, "BK-MESSY")
    with opened(None) as duckdb:
        for report in expected:
            assert replay(duckdb, by_spark, report.close_id).equal
        explained = explain(duckdb, by_spark, asked)
    assert explained == explain(spark, by_spark, asked)
    assert replay(spark, by_duckdb, expected[1].close_id).equal
    alike(by_duckdb, by_spark, _TABLES)


@pytest.mark.long
def test_each_goes_on_where_the_other_left_off(spark: SparkSession, tmp_path: Path) -> None:
    one, _ = closed_twice(spark, None, tmp_path / "one")
    two, _ = closed_twice(None, spark, tmp_path / "two")
    for name in _TABLES:
        assert rows(one, name) == rows(two, name), name
