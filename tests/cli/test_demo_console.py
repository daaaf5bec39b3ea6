"""The console that a demo leaves on its lake: started, a page answered, stopped; without running the demo."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from jobs.cli import demo, demo_console, doctor, processes, services
from jobs.cli.broker import free_port
from jobs.common.errors import UserError
from jobs.common.settings import Console, Settings
from tests.console.conftest import sign_in
from tests.console.lake import small_lake
from tests.scrape import scrape

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A demo's folder with a lake in it; nothing is left running on it."""
    folder = tmp_path / "demo"
    demo._empty(folder)
    yield folder
    demo_console.stop_left(folder)


def settings_of(home: Path) -> Settings:
    # Not the port of a console that a developer runs.
    return demo.settings_of(Settings(console=Console(port=free_port())), home)


def test_it_is_left_running_and_told_how_to_sign_in_and_how_to_stop_it(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(home)
    small_lake(settings)
    # Of a lake of the reader's own: the demo's console shows the demo's.
    monkeypatch.setenv("RECO_LAKE__ROOT", str(home / "another"))
    file = demo_console.write_settings(settings)
    demo_console.show(file, demo_console.leave_running(file, home))
    said = capsys.readouterr().out
    found = re.search(r"lake: (http\S+)\n.* password (\S+) .*\nStop it: kill (\d+)\n", said)
    assert found, said
    url, password, pid = found.groups()
    with httpx.Client(base_url=url) as browser:
        assert sign_in(browser, "demo", password).headers["location"] == "/"
        page = browser.get("/exceptions")
    assert page.status_code == 200
    assert "BK-SECRET" in page.text
    assert password not in (home / "console-users.yaml").read_text()
    check = doctor.CHECKS["console"](settings)
    assert (check.ok, f"a demo left one at {url} on {home}/lake" in check.found) == (True, True)
    stop = re.search(r"stop the demo's with: (kill \d+)$", check.remedy)
    assert stop, check
    subprocess.run(stop[1].split(), check=True)
    assert processes.wait_until(lambda: not processes.is_alive(int(pid)), 20)
    assert "a demo left one" not in doctor.CHECKS["console"](settings).found


def test_without_it_the_last_lines_are_commands_that_open_it(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = settings_of(home)
    small_lake(settings)
    demo_console.show(demo_console.write_settings(settings), None)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("reco ")]
    add, serve = ([sys.executable, "-m", "jobs.cli.main", *line.split()[1:]] for line in lines)
    metrics = free_port(settings.console.port)
    env = {**os.environ, "RECO_CONSOLE_PASSWORD": "correct horse", "RECO_CONSOLE__METRICS_PORT": str(metrics)}
    subprocess.run(add, env=env, cwd=ROOT, check=True, capture_output=True)
    with subprocess.Popen(serve, env=env, cwd=ROOT, stdout=subprocess.PIPE, text=True) as served:
        try:
            told = served.stdout.readline() if served.stdout else ""
            url = f"http://127.0.0.1:{settings.console.port}"
            assert f"{url};" in told
            assert services.wait_for_console(url, lambda: served.poll() is not None)
            assert httpx.get(f"{url}/sign-in").status_code == 200
            # A request is counted when its answer is out.
            asked = 'reco_console_requests_total{page="/sign-in",status="200"}'
            assert processes.wait_until(lambda: scrape(metrics).get(asked) == 1, 20)
        finally:
            served.send_signal(signal.SIGTERM)


def test_a_new_demo_in_the_folder_stops_what_the_last_one_left(home: Path) -> None:
    with subprocess.Popen(["sleep", "600"]) as sleeper:
        processes.write_pid(demo_console._pid_file(home), sleeper.pid)
        demo._empty(home)
        assert sleeper.wait(10) == -signal.SIGTERM
    assert [file.name for file in home.iterdir()] == [demo.MARK]


def test_it_is_refused_at_once_where_it_could_not_be_left(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="--console needs the lake that --no-keep removes"):
        demo_console.require(keep=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"packages are not installed: pip install 'reco\[console\]'"):
        demo_console.require(keep=True)


@pytest.mark.parametrize(("given", "passed"), [(["KEEP=1"], True), ([], False)])
def test_make_demo_passes_it_on(given: list[str], passed: bool) -> None:
    done = subprocess.run(["make", "-n", "demo", *given], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ("reco demo --console" in done.stdout) == passed
