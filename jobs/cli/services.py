"""What `reco up` and `reco demo` run besides the stream: the console and the alerts, where they are set up."""

import importlib.util
import os
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from jobs.cli import processes
from jobs.common.settings import Settings

#: One package of each extra that only it brings.
_TOLD_BY = {"console": "argon2", "alerts": "slack_sdk"}
CONSOLE_SECONDS = 60.0


def command_of(name: str, settings_file: Path | None = None, *more: str) -> list[str]:
    """How a reco command is started as a child."""
    chosen = ["--settings", str(settings_file)] if settings_file else []
    return [sys.executable, "-m", "jobs.cli.main", name, *chosen, *more]


def commands_of(settings: Settings, settings_file: Path | None, *, stream: bool) -> dict[str, list[str]]:
    """The programs that `reco up` keeps running, by name."""
    wanted = {"stream": stream, "console": settings.local.console, "alerts": settings.local.alerts}
    return {name: command_of(name, settings_file) for name, is_wanted in wanted.items() if is_wanted}


def extra_missing(name: str) -> str | None:
    """Why `console` or `alerts` cannot run with what is installed, and the remedy; None where it can."""
    package = _TOLD_BY.get(name)
    if package and importlib.util.find_spec(package) is None:
        return f"its packages are not installed: pip install 'reco[{name}]'"
    return None


def lacking(name: str, settings: Settings) -> str | None:
    """Why `console` or `alerts` cannot start, and the remedy; None where nothing is missing."""
    if why := extra_missing(name):
        return why
    users, routes = settings.console.users_file, Path(settings.alerts.routes)
    if name == "console" and not users.exists():
        return f"nobody may sign in, there is no {users}: reco console add-user NAME --role admin"
    if name == "alerts" and not routes.exists():
        return f"there is no file of routes {routes}: write one (docs/alerts.md), or set alerts.routes"
    return None


def console_url(host: str, port: int) -> str:
    """Where a browser of this machine finds a console that listens there."""
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{name}:{port}"


def wait_for_console(url: str, ended: Callable[[], bool]) -> bool:
    """True once it takes connections, False where it has ended before, or takes none within CONSOLE_SECONDS."""
    place = urlsplit(url)

    def answers() -> bool:
        try:
            with socket.create_connection((place.hostname, place.port), timeout=1):
                return True
        except OSError:
            return False

    processes.wait_until(lambda: ended() or answers(), CONSOLE_SECONDS)
    return not ended() and answers()


def child_environment(more: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with `more`; what is printed comes at once."""
    return {**os.environ, "PYTHONUNBUFFERED": "1", **more}
