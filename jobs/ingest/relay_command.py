"""`reco relay`: the relay as a program, and the tables that it needs."""

from dataclasses import asdict
from typing import Annotated, Literal

import typer

from jobs.common import log
from jobs.common.errors import FAILED, UserError
from jobs.common.metrics import endpoint
from jobs.common.options import AsJson, Debug, SettingsFile
from jobs.common.output import print_json, say
from jobs.common.settings import Settings, load_settings
from jobs.ingest.outbox import AwayError, open_outbox, table_of
from jobs.ingest.outbox_table import OutboxTable
from jobs.ingest.relay import Done, Relay
from jobs.ingest.stopping import Stopping


def run(settings: Settings, *, until_empty: bool = False, is_backfill: bool = False) -> Done:
    """The relay as a program: metrics, signals, one outbox. Raises UserError as Relay and open_outbox do."""
    outbox = open_outbox(settings.outbox)
    with endpoint(settings.metrics), Stopping() as stopping:
        return Relay(settings, outbox, stopping, is_backfill=is_backfill).run(until_empty=until_empty)


def create(settings: Settings) -> None:
    """Make what is missing of the tables. Raises UserError where the database does not let us."""
    outbox = open_outbox(settings.outbox)
    try:
        outbox.open()
        outbox.create()
        outbox.check()
    except AwayError as error:
        raise _not_made(outbox, error) from error
    finally:
        outbox.close()


def _not_made(outbox: OutboxTable, error: AwayError) -> UserError:
    what = f"The tables of {outbox.settings.table} could not be made: {error}"
    if not outbox.is_refusal(error.__cause__):
        return UserError(f"{what}; see outbox.dsn.", FAILED)
    if outbox.is_denial(error.__cause__):
        return UserError(f"{what}; let one who may run what `reco relay --print-ddl {outbox.kind}` prints.")
    return UserError(f"{what}; see outbox.table.")


def command(
    until_empty: Annotated[
        bool, typer.Option("--until-empty", help="Publish what is there, send a last heartbeat, end.")
    ] = False,
    backfill: Annotated[
        bool,
        typer.Option(
            "--backfill",
            help="The rows are history: each record's time is its row's created_at, and no heartbeat is sent.",
        ),
    ] = False,
    init: Annotated[bool, typer.Option("--init", help="Make what is missing of the tables, then end.")] = False,
    print_ddl: Annotated[
        Literal["postgresql", "mysql"] | None, typer.Option(help="Print the tables' DDL for this database, then end.")
    ] = None,
    settings: SettingsFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Publish the outbox table (outbox.dsn: PostgreSQL, MySQL, MariaDB) to the raw topics, until stopped.

    Several may run side by side. Broker and database are waited for. docs/outbox.md is the application's side of it.

    Example: reco relay --until-empty
    """
    log.configure(debug=debug, as_json=True if as_json else None)
    known = load_settings(settings)
    if print_ddl:
        names = table_of(print_ddl)("", known.outbox)
        if as_json:
            print_json({"ddl": names.each_statement()})
        else:
            typer.echo(names.statements().strip())
        return
    if init:
        create(known)
        if as_json:
            print_json({"table": known.outbox.table})
        else:
            say(f"The tables of {known.outbox.table} are there.")
        return
    done = run(known, until_empty=until_empty, is_backfill=backfill)
    if as_json:
        print_json(asdict(done))
    else:
        say(
            f"Published {done.published:,} rows, parked {done.parked:,}, sent {done.heartbeats:,} rounds of heartbeats."
        )
