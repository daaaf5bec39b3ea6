"""What runs a close: Spark, or DuckDB on this machine. Both read and write the same tables; `gold/closes` says which.

The steps of a close take the session of either, as PySpark programs do, and ask `engine_of` for what is not PySpark's
own language.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from jobs.common.settings import Settings

if TYPE_CHECKING:
    from jobs.common.engines.duckdb_frames import DuckSession

Session: TypeAlias = "SparkSession | DuckSession"
Release = Callable[[], object]


class Engine(Protocol):
    """Reads and writes Delta tables, and holds what several steps read."""

    name: str
    #: What its failures are.
    errors: tuple[type[Exception], ...]
    #: Whether rows are better told apart in one more pass than all put in order.
    sorts_dearly: bool

    def exists(self, path: str) -> bool:
        """Whether a Delta table with at least one commit lies there."""

    def version_of(self, path: str) -> int:
        """The table's newest version."""

    def version_noted(self, path: str, note: str) -> int | None:
        """The newest version whose commit bears the note; None where there is none."""

    def notes(self, path: str, limit: int) -> list[str]:
        """What the newest so many commits bear as notes, newest first."""

    def read(self, path: str, version: int | None = None) -> DataFrame:
        """The table as it is, or as it was at a version."""

    def inserts_since(self, path: str, version: int) -> DataFrame:
        """Rows that were added after a version, with `_commit_version`; the table keeps its change data feed."""

    def ensure_table(self, settings: Settings, name: str) -> str:
        """Create the table where it is not there, check that it has our columns, and return its path."""

    def append(self, rows: DataFrame, name: str, path: str) -> None:
        """Append the rows, as the table's types, in one commit."""

    def replace(self, rows: DataFrame, name: str, path: str, where: str, note: str) -> None:
        """Put the rows in the place of those where the predicate holds, in one commit that bears the note."""

    def overwrite(self, rows: DataFrame, name: str, path: str) -> None:
        """A table of these rows alone, in the place of what was there."""

    def upsert(self, rows: DataFrame, name: str, path: str, key: str, version: int) -> None:
        """Put the rows in the place of those with the same key, and add the others, in one commit.

        TableMovedError where the table is no longer at the version, from which the rows are derived.
        """

    def delete(self, path: str) -> None:
        """Delete a folder, and the one above it where that is empty then."""

    def conformed(self, rows: DataFrame, name: str) -> DataFrame:
        """The rows with exactly the table's columns, in its order and with its types."""

    def local_rows(self, rows: Sequence[Sequence[Any]], schema: StructType) -> DataFrame:
        """A handful of rows of this process as a DataFrame; see jobs/common/local_rows.py."""

    def held(self, frame: DataFrame) -> DataFrame:
        """A small result, computed once."""

    def kept(self, frame: DataFrame) -> tuple[DataFrame, Release]:
        """The same rows, computed once, and what lets them go."""

    def kept_rows(self, frame: DataFrame) -> tuple[DataFrame, Release]:
        """The same for many wide rows that are read whole."""

    def fixed(self, frame: DataFrame) -> tuple[DataFrame, Release]:
        """The same for rows that stay what they were when tables that they come from are written."""

    def settled(self, frame: DataFrame) -> tuple[DataFrame, Release]:
        """The same rows, derived from kept ones row by row: computed once only where that costs less than again."""

    def with_digest(self, rows: DataFrame, name: str) -> DataFrame:
        """Add `digest`, a struct of the four bigints of HASH_SUMS: what a row of that table is known by."""

    def quick(self) -> AbstractContextManager[None]:
        """Within it, plans over a handful of rows take little time."""


def engine_of(session: Any) -> Engine:
    """The engine of a session."""
    if isinstance(session, SparkSession):
        from jobs.common.engines.spark import SparkEngine

        return SparkEngine(session)
    engine: Engine = session.engine
    return engine
