"""What tests of every room share: one Spark session a process, and no trace in the checkout."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.cli.broker import Broker
from jobs.common.session import local_session
from jobs.common.settings import Settings, Spark

# Small data, many plans, in every JVM that a test starts: the second compiler would cost more than its code saves.
# The code of all plans must fit, or compiled code is thrown away and compiled again all the time.
os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m")


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """A session like the jobs' own, on two cores."""
    scratch: Path = tmp_path_factory.mktemp("spark")
    conf = {"spark.sql.warehouse.dir": str(scratch), "spark.local.dir": str(scratch)}
    session = local_session("tests", Settings(spark=Spark(master="local[2]", shuffle_partitions=2, conf=conf)))
    yield session
    session.stop()


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A real broker; tests take topics of their own."""
    with Broker(tmp_path_factory.mktemp("broker")) as running:
        yield running
