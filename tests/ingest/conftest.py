"""Both databases, one server each a process of tests; tests take tables and topics of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.cli.broker import Broker
from tests.ingest.databases import Database, MariaDb, Postgres, mariadb_root
from tests.ingest.shop import Shop


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.close()


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDb]:
    server = MariaDb(mariadb_root())
    yield server
    server.close()


@pytest.fixture(params=["postgres", "mariadb"])
def database(request: pytest.FixtureRequest) -> Database:
    """Either kind: what is tested with it must hold for both."""
    found: Database = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def shop(database: Database, broker: Broker, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    """An application with an outbox of its own, and topics of its own."""
    with Shop(database, broker.bootstrap_servers, tmp_path) as made:
        yield made
