"""A partition that DuckDB writes by itself is what deltalake and Spark read, and takes the place of that one alone."""

import json
from datetime import date
from pathlib import Path

import pytest
from deltalake import DeltaTable, write_deltalake
from pyspark.sql import SparkSession

from jobs.common.engines import delta
from jobs.common.engines.duckdb import duckdb_session
from jobs.common.engines.duckdb_files import Partition, whole_partition, written
from jobs.common.errors import UserError
from jobs.common.settings import Daily, Settings

ROWS = "SELECT DATE '{day}' AS day, name, number FROM (VALUES {values}) t(name, number)"


def replaced(path: str, day: str, values: str, note: str) -> None:
    partition = Partition("day", day)
    with duckdb_session(Settings()) as session:
        text = ROWS.format(day=day, values=values)
        file = written(session._conn, text, path, partition, ["day", "name"])
        delta.replace_partition(path, partition, file, note)


@pytest.fixture
def path(tmp_path: Path) -> str:
    path = str(tmp_path / "the-lake's-own" / "t")
    with duckdb_session(Settings()) as session:
        for day in ("2026-03-09", "2026-03-10"):
            rows = session._conn.sql(ROWS.format(day=day, values="('a', 1), ('b', 2)"))
            write_deltalake(path, rows, partition_by=["day"], mode="append")
    return path


def test_one_partition_is_replaced_and_the_other_stays(path: str, spark: SparkSession) -> None:
    replaced(path, "2026-03-10", "('ü', 3), (NULL, 4), ('z', 5)", "2026-03-10-r2")
    table = DeltaTable(path)
    assert (table.version(), delta.version_noted(path, "2026-03-10-r2")) == (2, 2)
    there: set[tuple[object, ...]] = {(date(2026, 3, 9), "a", 1), (date(2026, 3, 9), "b", 2)}
    there |= {(date(2026, 3, 10), "ü", 3), (date(2026, 3, 10), None, 4), (date(2026, 3, 10), "z", 5)}
    assert {tuple(row) for row in spark.read.format("delta").load(path).collect()} == there
    with duckdb_session(Settings()) as session:
        assert {tuple(row) for row in session.engine.read(path).select("day", "name", "number").collect()} == there


def test_the_log_says_of_the_file_what_is_in_it(path: str) -> None:
    replaced(path, "2026-03-10", "('ü', 3), (NULL, 4), ('z', 5)", "r2")
    lines = Path(path, "_delta_log", f"{2:020}.json").read_text().splitlines()
    actions = [json.loads(line) for line in lines]
    [added], removed = [one["add"] for one in actions if "add" in one], [one for one in actions if "remove" in one]
    assert len(removed) == 1
    assert added["size"] == Path(path, added["path"]).stat().st_size
    assert json.loads(added["stats"]) == {
        "numRecords": 3,
        "minValues": {"name": "z"},
        "maxValues": {"name": "ü"},
        "nullCount": {"name": 1},
    }


def test_a_partition_without_rows_has_no_file(path: str) -> None:
    with duckdb_session(Settings()) as session:
        nothing = ROWS.format(day="2026-03-10", values="('a', 1)") + " WHERE false"
        file = written(session._conn, nothing, path, Partition("day", "2026-03-10"), ["name"])
    assert file is None
    delta.replace_partition(path, ("day", "2026-03-10"), file, "r2")
    assert len(DeltaTable(path).file_uris()) == 1
    assert len(list(Path(path, "day=2026-03-10").iterdir())) == 1  # the old one, which older versions have


@pytest.mark.parametrize(
    ("where", "by", "expected"),
    [
        ("reco_date = '2026-03-10'", ["reco_date"], Partition("reco_date", "2026-03-10")),
        ("reco_date = '2026-03-10' AND close_id = 'x'", ["reco_date"], None),
        ("reco_date = '2026-03-10'", [], None),
        ("reco_date = '2026-03-10'", ["reco_date", "supplier_id"], None),
        ("close_id = '2026-03-10'", ["reco_date"], None),
    ],
)
def test_which_predicate_is_a_whole_partition(where: str, by: list[str], expected: Partition | None) -> None:
    assert whole_partition(where, by) == expected


def test_a_folder_that_cannot_be_written_is_named_by_its_setting() -> None:
    settings = Settings(daily=Daily(duckdb_folder=Path("/proc/none")))
    with (
        pytest.raises(UserError, match=r"^daily\.duckdb_folder: /proc/none cannot be written"),
        duckdb_session(settings),
    ):
        pass
