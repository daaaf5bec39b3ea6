"""`reco export`: what was found, for warehouses and for people who have no access to the lake."""

from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import sleep
from typing import Annotated, Literal

import typer

from jobs.common.command import add_function, load, new_app
from jobs.common.errors import DONE, FAILED, UserError
from jobs.common.options import AsJson, Debug, SettingsFile
from jobs.common.output import print_json, print_table, say
from jobs.common.secrets import FORMS, secret
from jobs.common.settings import Settings, Warehouse, load_settings
from jobs.warehouse import ddl
from jobs.warehouse.bundle import verify_bundle, write_bundle
from jobs.warehouse.close_rows import find_close

app = new_app(no_args_is_help=True)


def clickhouse(
    until_now: Annotated[
        bool,
        typer.Option(
            "--until-now/--follow",
            help="Export what is there and end; or go on until stopped (--json: a line a time).",
        ),
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
        if as_json:
            print_json({"ddl": ddl.statements()})
        else:
            typer.echo(ddl.script(), nl=False)
        return DONE
    chosen = load_settings(settings)
    names = load("jobs.warehouse.export:names")(only or [])
    warehouse = load("jobs.warehouse.clickhouse:ClickHouse")(chosen.warehouse)
    try:
        if init:
            warehouse.init()
            _say_made(chosen.warehouse, as_json=as_json)
            return DONE
        while True:
            moved = _once(chosen, warehouse, names, reload=reload)
            _say_moved(moved, as_json=as_json, is_line=not until_now)
            if until_now:
                return DONE
            reload = False
            sleep(chosen.warehouse.follow_seconds)
    finally:
        warehouse.close()


def _once(settings: Settings, warehouse: object, names: list[str], *, reload: bool) -> list[dict[str, object]]:
    export = load("jobs.warehouse.export:export_table")
    return [asdict(export(settings, warehouse, name, reload=reload)) for name in names]


def _say_moved(moved: list[dict[str, object]], *, as_json: bool, is_line: bool) -> None:
    if as_json:
        print_json({"tables": moved}, is_line=is_line)
        return
    columns = ["table", "from version", "to version", "commits", "rows written", "rows deleted", "loaded whole"]
    print_table("Exported to ClickHouse", columns, [list(one.values()) for one in moved])


def _say_made(warehouse: Warehouse, *, as_json: bool) -> None:
    if as_json:
        print_json({"url": warehouse.url, "database": warehouse.database})
    else:
        say(f"The tables are in the database {warehouse.database} of {warehouse.url}.")


def close(
    which: Annotated[str, typer.Argument(metavar="DATE|CLOSE_ID", help="A date's newest close, or one by its id.")],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="A folder that is empty or not there.")],
    form: Annotated[Literal["parquet", "csv"], typer.Option("--format", help="Of the files.")] = "parquet",
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Without a signature.")] = False,
    settings: SettingsFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Write a close's facts and anomalies as files, with a manifest and its signature.

    The manifest has the close's row, its control totals and the SHA-256 of every file; manifest.json.sig is its
    HMAC-SHA256 by the key that warehouse.signing_key refers to.

    Example: reco export close 2026-03-09 --to out/2026-03-09 --format csv
    """
    chosen = load_settings(settings)
    key = None if unsigned else _key(chosen, "")
    manifest = write_bundle(find_close(chosen, which), to, form, key, _code_version())
    if as_json:
        print_json(manifest)
        return DONE
    print_table(
        f"Close {manifest['closeId']} in {to}",
        ["file", "rows", "bytes", "sha256"],
        [[file[name] for name in ("name", "rows", "bytes", "sha256")] for file in manifest["files"]],
    )
    return DONE


def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `reco export close` wrote.")],
    key: Annotated[str, typer.Option("--key", metavar="REF", help=f"{FORMS}; else the settings'.")] = "",
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Look at the files alone, not who wrote them.")] = False,
    settings: SettingsFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Say whether an exported close is whole and untouched; exit code 1 where it is not.

    Example: reco export verify out/2026-03-09 --key file:/run/secrets/reco-signing
    """
    manifest, wrong = verify_bundle(folder, None if unsigned else _key(load_settings(settings), key))
    if as_json:
        print_json({"closeId": manifest.get("closeId"), "whole": not wrong, "signed": not unsigned, "faults": wrong})
    elif wrong:
        say(f"{folder} is not what was exported:", *[f"- {fault}" for fault in wrong])
    else:
        by = "who wrote it was not looked at" if unsigned else "and signed by this key"
        say(f"{folder} is close {manifest['closeId']}, whole and untouched, {by}.")
    return FAILED if wrong else DONE


def _key(settings: Settings, reference: str) -> str:
    if reference:
        return secret(reference, "--key")
    reference = settings.warehouse.signing_key
    if not reference:
        raise UserError(f"warehouse.signing_key is not set: refer to the key as {FORMS}, or say --unsigned.")
    return secret(reference, "warehouse.signing_key")


def _code_version() -> str:
    try:
        return version("reco")
    except PackageNotFoundError:
        return "unpackaged"


add_function(app, clickhouse, "clickhouse", "Bring ClickHouse up to the lake.")
add_function(app, close, "close", "Write a close as signed files.")
add_function(app, verify, "verify", "Say whether an exported close is whole and untouched.")
