"""What tests of every room share: one Spark session a process, and no trace in the checkout."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.cli.broker import Broker
from jobs.common.session import local_session
from jobs.common.settings import Settings, Spark
from tests.plans import conf_of_plans

# Small data, many plans, in every JVM that a test starts: the second compiler would cost more than its code saves.
# The code of all plans must fit, or compiled code is thrown away and compiled again all the time.
os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m")


#: What takes longest by itself: begun last, it would end alone while the other process has nothing left to do.
_LONGEST = ("test_demo.py", "test_kills.py", "test_silence.py", "test_match.py", "test_match_against_oracle.py")
_LONG = ("streaming", "daily", "properties", "cli")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, each in its own order."""

    def place(item: pytest.Item) -> int:
        if item.path.name in _LONGEST:
            return _LONGEST.index(item.path.name)
        return len(_LONGEST) + (item.path.parent.name not in _LONG)

    items.sort(key=place)


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """A session like the jobs' own, on two cores."""
    scratch: Path = tmp_path_factory.mktemp("spark")
    conf = {"spark.sql.warehouse.dir": str(scratch), "spark.local.dir": str(scratch), **conf_of_plans()}
    session = local_session("tests", Settings(spark=Spark(master="local[2]", shuffle_partitions=2, conf=conf)))
    yield session
    session.stop()


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A real broker; tests take topics of their own."""
    with Broker(tmp_path_factory.mktemp("broker")) as running:
        yield running
