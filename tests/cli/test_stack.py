"""`reco up` and `reco down` with real processes: kept running, started again, stopped in order, no orphans."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.cli import processes
from jobs.cli.broker import free_port
from jobs.cli.supervisor import read_state

# Stands for the streaming job: dies at once the first time, then stays.
STREAM = """
import os, sys, time
marker = sys.argv[1]
print("reads", os.environ["RECO_KAFKA__BOOTSTRAP_SERVERS"], "tells", os.environ["RECO_METRICS__PORT"], flush=True)
if not os.path.exists(marker):
    open(marker, "w").close()
    sys.exit(1)
time.sleep(600)
"""
SUPERVISE = """
import sys
from jobs.cli.supervisor import Supervisor
from jobs.common.settings import load_settings
sys.exit(Supervisor(load_settings(), {"stream": [sys.executable, "-c", sys.argv[1], sys.argv[2]]}).run())
"""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    # Not the port that a developer's own `reco up` may hold.
    ours = {"RECO_LOCAL__HOME": str(tmp_path), "RECO_LAKE__ROOT": str(tmp_path / "lake")}
    return {**os.environ, **ours}


@pytest.fixture
def leaves_nothing(tmp_path: Path) -> Iterator[None]:
    yield
    if pid := processes.read_pid(tmp_path / "up.pid"):
        processes.terminate(pid)


def reco(env: dict[str, str], *argv: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jobs.cli.main", *argv]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=180)


def users_of(env: dict[str, str], home: Path) -> None:
    """Somebody may sign in; and no port that a developer's own console may hold."""
    port, users = str(free_port()), str(home / "users.yaml")
    env |= {"RECO_CONSOLE__PORT": port, "RECO_CONSOLE__USERS_FILE": users, "RECO_CONSOLE_PASSWORD": "correct horse"}


def routes_of(env: dict[str, str], home: Path) -> None:
    """Alerts for a sink where nobody listens."""
    file = home / "routes.yaml"
    sinks = "sinks: {here: {kind: alertmanager, url: 'http://127.0.0.1:9'}}"
    file.write_text(f"version: 1\n{sinks}\nroutes: [{{name: all, sinks: [here]}}]\n")
    folder = str(home / "alerts")
    env |= {"RECO_LOCAL__ALERTS": "true", "RECO_ALERTS__ROUTES": str(file), "RECO_ALERTS__FOLDER": folder}


@pytest.mark.usefixtures("leaves_nothing")
def test_up_stays_with_console_and_alerts_and_down_stops(tmp_path: Path, env: dict[str, str]) -> None:
    users_of(env, tmp_path)
    routes_of(env, tmp_path)
    first = reco(env, "up", "--no-stream", "--json")
    assert first.returncode == 0, first.stderr
    told = json.loads(first.stdout)
    assert processes.is_alive(told["broker_pid"])
    # Nobody may sign in yet; once somebody may, it starts by itself.
    assert told["console_pid"] is None
    assert f"there is no {tmp_path / 'users.yaml'}: reco console add-user NAME" in told["console_why"]
    assert f"The console does not run: {told['console_why']}." in reco(env, "status").stdout.replace("\n", " ")
    assert reco(env, "console", "add-user", "ann").returncode == 0
    assert processes.wait_until(lambda: (read_state(tmp_path) or {})["console_pid"] is not None, 60)
    again = json.loads(reco(env, "up", "--no-stream", "--json").stdout)
    assert again == {**told, "console_pid": again["console_pid"], "console_why": None}
    with urllib.request.urlopen(f"{again['console']}/sign-in", timeout=20) as answer:
        assert answer.status == 200
    doctor = json.loads(reco(env, "doctor", "--json").stdout)
    found = {check["name"]: check["ok"] for check in doctor["checks"]}
    well = dict.fromkeys(("Java", "Spark", "jars", "broker", "lake", "policies", "console", "alerts"), True)
    assert found == {**well, "FX": False}
    assert {f"answers at {again['console']}", "runs"} <= {check["found"] for check in doctor["checks"]}
    # The alerting service tells how it is once it leads.
    assert processes.wait_until((tmp_path / "alerts" / "status.json").exists, 60)
    second = reco(env, "up", "--foreground")
    assert second.returncode == 2
    assert "already runs" in second.stderr
    assert json.loads(reco(env, "down", "--json").stdout) == {"was_running": True, "clean": True}
    assert not any(processes.is_alive(pid) for pid in (told["broker_pid"], again["console_pid"], told["alerts_pid"]))
    assert json.loads(reco(env, "down", "--json").stdout) == {"was_running": False, "clean": True}


@pytest.mark.parametrize("ending", [pytest.param(signal.SIGINT, marks=pytest.mark.long), signal.SIGKILL])
def test_a_dead_stream_is_started_again_and_nothing_outlives_the_stack(
    tmp_path: Path, env: dict[str, str], ending: signal.Signals
) -> None:
    command = [sys.executable, "-c", SUPERVISE, STREAM, str(tmp_path / "marker")]
    said = tmp_path / "keeper.log"
    with said.open("wb") as out:
        keeper = subprocess.Popen(command, env=env, stderr=out)
    try:

        def restarted() -> dict[str, Any] | None:
            told = read_state(tmp_path)
            return told if told and told["stream_restarts"] == 1 and told["stream_pid"] else None

        processes.wait_until(lambda: restarted() is not None or keeper.poll() is not None, 120)
        told = restarted()
        assert told, said.read_text()
        children = [told["broker_pid"], told["stream_pid"]]
        assert all(processes.is_alive(pid) for pid in children)
        port = told["metrics"].removeprefix("http://127.0.0.1:").removesuffix("/metrics")
        line = f"reads {told['bootstrap_servers']} tells {port}"
        assert processes.wait_until(lambda: line in (tmp_path / "stream.log").read_text(), 60)
    finally:
        keeper.send_signal(ending)
        code = keeper.wait(90)
    assert code == (0 if ending == signal.SIGINT else -signal.SIGKILL)
    assert processes.wait_until(lambda: not any(processes.is_alive(pid) for pid in children), 30)
    assert read_state(tmp_path) is None
