"""Which engine runs a command, and what is said where one cannot."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from jobs.common.engines.choice import Day, EngineName, Work, chosen, largest_day, memory_of, session_for
from jobs.common.engines.duckdb import duckdb_session
from jobs.common.errors import UserError
from jobs.common.settings import Daily, Lake, Settings
from tests.daily import small_lake
from tests.daily.small_lake import DAY

AUTO, DUCKDB, SPARK = EngineName.AUTO, EngineName.DUCKDB, EngineName.SPARK
WORK = Work(f"reco daily --date {DAY}", [DAY])


@pytest.fixture(autouse=True)
def without_spark(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process of its own."""
    monkeypatch.setattr(SparkSession, "getActiveSession", classmethod(lambda cls: None))
    monkeypatch.delenv("SPARK_ENV_LOADED", raising=False)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return small_lake.make(tmp_path, small_lake.events())


def limited(settings: Settings, memory: str, spill: str = "1k") -> Settings:
    return settings.model_copy(update={"daily": Daily(duckdb_memory=memory, duckdb_spill=spill)})


def test_a_day_that_fits_is_duckdbs(settings: Settings) -> None:
    assert chosen(settings, AUTO, WORK)[0] is DUCKDB
    assert chosen(settings, SPARK, WORK) == (SPARK, "asked for")


def test_a_day_that_does_not_fit_is_sparks_and_the_log_says_why(settings: Settings) -> None:
    name, why = chosen(limited(settings, "300m"), AUTO, WORK)
    assert name is SPARK
    assert "kB of files, take some 1.0 GB of memory, more than the 314.6 MB" in why
    assert chosen(limited(settings, "300m"), AUTO, None)[0] is DUCKDB


def test_what_neither_memory_nor_disk_holds_is_refused_with_the_command_of_spark(settings: Settings) -> None:
    assert chosen(limited(settings, "300m", "1g"), DUCKDB, WORK)[0] is DUCKDB
    with pytest.raises(UserError, match=rf"1\.0 GB.*`reco daily --date {DAY} --engine spark`.*duckdb_spill"):
        chosen(limited(settings, "300m"), DUCKDB, WORK)


def test_a_lake_elsewhere_and_a_submitted_program_are_sparks(monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = Settings(lake=Lake(root="s3a://bucket/lake"))
    assert chosen(elsewhere, AUTO, WORK)[0] is SPARK
    with pytest.raises(UserError, match="s3a://bucket/lake is no folder of this machine; say --engine spark"):
        chosen(elsewhere, DUCKDB, WORK)
    monkeypatch.setenv("SPARK_ENV_LOADED", "1")
    assert chosen(Settings(), AUTO, WORK) == (SPARK, "the program was submitted to Spark")


def test_the_largest_of_the_days_counts(settings: Settings) -> None:
    before, both = largest_day(settings, [DAY - timedelta(days=1)]), largest_day(settings, [])
    assert before.size > 0
    assert (before.size, before.rows) < (both.size, both.rows)
    assert both == largest_day(settings, [DAY])
    with duckdb_session(settings) as session:
        rows = session.engine.read(settings.table_path("activity"))
        assert both.rows == rows.where(f"event_date = '{DAY}'").count()


def test_many_rows_in_few_bytes_take_the_memory_of_the_rows() -> None:
    assert memory_of(Day(size=100_000_000, rows=1_000_000)) == 2_200_000_000
    assert memory_of(Day(size=10_000_000, rows=2_000_000)) == 2_200_000_000
    assert memory_of(Day()) == 1_000_000_000


def test_what_runs_out_of_memory_says_the_command_of_spark(settings: Settings) -> None:
    tight = limited(settings, "1g", "1k")

    def run_out() -> None:
        with session_for("test", tight, DUCKDB, WORK) as session:
            engine = session.engine  # type: ignore[union-attr]
            engine._connection.execute("SET memory_limit = '20MB'")
            engine._table("SELECT md5(range::VARCHAR) AS a, md5((range + 1)::VARCHAR) AS b FROM range(1000000)")

    with pytest.raises(UserError, match=rf"ran out .*`reco daily --date {DAY} --engine spark`"):
        run_out()


def test_a_table_that_is_more_than_its_files_is_refused(settings: Settings) -> None:
    path = settings.table_path("activity")
    log = Path(path, "_delta_log", f"{DeltaTable(path).version() + 1:020}.json")
    named = {"readerFeatures": ["deletionVectors"], "writerFeatures": ["deletionVectors"]}
    log.write_text(json.dumps({"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, **named}}) + "\n")
    with duckdb_session(settings) as session, pytest.raises(UserError, match=r"deletionVectors.* say --engine spark"):
        session.engine.read(path)
