"""The console on the demo's lake: its settings, a user with a password of its own, and the process that is left."""

import secrets
import socket
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from jobs.cli import processes, services
from jobs.cli.broker import free_port
from jobs.common.errors import FAILED, UserError
from jobs.common.output import say
from jobs.common.settings import Settings

USER = "demo"
#: Where a demo leaves its lake unless told otherwise.
HOME = Path(".reco/demo")


@dataclass(frozen=True)
class Left:
    """A console that outlives the demo: where it answers, who may sign in, and its process."""

    url: str
    user: str
    password: str
    pid: int


def require(*, keep: bool) -> None:
    """UserError where a console could not be left running; asked before anything is done."""
    if not keep:
        raise UserError("--console needs the lake that --no-keep removes: leave one of them out.")
    if why := services.extra_missing("console"):
        raise UserError(f"--console cannot start the console, {why}.")


def write_settings(settings: Settings) -> Path:
    """Settings of the demo's lake for `--settings` of any reco command; returns the file."""
    home = settings.local.home
    file = home / "settings.yaml"
    told: dict[str, Any] = {
        "lake": {"root": settings.lake.root},
        "stream": {"checkpoint_root": settings.stream.checkpoint_root},
        "console": {
            "host": "127.0.0.1",
            "users_file": str(home / "console-users.yaml"),
            "audit_file": str(home / "console-audit.jsonl"),
            "port": _port(settings),
        },
        "local": {"home": str(home)},
    }
    file.write_text(yaml.safe_dump(told, sort_keys=False), encoding="utf-8")
    return file


def leave_running(file: Path, home: Path) -> Left:
    """Make the user, start the console by the settings `file` and wait until it answers. UserError where it does not.

    The password is told once: only its hash is kept.
    """
    told = yaml.safe_load(file.read_text(encoding="utf-8"))
    env = services.child_environment(_variables(told))
    password = secrets.token_urlsafe(12)
    add = services.command_of("console", None, "add-user", USER, "--role", "admin", "--settings", str(file))
    done = subprocess.run(
        add, env={**env, "RECO_CONSOLE_PASSWORD": password}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise UserError(f"The console's user could not be made: {done.stderr.strip()}", FAILED)
    log = home / "logs" / "console.log"
    url = services.console_url(told["console"]["host"], told["console"]["port"])
    process = processes.spawn(services.command_of("console", file), log, env=env, detached=True)
    try:
        processes.write_pid(_pid_file(home), process.pid)
        answers = services.wait_for_console(url, lambda: process.poll() is not None)
    except BaseException:
        processes.stop(process)
        raise
    if not answers:
        processes.stop(process)
        raise UserError(f"The console did not start, see {log}.", FAILED)
    # Outlives us on purpose; without this, Python would warn that nobody waited for it.
    process.returncode = 0
    return Left(url, USER, password, process.pid)


def stop_left(home: Path) -> None:
    """End the console that an earlier demo left on this folder's lake, if it still runs."""
    pid = processes.read_pid(_pid_file(home))
    if pid:
        processes.terminate(pid)


def still_running(home: Path) -> tuple[str, int] | None:
    """Address and process of a console that a demo left on this folder's lake; None where none runs."""
    pid = processes.read_pid(_pid_file(home))
    if pid is None:
        return None
    told = yaml.safe_load((home / "settings.yaml").read_text(encoding="utf-8"))["console"]
    return services.console_url(told["host"], told["port"]), pid


def show(file: Path, left: Left | None) -> None:
    """How to sign in and how to stop it; or, where none was left, how to open it."""
    if left is None:
        chosen = f"--settings {shown_path(file)}"
        say(
            "",
            "The console on this lake (it asks for a password to set), also `make demo KEEP=1`:",
            f"reco console add-user {USER} --role admin {chosen}",
            f"reco console {chosen}",
        )
    else:
        say(
            "",
            f"The console on this lake: {left.url}",
            f"Sign in as {left.user} with the password {left.password} (shown once, made for this demo).",
            f"Stop it: kill {left.pid}",
        )


def as_report(left: Left | None) -> dict[str, Any]:
    """The same for `--json`."""
    return {} if left is None else {"console": asdict(left)}


def shown_path(path: Path) -> str:
    """The path as it is typed from here."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _variables(told: dict[str, Any]) -> dict[str, str]:
    """The same as variables, which a reader may have set otherwise for a lake of his own."""
    return {
        f"RECO_{section}__{key}".upper(): str(value)
        for section, values in told.items()
        for key, value in values.items()
    }


def _port(settings: Settings) -> int:
    """The one of the settings where nobody has it."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", settings.console.port))
        except OSError:
            return free_port()
    return settings.console.port


def _pid_file(home: Path) -> Path:
    return home / "console.pid"
