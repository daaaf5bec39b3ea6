"""What closes days here, and one closed day for every test that only reads it: each close takes seconds."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from jobs.common.engines import Session
from jobs.common.engines.duckdb import duckdb_session
from jobs.common.settings import Settings
from jobs.daily.close import Report, close_day
from tests.daily import small_lake

Opens = Callable[[], AbstractContextManager[Session]]


@pytest.fixture(scope="session")
def opens(request: pytest.FixtureRequest) -> Opens:
    """Opens a session of DuckDB, which takes a fraction of the time; with RECO_CLOSE_BY=spark it is Spark's.

    That both close alike is the business of test_engines.py and of the generated workloads.
    """

    @contextmanager
    def opened() -> Iterator[Session]:
        if os.environ.get("RECO_CLOSE_BY") == "spark":
            yield request.getfixturevalue("spark")
            return
        with duckdb_session(Settings()) as session:
            yield session

    return opened


@pytest.fixture
def session(opens: Opens) -> Iterator[Session]:
    """The session of a test."""
    with opens() as session:
        yield session


@pytest.fixture(scope="session")
def closed(opens: Opens, tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Report]:
    """A lake whose day was closed before more events of it came."""
    settings = small_lake.make(tmp_path_factory.mktemp("closed"), small_lake.events())
    with opens() as session:
        report = close_day(session, settings, small_lake.DAY, small_lake.NOON)
    small_lake.append(settings, [*small_lake.pair("BK-LATE"), small_lake.event("SUPPLIER", "BK-ALONE")], 1000)
    return settings, report
