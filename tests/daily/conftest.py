"""One closed day for every test that only reads it: each close takes seconds."""

import pytest
from pyspark.sql import SparkSession

from jobs.common.settings import Settings
from jobs.daily.close import Report, close_day
from tests.daily import small_lake


@pytest.fixture(scope="session")
def closed(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Report]:
    """A lake whose day was closed before more events of it came."""
    settings = small_lake.make(tmp_path_factory.mktemp("closed"), small_lake.events())
    report = close_day(spark, settings, small_lake.DAY, small_lake.NOON)
    small_lake.append(settings, [*small_lake.pair("BK-LATE"), small_lake.event("SUPPLIER", "BK-ALONE")], 1000)
    return settings, report
