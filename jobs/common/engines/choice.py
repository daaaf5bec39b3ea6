"""Which engine runs a command: what its option says, else the settings, else what this machine's memory allows."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import date
from enum import StrEnum
from importlib.util import find_spec
from typing import Annotated, NamedTuple

import polars as pl
import typer
from pyspark.sql import SparkSession

from jobs.common import log
from jobs.common.engines import Session
from jobs.common.engines.memory import Limits, limits_of, text_of
from jobs.common.errors import FAILED, UserError
from jobs.common.lake import open_table
from jobs.common.session import spark_session, untold_tasks
from jobs.common.settings import Settings

#: What a close by DuckDB takes for each byte of its day's files in silver/activity or for each of their rows, whichever
#: is more, and takes anyway: measured by `python -m bench --engines`, docs/duckdb.md. Files that were put together, or
#: whose values repeat, are small for what they hold.
MEMORY_PER_BYTE = 12
MEMORY_PER_ROW = 600
MEMORY_ANYWAY = 1_000_000_000


class EngineName(StrEnum):
    """What may be asked for."""

    AUTO = "auto"
    DUCKDB = "duckdb"
    SPARK = "spark"


EngineOption = Annotated[
    EngineName | None,
    typer.Option("--engine", help="What computes: duckdb on this machine, spark, or auto; daily.engine by default."),
]


class Work(NamedTuple):
    """What a command reads at once: the files of these days of silver, of every day where none is named."""

    command: str
    days: Sequence[date] = ()


@contextmanager
def session_for(app: str, settings: Settings, asked: EngineName | None, work: Work | None = None) -> Iterator[Session]:
    """The session of a command; the log says which engine it is and why. UserError where what is asked cannot be.

    `work`: None for a command that reads little, whatever the size of a day.
    """
    name, why = chosen(settings, asked or EngineName(settings.daily.engine), work)
    log.get_logger(__name__).info("engine", engine=name.value, why=why)
    if name is EngineName.SPARK:
        session = spark_session(app, settings)
        with nullcontext() if log.get_logger(__name__).is_enabled_for(logging.DEBUG) else untold_tasks(session):
            yield session
        return
    import duckdb

    from jobs.common.engines.duckdb import duckdb_session

    try:
        with duckdb_session(settings) as session:
            yield session
    except duckdb.OutOfMemoryException as error:
        limits = limits_of(settings)
        again = f"`{work.command} --engine spark`" if work else "--engine spark"
        raise UserError(
            f"DuckDB ran out of its {text_of(limits.memory)} of memory and {text_of(limits.spill)} of disk; nothing is "
            f"half written. Say {again}, or raise daily.duckdb_memory or daily.duckdb_spill.",
            FAILED,
        ) from error


def chosen(settings: Settings, asked: EngineName, work: Work | None) -> tuple[EngineName, str]:
    """The engine, and why, in words for the log."""
    if asked is EngineName.SPARK:
        return EngineName.SPARK, "asked for"
    cannot = _why_not_duckdb(settings)
    if cannot and asked is EngineName.DUCKDB:
        raise UserError(f"--engine duckdb cannot run here: {cannot}; say --engine spark.")
    if cannot:
        return EngineName.SPARK, cannot
    if asked is EngineName.AUTO and SparkSession.getActiveSession() is not None:
        return EngineName.SPARK, "a session of Spark runs in this process already"
    if work is None:
        return EngineName.DUCKDB, "it reads little of a lake on this machine"
    limits = limits_of(settings)
    day = largest_day(settings, work.days)
    need = memory_of(day)
    what = f"{day.rows:,} rows of a day, {text_of(day.size)} of files, take some {text_of(need)}"
    if asked is EngineName.DUCKDB:
        _require_room(work, what, need, limits)
        return EngineName.DUCKDB, "asked for"
    if need > limits.memory:
        return EngineName.SPARK, f"{what} of memory, more than the {text_of(limits.memory)} that DuckDB may take"
    return EngineName.DUCKDB, f"{what} of memory, of the {text_of(limits.memory)} that DuckDB may take"


class Day(NamedTuple):
    """What silver/activity has of a day: bytes of its files, and their rows as far as the log tells."""

    size: int = 0
    rows: int = 0


def memory_of(day: Day) -> int:
    """Bytes that a close of the day by DuckDB takes."""
    return MEMORY_ANYWAY + max(MEMORY_PER_BYTE * day.size, MEMORY_PER_ROW * day.rows)


def largest_day(settings: Settings, days: Sequence[date]) -> Day:
    """The one of these days that takes the most memory, of all days where none is named."""
    table = open_table(settings, "activity")
    if table is None:
        return Day()
    files = pl.DataFrame(table.get_add_actions(flatten=True))
    name = "partition.event_date"
    if name not in files.columns:
        return Day()
    by_day = files.group_by(pl.col(name).cast(pl.Date)).agg(pl.col("size_bytes").sum(), pl.col("num_records").sum())
    if days:
        by_day = by_day.filter(pl.col(name).is_in(list(days)))
    found = [Day(size, rows) for size, rows in by_day.select("size_bytes", "num_records").iter_rows()]
    return max(found, key=memory_of, default=Day())


def _require_room(work: Work, what: str, need: int, limits: Limits) -> None:
    if need > limits.memory + limits.spill:
        raise UserError(
            f"{what}, and DuckDB may take {text_of(limits.memory)} of memory and {text_of(limits.spill)} of disk: say "
            f"`{work.command} --engine spark`, or raise daily.duckdb_memory or daily.duckdb_spill."
        )


def _why_not_duckdb(settings: Settings) -> str | None:
    if not settings.is_local_lake:
        return f"the lake {settings.lake.root} is no folder of this machine"
    if "SPARK_ENV_LOADED" in os.environ:
        return "the program was submitted to Spark"
    missing = [name for name in ("duckdb", "sqlframe", "pytz") if find_spec(name) is None]
    return f"the package {missing[0]} is not installed (pip install 'reco[duckdb]')" if missing else None
