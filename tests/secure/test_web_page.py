"""Spark's own web page and event log while the job runs as a program of its own: the password is on no page of it."""

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.cli.broker import free_port
from jobs.common.policies import apply
from tests.secure.conftest import Make
from tests.secure.test_road import TELLTALE, holders
from tests.streaming.feed import produce, wait_for
from tests.streaming.nrt import POLICIES, beats, both
from tests.workloads.values import CLOCK

PAGES = ("jobs", "stages", "storage", "environment", "executors", "SQL", "StreamingQuery")
REST = ("environment", "jobs", "stages", "sql?details=true&planDescription=true&length=1000", "executors")


def get(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return str(error.read().decode())
    except OSError:
        return ""


def pages(url: str) -> Iterator[tuple[str, str]]:
    """Every page, those of each query's execution too, and what the REST API tells."""
    (app,) = json.loads(get(f"{url}/api/v1/applications"))
    for name in REST:
        yield name, get(f"{url}/api/v1/applications/{app['id']}/{name}")
    for name in PAGES:
        yield name, get(f"{url}/{name}/")
    for number in re.findall(r"/SQL/execution/\?id=(\d+)", get(f"{url}/SQL/")):
        yield f"SQL {number}", get(f"{url}/SQL/execution/?id={number}")
    for run in re.findall(r"/StreamingQuery/statistics/?\?id=([\w-]+)", get(f"{url}/StreamingQuery/")):
        yield f"query {run}", get(f"{url}/StreamingQuery/statistics/?id={run}")


@pytest.mark.long
def test_the_password_is_on_no_page_of_spark(make: Make, tmp_path: Path) -> None:
    settings = make("relay", "stream")
    (tmp_path / "policies.yaml").write_text(POLICIES % ("DAILY_ONLY", "0.50"))
    apply(settings, tmp_path / "policies.yaml", CLOCK)
    produce(settings, [*both("B-1", 0), *beats(1)])
    port, events = free_port(), tmp_path / "events"
    events.mkdir()
    conf = {
        "spark.ui.enabled": "true",
        "spark.ui.port": str(port),
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": events.as_uri(),
        "spark.sql.ui.explainMode": "extended",
    }
    environment = {**os.environ, "RECO_SPARK__CONF": json.dumps(conf), "RECO_SPARK__MASTER": "local[2]"}
    command = [sys.executable, "-m", "jobs.cli.main", "stream", "--settings", str(tmp_path / "settings.yaml")]
    with (tmp_path / "job.log").open("wb") as log:
        job = subprocess.Popen([*command, "--only", "normalise"], stdout=log, stderr=log, env=environment)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: b'"normalised"' in (tmp_path / "job.log").read_bytes(), 240, "batch")
        told = dict(pages(url))
    finally:
        job.terminate()
        job.wait(120)
    assert len(told) > len(PAGES) + len(REST)
    assert ".jaas.config" in told[REST[3]] + "".join(text for name, text in told.items() if name.startswith("SQL "))
    assert {name for name, text in told.items() if TELLTALE in text} == set()
    assert [path for path in events.rglob("*") if path.is_file() and path.stat().st_size > 10_000]
    assert holders(tmp_path) == []
