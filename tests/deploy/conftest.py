"""AWS of our own: moto's server, where tools/moto.py has fetched it."""

import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.cli.main import build
from jobs.common.command import run
from tests.deploy.cluster import Cluster, clean_environment, cluster

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import moto  # noqa: E402

BUCKET = "reco-deploy"
Reco = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def aws_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the server answers."""
    if not moto.server().exists():
        pytest.skip("moto's server is not here; `make test-deploy` fetches it")
    log = tmp_path_factory.mktemp("aws") / "log"
    with log.open("wb") as out:
        process = subprocess.Popen([moto.server(), "-H", "127.0.0.1", "-p", "0"], stdout=out, stderr=subprocess.STDOUT)
    try:
        yield _url(log, process)
    finally:
        process.terminate()
        process.wait(20)


def _url(log: Path, process: "subprocess.Popen[bytes]") -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for line in log.read_text().splitlines():
            if "Running on http://127.0.0.1:" in line:
                return line.partition("Running on ")[2].split()[0]
        assert process.poll() is None, log.read_text()
        time.sleep(0.05)
    raise AssertionError(f"moto did not start: {log.read_text()}")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of a master and two workers."""
    env = clean_environment(PYSPARK_PYTHON=sys.executable)
    with cluster(tmp_path_factory.mktemp("cluster"), 2, env) as there:
        yield there


@pytest.fixture
def aws(aws_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Any]:
    """Clients of an empty account with one bucket; the AWS_… variables lead there."""
    boto3 = pytest.importorskip("boto3", reason="reco[deploy] is not installed; `make setup` does it")
    urllib.request.urlopen(urllib.request.Request(f"{aws_url}/moto-api/reset", method="POST"))
    for name, value in {
        "AWS_ENDPOINT_URL": aws_url,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    client: Callable[[str], Any] = boto3.client
    return client


@pytest.fixture
def reco(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Reco:
    """`reco deploy …` in the checkout: exit code, stdout, stderr."""
    monkeypatch.chdir(ROOT)

    def call(*words: str) -> tuple[int, str, str]:
        code = run(lambda: build("deploy"), ["deploy", *words], "reco", "deploy")
        told = capsys.readouterr()
        return code, told.out, told.err

    return call


@pytest.fixture
def deployment(tmp_path: Path) -> Callable[..., str]:
    """A deployment file with these values in place of the shipped ones; its path."""

    def write(**values: str) -> str:
        text = (ROOT / "conf/deploy.yaml").read_text()
        filled = {
            "bucket": BUCKET,
            "role_arn": "arn:aws:iam::123456789012:role/reco",
            "release": "emr-7.12.0",  # the server knows no emr-spark-… labels
            **values,
        }
        lines = []
        for line in text.splitlines():
            key = line.strip().partition(":")[0]
            indent = line[: len(line) - len(line.lstrip())]
            lines.append(f"{indent}{key}: {filled[key]}" if key in filled else line)
        path = tmp_path / "deploy.yaml"
        path.write_text("\n".join(lines) + "\n")
        return str(path)

    return write
