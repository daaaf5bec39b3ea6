"""What tests of every room share: one Spark session a process, and no trace in the checkout."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs.cli.broker import Broker
from jobs.common.session import local_session
from jobs.common.settings import Settings, Spark
from tests.plans import conf_of_plans

# Small data, many plans, in every JVM that a test starts: the second compiler would cost more than its code saves.
# The code of all plans must fit, or compiled code is thrown away and compiled again all the time; and what is known of
# classes, or each time its room grows all memory is looked through.
os.environ.setdefault(
    "JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m -XX:MetaspaceSize=256m"
)


#: Whose tests run the stream's queries in the session. Its first micro-batches take a minute of the processor, in each
#: process that runs any.
_OF_THE_STREAM = ("tests/streaming/", "tests/erase/", "tests/secure/", "tests/maintain/")
#: These start processes, and run no query here.
_BESIDE_IT = ("tests/streaming/test_kills.py", "tests/streaming/test_groups_beside.py")
#: What takes longest by itself: begun last, it would end alone while the other process has nothing left to do.
_LONGEST = ("test_match.py", "test_demo.py", "test_kills.py")
_LONG = ("streaming", "daily", "properties", "cli")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, each in its own order."""

    def place(item: pytest.Item) -> int:
        if item.path.name in _LONGEST:
            return _LONGEST.index(item.path.name)
        return len(_LONGEST) + (item.path.parent.name not in _LONG)

    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Of two processes, one runs all that is of the stream, in one piece; the rest is handed out file by file."""
    from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

    class Scheduling(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return "the stream" if _is_of_the_stream(nodeid) else super()._split_scope(nodeid)

    is_ours = config.getoption("dist") == "loadfile" and config.getoption("numprocesses") == 2
    return Scheduling(config, log) if is_ours else None


def _is_of_the_stream(nodeid: str) -> bool:
    return nodeid.startswith(_OF_THE_STREAM) and not nodeid.startswith(_BESIDE_IT)


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
