"""Which engine runs a command: what its option says, else the settings, else what this machine's memory allows."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from enum import StrEnum
from importlib.util import find_spec
from typing import Annotated

import typer

from jobs.common import log
from jobs.common.engines import Session
from jobs.common.errors import UserError
from jobs.common.session import spark_session
from jobs.common.settings import Settings


class EngineName(StrEnum):
    """What may be asked for."""

    AUTO = "auto"
    DUCKDB = "duckdb"
    SPARK = "spark"


EngineOption = Annotated[
    EngineName | None,
    typer.Option("--engine", help="What computes: duckdb on this machine, spark, or auto; daily.engine by default."),
]


@contextmanager
def session_for(
    app: str, settings: Settings, asked: EngineName | None = None, days: Sequence[date] = ()
) -> Iterator[Session]:
    """The session of a command, which says in the log what it is and why. UserError where what is asked cannot be.

    `days`: those it reads; every day where none is given.
    """
    name, why = chosen(settings, asked or EngineName(settings.daily.engine), days)
    log.get_logger(__name__).info("engine", engine=name.value, why=why)
    if name is EngineName.SPARK:
        yield spark_session(app, settings)
        return
    from jobs.common.engines.duckdb import duckdb_session

    with duckdb_session(settings) as session:
        yield session


def chosen(settings: Settings, asked: EngineName, days: Sequence[date]) -> tuple[EngineName, str]:
    """The engine, and why, in words for the log."""
    cannot = _why_not_duckdb(settings)
    if asked is EngineName.SPARK:
        return EngineName.SPARK, "asked for"
    if asked is EngineName.DUCKDB:
        if cannot:
            raise UserError(f"--engine duckdb cannot run here: {cannot}; say --engine spark.")
        return EngineName.DUCKDB, "asked for"
    if cannot:
        return EngineName.SPARK, cannot
    return EngineName.DUCKDB, "the lake is a folder of this machine"


def _why_not_duckdb(settings: Settings) -> str | None:
    if not settings.is_local_lake:
        return f"the lake {settings.lake.root} is no folder of this machine"
    if "SPARK_ENV_LOADED" in os.environ:
        return "the program was submitted to Spark"
    missing = [name for name in ("duckdb", "sqlframe", "pytz") if find_spec(name) is None]
    return f"the package {missing[0]} is not installed (pip install 'reco[duckdb]')" if missing else None
