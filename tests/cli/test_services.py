"""A program that is kept running: started when it can be, again when it dies, not at once where it refuses to run."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.cli import processes, services
from jobs.cli.service import Service
from jobs.common.errors import UserError
from jobs.common.settings import Alerts, Console, Local, Settings


def of(folder: Path, program: str, lacking: Callable[[], str | None] = lambda: None, *, vital: bool = False) -> Service:
    command = [sys.executable, "-c", program]
    return Service("thing", command, folder / "thing.log", dict, lacking, vital=vital)


def test_it_starts_once_nothing_is_lacking_any_more(tmp_path: Path) -> None:
    needed = tmp_path / "needed"
    one = of(tmp_path, "import time; time.sleep(600)", lambda: None if needed.exists() else f"there is no {needed}")
    assert one.tend()
    assert one.told() == {"thing_pid": None, "thing_restarts": 0, "thing_why": f"there is no {needed}"}
    assert not one.tend()
    needed.touch()
    assert processes.wait_until(one.tend, 10)
    assert one.pid is not None
    assert one.why is None
    one.stop(10)


DIES_THEN_REFUSES = """
import os, sys
if os.path.exists(sys.argv[1]):
    print("wrong port")
    sys.exit(2)
open(sys.argv[1], "w").close()
sys.exit(1)
"""


def test_what_dies_is_started_again_and_what_refuses_its_settings_says_why(tmp_path: Path) -> None:
    command = [sys.executable, "-c", DIES_THEN_REFUSES, str(tmp_path / "ran")]
    one = Service("thing", command, tmp_path / "thing.log", dict)
    assert one.tend()
    assert processes.wait_until(one.tend, 20)  # ended with 1
    assert (one.restarts, one.why) == (1, None)
    assert processes.wait_until(one.tend, 20)  # started again
    assert processes.wait_until(one.tend, 20)
    assert (one.restarts, one.pid, one.why) == (2, None, "wrong port")
    assert not one.tend()  # it would refuse again: only after a while


def test_a_vital_one_that_refuses_its_settings_ends_all(tmp_path: Path) -> None:
    one = of(tmp_path, "print('topics.partitions: no'); raise SystemExit(2)", vital=True)
    one.tend()
    with pytest.raises(UserError, match=r"The thing refuses its settings: topics.partitions: no \(log: "):
        processes.wait_until(one.tend, 20)


def test_what_is_wanted_and_what_is_lacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, there = tmp_path / "local.yaml", tmp_path / "there"
    there.touch()
    settings = Settings(
        local=Local(console=True, alerts=True), alerts=Alerts(routes=there), console=Console(users_file=there)
    )
    commands = services.commands_of(settings, file, stream=True)
    assert list(commands) == ["stream", "console", "alerts"]
    assert all(command[-2:] == ["--settings", str(file)] for command in commands.values())
    assert list(services.commands_of(Settings(local=Local(console=False)), None, stream=False)) == []
    assert [services.lacking(name, settings) for name in commands] == [None, None, None]
    gone = settings.model_copy(
        update={"alerts": Alerts(routes=tmp_path / "no"), "console": Console(users_file=tmp_path / "no")}
    )
    assert (
        services.lacking("console", gone)
        == f"nobody may sign in, there is no {tmp_path}/no: reco console add-user NAME --role admin"
    )
    assert (services.lacking("alerts", gone) or "").startswith(f"there is no file of routes {tmp_path}/no: ")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert services.lacking("alerts", settings) == "its packages are not installed: pip install 'reco[alerts]'"


@pytest.mark.parametrize(
    ("host", "url"), [("0.0.0.0", "127.0.0.1"), ("::1", "[::1]"), ("reco.example", "reco.example")]
)
def test_the_consoles_address_is_one_that_a_browser_takes(host: str, url: str) -> None:
    assert services.console_url(host, 99) == f"http://{url}:99"
