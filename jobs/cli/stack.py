"""`reco up` and `reco down`: the local stack, in the background or under one's eyes."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.cli import processes, services
from jobs.cli.broker import refuse_security
from jobs.cli.service import last_line
from jobs.cli.supervisor import Supervisor, pid_file, read_state
from jobs.common.errors import FAILED, UserError
from jobs.common.options import AsJson, Debug, SettingsFile
from jobs.common.output import print_json, say
from jobs.common.settings import load_settings

START_SECONDS = 120.0


def up(
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay here until Ctrl-C, then stop all.")] = False,
    stream: Annotated[bool, typer.Option(help="Run the streaming job too.")] = True,
    settings_file: SettingsFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Start the local broker, topics, streaming job and console, and keep them running until `reco down`.

    The alerts too, where local.alerts says so.
    """
    settings = load_settings(settings_file)
    refuse_security(settings)
    home = settings.local.home
    running = processes.read_pid(pid_file(home))
    if running and foreground:
        raise UserError(f"The stack of {home} already runs (process {running}): stop it with `reco down`.")
    if foreground:
        return Supervisor(settings, services.commands_of(settings, settings_file, stream=stream)).run()
    if not running:
        _start(home, settings_file, stream)
    told = _settled(home)
    if told is None:
        raise UserError(
            f"The stack of {home} is still starting or stopping: try again, or see {home / 'up.log'}.", FAILED
        )
    if as_json:
        print_json(told)
    else:
        metrics = f"metrics at {told['metrics']}, " if told["metrics"] else ""
        say(
            f"{'Already running' if running else 'Running'}: broker at {told['bootstrap_servers']}, {metrics}"
            f"lake in {told['lake']}, logs in {home}.",
            *services_said(told),
            "Look with `reco status`, stop with `reco down`.",
        )
    return 0


def down(
    settings_file: SettingsFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Stop what `reco up` started; what was written stays."""
    home = load_settings(settings_file).local.home
    pid = processes.read_pid(pid_file(home))
    gently = processes.terminate(pid, 90) if pid else True
    if as_json:
        print_json({"was_running": pid is not None, "clean": gently})
    elif pid is None:
        say(f"Nothing runs in {home}.")
    else:
        say("Stopped." if gently else "Stopped by force after 90 s; the next start recovers by itself.")
    return 0


def services_said(told: dict[str, Any]) -> list[str]:
    """One line each for the console and the alerts of the running stack."""
    lines = []
    for name, running in (("console", f"answers at {told.get('console')}"), ("alerts", "run")):
        if f"{name}_pid" in told:
            why = told[f"{name}_why"] or f"ended, it is started again; see {told['home']}/{name}.log"
            lines.append(f"The {name} {running if told[f'{name}_pid'] else f'does not run: {why}'}.")
    return lines


def _settled(home: Path) -> dict[str, Any] | None:
    """What the stack says of itself once the console answers, or is known not to."""

    def ended() -> bool:
        return (read_state(home) or {}).get("console_pid") is None

    if not ended():
        services.wait_for_console((read_state(home) or {}).get("console", ""), ended)
    return read_state(home)


def _start(home: Path, settings_file: Path | None, stream: bool) -> None:
    """Start `reco up --foreground` in the background and wait until it runs."""
    command = [sys.executable, "-m", "jobs.cli.main", "up", "--foreground", *([] if stream else ["--no-stream"])]
    if settings_file:
        command += ["--settings", str(settings_file)]
    log = home / "up.log"
    try:
        home.mkdir(parents=True, exist_ok=True)
        log.write_bytes(b"")
    except OSError as error:
        raise UserError(f"Cannot write to {home} ({error.strerror}): set local.home to another folder.") from None
    process = processes.spawn(command, log, env={**os.environ, "PYTHONUNBUFFERED": "1"}, detached=True)
    ready = processes.wait_until(lambda: read_state(home) is not None or process.poll() is not None, START_SECONDS)
    if process.poll() is not None:
        code = process.returncode if process.returncode > 0 else FAILED
        raise UserError(last_line(log), code)
    if not ready:
        processes.stop(process)
        raise UserError(f"The stack did not start within {START_SECONDS:.0f} s, see {log}.", FAILED)
    # Outlives us on purpose; without this, Python would warn that nobody waited for it.
    process.returncode = 0
