"""`reco export`: what was found, for warehouses and for people who have no access to the lake."""

import time
from dataclasses import asdict
from typing import Annotated

import typer

from jobs.common.command import load, new_app
from jobs.common.command import add_function
from jobs.common.errors import DONE
from jobs.common.options import AsJson, Debug, SettingsFile
from jobs.common.output import print_json, print_table, say
from jobs.common.settings import Settings, load_settings
from jobs.warehouse import ddl

app = new_app(no_args_is_help=True)


def clickhouse(
    until_now: Annotated[
        bool, typer.Option("--until-now/--follow", help="Export what is there and end; or go on until stopped.")
    ] = True,
    init: Annotated[bool, typer.Option("--init", help="Make database and tables where they are not there.")] = False,
    print_ddl: Annotated[bool, typer.Option("--print-ddl", help="Print the tables' SQL and end.")] = False,
    only: Annotated[list[str] | None, typer.Option("--only", metavar="TABLE", help="Only this table.")] = None,
    reload: Annotated[bool, typer.Option("--reload", help="Load everything anew, once.")] = False,
    settings: SettingsFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Bring facts, anomalies, exceptions and the hourly summary in ClickHouse up to the lake, exactly once by key.

    Each commit of a Delta table is written with its version, then the position. It can be stopped anywhere and run
    again: nothing is lost or doubled. With --init it makes the tables and ends.

    Example: reco export clickhouse --init && reco export clickhouse
    """
    if print_ddl:
        typer.echo(ddl.script(), nl=False)
        return DONE
    chosen = load_settings(settings)
    names = load("jobs.warehouse.export:names")(only or [])
    warehouse = load("jobs.warehouse.clickhouse:ClickHouse")(chosen.warehouse)
    try:
        if init:
            warehouse.init()
            say(f"The tables are in the database {chosen.warehouse.database} of {chosen.warehouse.url}.")
            return DONE
        while True:
            _once(chosen, warehouse, names, reload=reload, as_json=as_json)
            if until_now:
                return DONE
            reload = False
            time.sleep(chosen.warehouse.follow_seconds)
    finally:
        warehouse.close()


def _once(settings: Settings, warehouse: object, names: list[str], *, reload: bool, as_json: bool) -> None:
    export = load("jobs.warehouse.export:export_table")
    moved = [export(settings, warehouse, name, reload=reload) for name in names]
    if as_json:
        print_json({"tables": [asdict(one) for one in moved]})
        return
    columns = ["table", "from version", "to version", "commits", "rows written", "rows deleted", "loaded whole"]
    print_table("Exported to ClickHouse", columns, [list(asdict(one).values()) for one in moved])


add_function(app, clickhouse, "clickhouse", "Bring ClickHouse up to the lake.")
