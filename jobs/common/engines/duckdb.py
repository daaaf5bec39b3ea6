"""DuckDB as the engine of a close, on one machine and without a JVM: sqlframe speaks PySpark's language to it."""

import gc
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
from arro3.core import RecordBatchReader, Table
from deltalake import write_deltalake
from deltalake.exceptions import DeltaError
from pyspark.sql import DataFrame
from pyspark.sql.types import StructType
from sqlglot import exp

from jobs.common.engines import delta
from jobs.common.engines.digest import HASH_SUMS, digested, digests
from jobs.common.engines.duckdb_files import whole_partition, written
from jobs.common.engines.duckdb_frames import DuckSession
from jobs.common.engines.duckdb_functions import Names
from jobs.common.engines.duckdb_types import sql_type
from jobs.common.engines.memory import limits_of
from jobs.common.errors import UserError
from jobs.common.local_rows import as_json
from jobs.common.places import writing
from jobs.common.settings import Settings
from reco_rules.engine import in_use
from schemas.tables import TABLES

Release = Callable[[], object]
_SCRATCH = "reco-duckdb-"
#: Of the others a day has few rows, which deltalake writes as soon and checks against the predicate.
_LARGE = {"reconciliation_facts"}


@contextmanager
def duckdb_session(settings: Settings) -> Iterator[DuckSession]:
    """A session whose functions the rules call within, in this thread; nothing of it is left at the end."""
    limits, often = limits_of(settings), gc.get_threshold()
    # The trees that SQL is written from are many small objects that all live: looking for dead ones takes a twelfth of
    # a small close.
    gc.set_threshold(50_000, 20, 100)
    scratch = scratch_folder(settings.daily.duckdb_folder or Path(tempfile.gettempdir()))
    connection = duckdb.connect(
        config={
            "memory_limit": f"{limits.memory}B",
            "temp_directory": str(scratch),
            "max_temp_directory_size": f"{limits.spill}B",
        }
    )
    try:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET enable_progress_bar = false")
        session = DuckSession(conn=connection)
        session.engine = DuckDBEngine(session, connection, scratch, limits.spill)
        with in_use(Names):
            yield session
    finally:
        gc.set_threshold(*often)
        session.stop()
        connection.close()
        shutil.rmtree(scratch, ignore_errors=True)


def scratch_folder(place: Path) -> Path:
    """A new folder for this process; those of processes that were killed are deleted."""
    for left in place.glob(f"{_SCRATCH}*"):
        owner = left.name.removeprefix(_SCRATCH).partition("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists() and Path("/proc/self").exists():
            shutil.rmtree(left, ignore_errors=True)
    with writing("daily.duckdb_folder", place):
        return Path(tempfile.mkdtemp(prefix=f"{_SCRATCH}{os.getpid()}-", dir=place))


class DuckDBEngine:
    """What `jobs.common.engines.Engine` asks for, by DuckDB and deltalake.

    Frames rest on views and tables of the connection, so that a step's text stays short: sqlframe takes long over it.
    """

    name = "duckdb"
    errors: tuple[type[Exception], ...] = (UserError, duckdb.Error, DeltaError)
    sorts_dearly = True

    def __init__(self, session: DuckSession, connection: duckdb.DuckDBPyConnection, scratch: Path, spill: int) -> None:
        self._session, self._connection = session, connection
        self._scratch, self._spill = scratch, spill
        self._numbers = count(1)
        self._tables: dict[int, tuple[DataFrame, str]] = {}
        self._digested: dict[str, tuple[DataFrame, DataFrame]] = {}

    def exists(self, path: str) -> bool:
        return delta.exists(path)

    def version_of(self, path: str) -> int:
        return delta.opened(path).version()

    def version_noted(self, path: str, note: str) -> int | None:
        return delta.version_noted(path, note)

    def notes(self, path: str, limit: int) -> list[str]:
        return delta.notes(path, limit)

    def read(self, path: str, version: int | None = None) -> DataFrame:
        table = delta.opened(path, version)
        files = delta.files_of(table)
        kinds = StructType.fromJson(json.loads(table.schema().to_json()))
        if not files.paths:
            nothing = ", ".join(f'CAST(NULL AS {sql_type(f.dataType)}) AS "{f.name}"' for f in kinds.fields)
            return self._view(f"SELECT {nothing} WHERE false")
        columns = ", ".join(f'CAST("{field.name}" AS {sql_type(field.dataType)}) AS "{field.name}"' for field in kinds)
        options = ["hive_partitioning = false"]
        if files.partition_by:
            types = ", ".join(f'"{name}": {sql_type(kinds[name].dataType)}' for name in files.partition_by)
            options = ["hive_partitioning = true", f"hive_types = {{{types}}}"]
        else:
            options.append("union_by_name = true")  # columns were added since its first files
        return self._view(f"SELECT {columns} FROM read_parquet({_texts(files.paths)}, {', '.join(options)})")

    def inserts_since(self, path: str, version: int) -> DataFrame:
        table = delta.opened(path)
        fed = RecordBatchReader.from_stream(table.load_cdf(starting_version=version + 1))
        version_too = "* EXCLUDE (_commit_timestamp) REPLACE (CAST(_commit_version AS BIGINT) AS _commit_version)"
        return self._table(f"SELECT {version_too} FROM fed WHERE _change_type = 'insert'", fed=fed)

    def ensure_table(self, settings: Settings, name: str) -> str:
        delta.created(settings, name)
        return settings.table_path(name)

    def append(self, rows: DataFrame, name: str, path: str) -> None:
        delta.append(delta.opened(path), self._stream(rows, name))

    def replace(self, rows: DataFrame, name: str, path: str, where: str, note: str) -> None:
        table = delta.opened(path)
        partition = whole_partition(where, table.metadata().partition_columns)
        if partition is None or name not in _LARGE:
            delta.replace(table, self._stream(rows, name), where, note)
        else:
            text = _cast(self._text(rows), TABLES[name].schema.fields)
            file = written(self._connection, text, path, partition, TABLES[name].skipping)
            delta.replace_partition(path, partition, file, note)

    def overwrite(self, rows: DataFrame, name: str, path: str) -> None:
        shutil.rmtree(path, ignore_errors=True)
        write_deltalake(path, self._stream(rows, name))

    def upsert(self, rows: DataFrame, name: str, path: str, key: str, version: int) -> None:
        delta.upsert(delta.opened(path, version), self._stream(rows, name), key)

    def delete(self, path: str) -> None:
        shutil.rmtree(path, ignore_errors=True)
        parent = Path(path).parent
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()

    def conformed(self, rows: DataFrame, name: str) -> DataFrame:
        return self._view(_cast(self._text(rows), TABLES[name].schema.fields))

    def local_rows(self, rows: Sequence[Sequence[Any]], schema: StructType) -> DataFrame:
        text = as_json(rows, schema).replace("'", "''")
        columns = ", ".join(f'"row"."{field.name}"' for field in schema.fields)
        each = f"SELECT unnest(CAST('{text}'::JSON AS {sql_type(schema)}[]), recursive := false) AS \"row\""
        return self._table(f"SELECT {columns} FROM ({each})")

    def held(self, frame: DataFrame) -> DataFrame:
        return self._table(self._text(frame))

    def kept(self, frame: DataFrame) -> tuple[DataFrame, Release]:
        held = self._table(self._text(frame))
        return held, lambda: self._drop(held)

    def kept_rows(self, frame: DataFrame) -> tuple[DataFrame, Release]:
        return self.kept(frame)

    def fixed(self, frame: DataFrame) -> tuple[DataFrame, Release]:
        return self.kept(frame)

    def settled(self, frame: DataFrame) -> tuple[DataFrame, Release]:
        return self.kept(frame)

    def renewed(self, frame: DataFrame) -> DataFrame:
        """The same rows by a view: to sqlframe a frame without a past."""
        return self._view(self._text(frame))

    def with_digest(self, rows: DataFrame, name: str) -> DataFrame:
        kept = self._table_of(rows)
        if kept not in self._digested:
            fields = digested(name)
            relation = self._connection.sql(_cast(f"SELECT * FROM {kept}", fields))
            batches = (pl.DataFrame(batch) for batch in RecordBatchReader.from_stream(relation))
            found = digests(batches, name, 2)
            parts = Table.from_arrow(pl.DataFrame({part: found[:, place] for place, part in enumerate(HASH_SUMS)}))
            held = self._table("SELECT * FROM parts", parts=parts)
            beside = self._table_of(held)
            struct = ", ".join(f'"{part}" := {beside}."{part}"' for part in HASH_SUMS)
            joined = f"SELECT {kept}.*, struct_pack({struct}) AS digest FROM {kept} POSITIONAL JOIN {beside}"
            self._digested[kept] = self._view(joined), held
        return self._digested[kept][0]

    def quick(self) -> AbstractContextManager[None]:
        return nullcontext()

    def _text(self, frame: DataFrame) -> str:
        found: Any = frame
        statements = [self._session._to_sql(expression) for expression in found._get_expressions(optimize=False)]
        assert len(statements) == 1
        return str(statements[0])

    def _stream(self, rows: DataFrame, name: str) -> Any:
        return self._connection.sql(_cast(self._text(rows), TABLES[name].schema.fields))

    def _view(self, text: str) -> DataFrame:
        name = self._name()
        self._connection.execute(f"CREATE VIEW {name} AS {text}")
        return self._frame(name)

    def _table(self, text: str, **sources: Any) -> DataFrame:
        name = self._name()
        for source, rows in sources.items():
            self._connection.register(source, rows)
        self._connection.execute(f"CREATE TABLE {name} AS {text}")
        for source in sources:
            self._connection.unregister(source)
        # DuckDB 2.0 itself does not count what tables put there.
        if sum(file.stat().st_size for file in self._scratch.iterdir()) > self._spill:
            raise duckdb.OutOfMemoryException(f"more than {self._spill} bytes in {self._scratch}")
        frame = self._frame(name)
        self._tables[id(frame)] = frame, name
        return frame

    def _table_of(self, rows: DataFrame) -> str:
        """The name of the table that holds the rows; made where they are not held yet."""
        if id(rows) not in self._tables:
            rows = self._table(self._text(rows))
        return self._tables[id(rows)][1]

    def _drop(self, held: DataFrame) -> None:
        _, name = self._tables.pop(id(held))
        if name in self._digested:
            self._drop(self._digested.pop(name)[1])
        self._connection.execute(f"DROP TABLE IF EXISTS {name}")

    def _frame(self, name: str) -> DataFrame:
        """As the session's `table`, which takes ten times as long to find out the columns."""
        described = self._connection.execute(f"DESCRIBE {name}").fetchall()
        kinds = {column: _kind(kind).copy() for column, kind, *_ in described}
        self._session.catalog._schema.add_table(exp.to_table(name), kinds, dialect=self._session.input_dialect)
        frame: DataFrame = self._session._create_table(exp.select(*map(exp.column, kinds)).from_(name))
        return frame

    def _name(self) -> str:
        return f"step_{next(self._numbers)}"


@cache
def _kind(text: str) -> exp.DataType:
    return exp.DataType.build(text, dialect="duckdb")


def _cast(text: str, fields: Sequence[Any]) -> str:
    columns = ", ".join(f'CAST("{field.name}" AS {sql_type(field.dataType)}) AS "{field.name}"' for field in fields)
    return f"SELECT {columns} FROM ({text})"


def _texts(values: Sequence[str]) -> str:
    quoted = [value.replace("'", "''") for value in values]
    return "[" + ", ".join(f"'{value}'" for value in quoted) + "]"
