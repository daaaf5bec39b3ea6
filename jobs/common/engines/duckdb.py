"""DuckDB as the engine of a close, on one machine and without a JVM: sqlframe speaks PySpark's language to it."""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import count
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
from arro3.core import RecordBatchReader, Table
from deltalake.exceptions import DeltaError
from pyspark.sql import DataFrame, Row
from pyspark.sql.types import StructType
from sqlframe.duckdb import DuckDBDataFrame, DuckDBSession
from sqlframe.duckdb.table import DuckDBTable

from jobs.common.engines import delta
from jobs.common.engines.digest import HASH_SUMS, digested, digests
from jobs.common.engines.duckdb_functions import Names
from jobs.common.engines.duckdb_types import sql_type
from jobs.common.local_rows import as_json
from jobs.common.settings import Settings
from reco_rules.engine import in_use
from schemas.tables import TABLES

Release = Callable[[], object]


class _Joining:
    """Frames that begin anew after a join: sqlframe is at a loss over names that both sides had."""

    def join(self, *arguments: Any, **options: Any) -> Any:
        joined: Any = super().join(*arguments, **options)  # type: ignore[misc]
        return joined.session.engine.narrowed(joined)


class _Frame(_Joining, DuckDBDataFrame):  # type: ignore[misc]
    pass


class _Table(_Joining, DuckDBTable):  # type: ignore[misc]
    _df = _Frame


class DuckSession(DuckDBSession):  # type: ignore[misc]
    """PySpark's session. The rows it gives out are pyspark's, with decimals, and times that know their zone."""

    engine: "DuckDBEngine"
    _df = _Frame
    _table = _Table

    def _collect(self, expressions: Any, *, skip_rows: bool = False, **options: Any) -> list[Row]:
        super()._collect(expressions, skip_rows=True, **options)
        if skip_rows or not self._cur.description:
            return []
        names, kinds = zip(*[(column[0], column[1]) for column in self._cur.description], strict=True)
        make = Row(*names)
        return [make(*map(_value, row, kinds)) for row in self._cur.fetchall()]


def _value(value: Any, kind: Any) -> Any:
    """A value as Spark gives it out: structs as rows."""
    if value is None:
        return None
    if kind.id == "struct":
        return Row(**{name: _value(value[name], inner) for name, inner in kind.children})
    if kind.id == "list":
        return [_value(item, kind.children[0][1]) for item in value]
    return value


@contextmanager
def duckdb_session(settings: Settings) -> Iterator[DuckSession]:
    """A session whose functions the rules call within, in this thread; nothing of it is left at the end."""
    scratch = tempfile.mkdtemp(prefix="reco-duckdb-")
    connection = duckdb.connect(config={"temp_directory": scratch})
    try:
        connection.execute("SET TimeZone = 'UTC'")
        session = DuckSession(conn=connection)
        session.engine = DuckDBEngine(session, connection)
        with in_use(Names):
            yield session
    finally:
        session.stop()
        connection.close()
        shutil.rmtree(scratch, ignore_errors=True)


class DuckDBEngine:
    """What `jobs.common.engines.Engine` asks for, by DuckDB and deltalake.

    Frames rest on views and tables of the connection: a step's text stays short, for sqlframe takes long over long ones.
    """

    name = "duckdb"
    errors: tuple[type[Exception], ...] = (duckdb.Error, DeltaError)

    def __init__(self, session: DuckSession, connection: duckdb.DuckDBPyConnection) -> None:
        self._session, self._connection = session, connection
        self._numbers = count(1)
        self._digested: dict[tuple[int, str], tuple[DataFrame, DataFrame]] = {}

    def exists(self, path: str) -> bool:
        return delta.exists(path)

    def version_of(self, path: str) -> int:
        return delta.opened(path).version()

    def version_noted(self, path: str, note: str) -> int | None:
        return delta.version_noted(path, note)

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
        inserts = "SELECT * EXCLUDE (_commit_timestamp) REPLACE (CAST(_commit_version AS BIGINT) AS _commit_version) FROM fed WHERE _change_type = 'insert'"
        return self._table(inserts, fed=fed)

    def ensure_table(self, settings: Settings, name: str) -> str:
        delta.created(settings, name)
        return settings.table_path(name)

    def append(self, rows: DataFrame, name: str, path: str) -> None:
        delta.append(delta.opened(path), self._stream(rows, name))

    def replace(self, rows: DataFrame, name: str, path: str, where: str, note: str) -> None:
        delta.replace(delta.opened(path), self._stream(rows, name), where, note)

    def overwrite(self, rows: DataFrame, name: str, path: str) -> None:
        shutil.rmtree(path, ignore_errors=True)
        delta.write_deltalake(path, self._stream(rows, name))

    def upsert(self, rows: DataFrame, name: str, path: str, key: str) -> None:
        delta.upsert(delta.opened(path), self._stream(rows, name), key)

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
        name = self._name()
        held = self._table(self._text(frame), name)
        return held, lambda: self._connection.execute(f"DROP TABLE IF EXISTS {name} CASCADE")

    def kept_rows(self, frame: DataFrame) -> tuple[DataFrame, Release]:
        return self.kept(frame)

    def narrowed(self, frame: DataFrame) -> DataFrame:
        return self._view(self._text(frame))

    def with_digest(self, rows: DataFrame, name: str) -> DataFrame:
        key = (id(rows), name)
        if key not in self._digested:
            kept = self._name()
            self._table(self._text(rows), kept)
            fields = digested(name)
            relation = self._connection.sql(_cast(f"SELECT * FROM {kept}", fields))
            batches = (pl.DataFrame(batch) for batch in RecordBatchReader.from_stream(relation))
            found = digests(batches, name, 2)
            parts = Table.from_arrow(pl.DataFrame({part: found[:, place] for place, part in enumerate(HASH_SUMS)}))
            beside = self._name()
            self._table("SELECT * FROM parts", beside, parts=parts)
            struct = ", ".join(f'"{part}" := {beside}."{part}"' for part in HASH_SUMS)
            joined = f"SELECT {kept}.*, struct_pack({struct}) AS digest FROM {kept} POSITIONAL JOIN {beside}"
            self._digested[key] = rows, self._view(joined)
        return self._digested[key][1]

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

    def _table(self, text: str, name: str | None = None, **sources: Any) -> DataFrame:
        name = name or self._name()
        for source, rows in sources.items():
            self._connection.register(source, rows)
        self._connection.execute(f"CREATE TABLE {name} AS {text}")
        for source in sources:
            self._connection.unregister(source)
        return self._frame(name)

    def _frame(self, name: str) -> DataFrame:
        frame: DataFrame = self._session.table(name)
        return frame

    def _name(self) -> str:
        return f"step_{next(self._numbers)}"


def _cast(text: str, fields: Sequence[Any]) -> str:
    columns = ", ".join(f'CAST("{field.name}" AS {sql_type(field.dataType)}) AS "{field.name}"' for field in fields)
    return f"SELECT {columns} FROM ({text})"


def _texts(values: Sequence[str]) -> str:
    quoted = [value.replace("'", "''") for value in values]
    return "[" + ", ".join(f"'{value}'" for value in quoted) + "]"
