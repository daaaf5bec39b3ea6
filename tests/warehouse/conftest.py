"""ClickHouse's engine behind its HTTP interface, one a run; every test has a database and a lake of its own."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from jobs.common.settings import Lake, Settings, Warehouse
from jobs.warehouse.clickhouse import ClickHouse

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def server_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("chdb")


@pytest.fixture(scope="session")
def server_url(server_folder: Path) -> Iterator[str]:
    asked = [sys.executable, "-B", str(ROOT / "tools" / "chdb_env.py")]
    found = subprocess.run(asked, capture_output=True, text=True, check=False)
    if found.returncode == 77:
        pytest.skip(found.stderr.strip().splitlines()[-1])
    assert found.returncode == 0, found.stderr
    command = [found.stdout.strip(), "-m", "tests.warehouse.chdb_server", str(server_folder)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        assert port, "the server did not start"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(20)
        if process.stdout is not None:
            process.stdout.close()


@pytest.fixture
def settings(server_url: str, tmp_path: Path) -> Settings:
    """A lake that is empty yet, and a database that is not made yet."""
    warehouse = Warehouse(url=server_url, database=f"t{uuid4().hex[:12]}", batch_rows=2)
    return Settings(lake=Lake(root=str(tmp_path / "lake")), warehouse=warehouse)


@pytest.fixture
def warehouse(settings: Settings) -> Iterator[ClickHouse]:
    """The database with its tables."""
    found = ClickHouse(settings.warehouse)
    found.init()
    yield found
    found.close()
