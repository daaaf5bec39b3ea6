"""A close by Spark and its revision, as ClickHouse and a folder of files have them."""

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.common.settings import Lake, Settings
from jobs.daily.close import close_day
from jobs.warehouse.bundle import verify_bundle, write_bundle
from jobs.warehouse.clickhouse import ClickHouse
from jobs.warehouse.close_rows import find_close
from tests.daily import small_lake
from tests.daily.small_lake import DAY, NOON
from tests.warehouse.test_clickhouse import export, require_equal, rows

KEY = "sixteen bytes or more"


@pytest.mark.long
def test_a_close_and_its_revision(
    spark: SparkSession, settings: Settings, warehouse: ClickHouse, tmp_path: Path
) -> None:
    root = small_lake.make(tmp_path / "closed", [*small_lake.events()]).lake.root
    lake = settings.model_copy(update={"lake": Lake(root=root)})
    first = close_day(spark, lake, DAY, NOON)
    export(lake, warehouse)
    require_equal(lake)
    small_lake.append(
        lake, [*small_lake.pair("BK-LATE"), small_lake.event("SUPPLIER", "BK-ALONE", 15_000, "JPY")], 1000
    )
    second = close_day(spark, lake, DAY, NOON)
    moved = export(lake, warehouse)
    require_equal(lake)
    assert (moved["reconciliation_facts"].loaded_whole, moved["anomalies"].deleted) == (
        "",
        first.anomalies - second.anomalies,
    )
    assert rows(lake, "SELECT count() FROM @.exceptions_now WHERE state = 'RESOLVED'") == [(1,)]
    for report in (first, second):
        target = tmp_path / report.close_id
        write_bundle(find_close(lake, report.close_id), target, "parquet", KEY, "test")
        manifest, wrong = verify_bundle(target, KEY)
        assert (wrong, manifest["contentHash"]) == ([], report.content_hash)
        assert manifest["close"]["outcomes"] == report.outcomes
        assert [file["rows"] for file in manifest["files"]] == [report.facts, report.anomalies]
