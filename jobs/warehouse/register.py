"""`reco register`: the lake's tables in a catalog, with a comment on every column."""

from typing import Annotated

import typer

from jobs.common.command import add_function, load, new_app
from jobs.common.errors import DONE
from jobs.common.options import AsJson, Debug, SettingsFile
from jobs.common.output import print_json, print_table, say
from jobs.common.settings import load_settings
from jobs.warehouse import catalogs

app = new_app(no_args_is_help=True)

Only = Annotated[list[str] | None, typer.Option("--only", metavar="TABLE", help="Only this table.")]
Every = Annotated[bool, typer.Option("--all", help="All tables, also those that are not in the lake yet.")]
Printed = Annotated[bool, typer.Option("--print", help="Print what would be said to the catalog, and end.")]
Run = Annotated[
    bool,
    typer.Option("--run/--print", help="Run the statements with Spark, which must have that catalog; or print them."),
]
_COMMENT = "Reconciliation of Agoda's activities with its suppliers'"


def glue(
    database: Annotated[str, typer.Option("--database", help="Glue's database; made where it is missing.")] = "reco",
    only: Only = None,
    every: Every = False,
    printed: Printed = False,
    settings: SettingsFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Register the tables in AWS Glue, for Athena, EMR and Redshift Spectrum; again: what differs is updated.

    Example: reco register glue --database reco
    """
    catalogs.require_name(database)
    chosen = load_settings(settings)
    names = catalogs.chosen_tables(chosen, only or [], every=every)
    tables = [catalogs.glue_table(chosen, name) for name in names]
    if printed:
        print_json({"database": database, "tables": tables})
        return DONE
    done = load("jobs.warehouse.glue:register")(database, tables, _COMMENT)
    if as_json:
        print_json({"database": database, "tables": done})
    else:
        print_table(f"Glue, database {database}", ["table", "was"], list(done.items()))
    return DONE


def unity(
    catalog: Annotated[str, typer.Option("--catalog", help="Unity's catalog; it must be there.")] = "main",
    schema: Annotated[str, typer.Option("--schema", help="Its schema; made where it is missing.")] = "reco",
    only: Only = None,
    every: Every = False,
    run: Run = False,
    settings: SettingsFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Print the SQL that registers the tables in Unity Catalog as external ones, or run it (on Databricks).

    Example: reco register unity --catalog main --schema reco --all
    """
    chosen = load_settings(settings)
    names = catalogs.chosen_tables(chosen, only or [], every=every)
    return _say_or_run(
        catalogs.sql(chosen, names, schema, catalog=catalog), "unity", settings, run=run, as_json=as_json
    )


def hive(
    database: Annotated[str, typer.Option("--database", help="Its database; made where it is missing.")] = "reco",
    only: Only = None,
    every: Every = False,
    run: Run = False,
    settings: SettingsFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Print the SQL that registers the tables in a Hive metastore, or run it with Spark.

    Example: reco register hive --database reco --all
    """
    chosen = load_settings(settings)
    names = catalogs.chosen_tables(chosen, only or [], every=every)
    return _say_or_run(catalogs.sql(chosen, names, database), "hive", settings, run=run, as_json=as_json)


def _say_or_run(statements: list[str], what: str, settings: SettingsFile, *, run: bool, as_json: bool) -> int:
    if run:
        spark = load("jobs.common.session:spark_session")(f"reco register {what}", load_settings(settings))
        for statement in statements:
            spark.sql(statement)
    if as_json:
        print_json({"statements": statements} | ({"tables": len(statements) - 1} if run else {}))
    elif run:
        say(f"{len(statements) - 1} tables are registered.")
    else:
        typer.echo("".join(f"{statement};\n" for statement in statements), nl=False)
    return DONE


add_function(app, glue, "glue", "AWS Glue: Athena, EMR, Redshift Spectrum.")
add_function(app, unity, "unity", "Unity Catalog of Databricks.")
add_function(app, hive, "hive", "A Hive metastore, with Spark.")
