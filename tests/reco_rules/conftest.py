"""The engine the rules' tests run on."""

import pytest

from tests.reco_rules.engine import Engine


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> Engine:
    """Spark; DuckDB under `make test-duckdb`, whose plugin brings a session of its own."""
    on_duckdb = request.config.pluginmanager.hasplugin("tests.duckdb_engine")
    return Engine(request.getfixturevalue("duckdb_session" if on_duckdb else "spark"))
