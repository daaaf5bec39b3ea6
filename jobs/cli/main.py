"""`reco`: every command by name; only the one that was typed is imported."""

import atexit
import copy
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, NamedTuple

import typer

from jobs.common.command import add_function, load, new_app, run


class Row(NamedTuple):
    """A command: where it is, its one line in `reco --help`, and an example for its own help."""

    target: str
    help: str
    example: str


COMMANDS = {
    "demo": Row(
        "jobs.cli.demo:command",
        "The main job, whole, on this machine: outbox, polled API, broker, stream, closes, summary.",
        "reco demo",
    ),
    "up": Row(
        "jobs.cli.stack:up",
        "Start the local broker, the topics, the streaming job and the console, and keep them running.",
        "reco up && reco status",
    ),
    "down": Row("jobs.cli.stack:down", "Stop what `reco up` started; what was written stays.", "reco down"),
    "stream": Row(
        "jobs.streaming.main:command",
        "The streaming job: raw topics to bronze, silver and canonical topics.",
        "reco stream --available-now",
    ),
    "daily": Row(
        "jobs.daily.main:command",
        "Close dates: the final verdicts, anomalies and exceptions.",
        "reco daily --date 2026-03-09",
    ),
    "policies": Row(
        "jobs.cli.policies:app",
        "Apply, show, compare the suppliers' policies.",
        "reco policies apply conf/policies.yaml",
    ),
    "fx": Row("jobs.cli.fx:app", "Load exchange rates.", "reco fx load conf/fx.csv"),
    "formats": Row(
        "jobs.streaming.formats_check:app",
        "Try a supplier's payload format on a sample.",
        "reco formats check conf/formats/bedbank.yaml --sample conf/formats/samples/bedbank.jsonl",
    ),
    "explain": Row(
        "jobs.daily.explain:command",
        "Why one activity was judged as it was: timeline, rules, margins.",
        "reco explain SUP-001 BK-1 --date 2026-03-09",
    ),
    "replay": Row(
        "jobs.daily.replay:command",
        "Run a past close from its pinned inputs and compare the hashes.",
        "reco replay CLOSE_ID",
    ),
    "maintain": Row(
        "jobs.maintain.main:command",
        "Put small files together, remove what nothing needs any more; beside running jobs.",
        "reco maintain --dry-run",
    ),
    "erase": Row(
        "jobs.erase.main:command",
        "Take one person's payloads out of bronze and quarantine; verdicts and totals stay.",
        "reco erase --request DSR-17 --field guest.email --value-file value.txt --dry-run",
    ),
    "backup": Row(
        "jobs.maintain.backup:command",
        "Copy what a backup does not have of the lake yet; a point to go back to.",
        "reco backup s3a://backups/lake",
    ),
    "restore": Row(
        "jobs.maintain.restore:command",
        "An empty lake becomes what its backup was at a point.",
        "reco restore s3a://backups/lake --at 2026-03-10T12:00:00Z",
    ),
    "status": Row(
        "jobs.cli.status:command",
        "Lag, counts per topic and partition, open exceptions, last closes.",
        "reco status --json",
    ),
    "doctor": Row(
        "jobs.cli.doctor:command",
        "Check Java, Spark, jars, broker, lake, policies, FX, console, alerts; say how to mend each.",
        "reco doctor",
    ),
    "console": Row(
        "jobs.console.main:app",
        "The web console: money at risk, exceptions and what people do about them, closes.",
        "reco console --port 8088",
    ),
    "export": Row(
        "jobs.warehouse.main:app",
        "Feed ClickHouse, or write a close as signed files.",
        "reco export clickhouse --only anomalies",
    ),
    "register": Row(
        "jobs.warehouse.register:app",
        "Register the lake's tables in AWS Glue, Unity Catalog or a Hive metastore.",
        "reco register glue --database reco",
    ),
    "poll": Row(
        "jobs.ingest.polling.main:command",
        "Read the suppliers' APIs and publish what is new to the supplier topic.",
        "reco poll --once --supplier SUP-007",
    ),
    "alerts": Row(
        "jobs.alerts.main:command",
        "Tell people what is broken and what it costs, a few messages instead of thousands.",
        "reco alerts --check conf/alerts.yaml",
    ),
    "relay": Row(
        "jobs.ingest.relay_command:command",
        "Publish an outbox table of PostgreSQL, MySQL or MariaDB to the raw topics.",
        "reco relay --until-empty",
    ),
    "heartbeat": Row(
        "jobs.ingest.heartbeats:command",
        "Keep a topic's time moving where its records are pushed by others.",
        "reco heartbeat --side supplier",
    ),
    "deploy": Row(
        "jobs.deploy.main:command",
        "Send code and settings to EMR, EMR Serverless or Databricks and start a job there.",
        "reco deploy emr-serverless daily --plan -- --date 2026-03-09",
    ),
    "generate": Row(
        "jobs.ingest.generate:command",
        "Produce a seeded workload of both sides.",
        "reco generate --events 10000 --seed 1",
    ),
}

#: Subcommands that are not in the module of their group: of another program, or slow to import.
PARTS = {
    "policies": {
        "backtest": Row(
            "jobs.daily.backtest:command",
            "What a proposed file would have said of the last closes; a gate for its review.",
            "reco policies backtest conf/policies.yaml --days 7 --max-lost-usd 1000",
        ),
        "suggest": Row(
            "jobs.cli.suggest:command",
            "Limits for one supplier from its own delays and differences, and what each would cost.",
            "reco policies suggest SUP-001 --days 30 --plot SUP-001.html",
        ),
    },
}


def main(argv: Sequence[str] | None = None) -> None:
    """The console script; where `argv` is given, for who calls it, whose process goes on."""
    ended: list[int] = []
    if argv is None:
        atexit.register(_end_at_once, ended)  # registered first, called last
    arguments = list(sys.argv[1:] if argv is None else argv)
    words = [word for word in arguments if not word.startswith("-")]
    chosen = next(iter(words), "")
    part = next((word for word in words[1:] if word in PARTS.get(chosen, {})), "")
    ended.append(run(lambda: build(chosen, part), arguments, "reco", chosen))
    sys.exit(ended[0])


def _end_at_once(ended: list[int]) -> None:
    """End the process: after a close, Python takes a second and more to take apart what the system takes back whole."""
    if ended:
        try:
            for stream in filter(None, (sys.stdout, sys.stderr)):  # one that was closed before we began is None
                stream.flush()
        except OSError:
            return  # nobody reads any more: Python says so, and ends with its own code
        os._exit(ended[0])


def build(chosen: str, part: str = "") -> typer.Typer:
    """The application: `chosen`, with its subcommand `part`, is real, the others are only names with their help."""
    app = new_app(
        help="Reconciles Agoda's activities with its suppliers'. Each command has --help with an example.",
        no_args_is_help=True,
    )
    app.callback()(_options)
    for name, row in COMMANDS.items():
        found: Any = load(row.target) if name == chosen else _unloaded
        if isinstance(found, typer.Typer):
            app.add_typer(
                _with_parts(found, name, part),
                name=name,
                short_help=row.help,
                help=row.help,
                epilog=f"Example: {row.example}",
            )
        elif found is _unloaded:
            app.command(name, help=row.help)(found)
        else:
            add_function(app, found, name, row.help, row.example)
    return app


def _with_parts(group: typer.Typer, name: str, part: str) -> typer.Typer:
    """The group with the subcommands of `PARTS` beside its own; the group itself stays as it is."""
    whole = copy.copy(group)
    whole.registered_commands = list(group.registered_commands)
    for sub, row in PARTS.get(name, {}).items():
        if sub == part:
            add_function(whole, load(row.target), sub, row.help, row.example)
        else:
            whole.command(sub, help=row.help)(_unloaded)
    return whole


def _unloaded() -> None:
    """Stand in for a command that was not typed."""


def _show_version(wanted: bool) -> None:
    if wanted:
        try:
            typer.echo(f"reco {version('reco')}")
        except PackageNotFoundError:
            typer.echo("reco (not installed)")
        raise typer.Exit


def _options(
    version: Annotated[  # the callback does the work
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and stop.")
    ] = False,
) -> None:
    pass


if __name__ == "__main__":
    main()
