"""An object store of our own: moto's server, where `make test-s3` has fetched it."""

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.s3.proxy import Faults, proxied

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import moto

BUCKET = "lake"


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of the store, which has one bucket."""
    if not moto.server().exists():
        pytest.skip("moto's server is not here; `make test-s3` fetches it")
    log = tmp_path_factory.mktemp("moto") / "log"
    with log.open("wb") as out:
        process = subprocess.Popen([moto.server(), "-H", "127.0.0.1", "-p", "0"], stdout=out, stderr=subprocess.STDOUT)
    try:
        port = _port(log, process)
        made = HTTPConnection("127.0.0.1", port)
        made.request("PUT", f"/{BUCKET}")
        assert made.getresponse().status == 200
        yield port
    finally:
        process.terminate()
        process.wait(20)


def _port(log: Path, process: "subprocess.Popen[bytes]") -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for line in log.read_text().splitlines():
            if "Running on http://127.0.0.1:" in line:
                port = int(line.rsplit(":", 1)[1].split()[0].rstrip("/"))
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/"):
                    return port
        assert process.poll() is None, log.read_text()
        time.sleep(0.05)
    raise AssertionError(f"moto did not start: {log.read_text()}")


@pytest.fixture
def faults(store: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    """What lies before the store; the AWS_… variables lead there."""
    with proxied(store, BUCKET) as found:
        for name, value in aws(found.url).items():
            monkeypatch.setenv(name, value)
        yield found


def aws(url: str) -> dict[str, str]:
    """The variables by which every program finds the store."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_EC2_METADATA_DISABLED": "true",
        "HOME": os.environ["HOME"],
    }
