"""What one commit of a Delta table changed, from the files that it added and removed; no change feed is needed."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import sha256
from typing import Any

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from jobs.common.arrow import polars_schema
from jobs.common.errors import FAILED, UserError
from jobs.common.lake import open_table
from jobs.common.settings import Settings
from schemas.tables import TABLES

_PARTITION = "partition."
#: A file's path, and the values of its partition columns.
Files = dict[str, tuple[Any, ...]]


class GoneError(Exception):
    """A version or a file of it is no longer there; the table can only be read whole, as it is now."""


@dataclass(frozen=True)
class Snapshot:
    """The files of one version of a table."""

    name: str
    root: str
    table_id: str
    version: int
    partitioned_by: tuple[str, ...]
    files: Files

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the files' names, which are unique: another history of the same table has another."""
        return sha256("\n".join(sorted(self.files)).encode()).hexdigest()


@dataclass(frozen=True)
class Part:
    """Rows of one partition, and keys that are there no more."""

    partition: str
    upserts: pl.DataFrame
    deletions: pl.DataFrame


def newest(settings: Settings, name: str) -> Snapshot | None:
    """The table as it is now; None where there is none yet."""
    table = open_table(settings, name)
    return None if table is None else _snapshot(table, settings, name)


def at(settings: Settings, name: str, version: int) -> Snapshot:
    """The table at a version. GoneError where its log no longer tells."""
    table = open_table(settings, name)
    try:
        if table is None:
            raise GoneError
        table.load_as_version(version)
    except (DeltaError, OSError) as error:
        raise GoneError(str(error)) from error
    return _snapshot(table, settings, name)


def all_rows(snapshot: Snapshot) -> Iterator[Part]:
    """Every row, one partition after another."""
    for values, paths in _by_partition(snapshot.files):
        rows = _read(snapshot, paths, values)
        yield Part(_label(values), rows, rows.clear())


def changed_rows(before: Snapshot, after: Snapshot, key: tuple[str, ...]) -> Iterator[Part]:
    """What became of the rows between two versions, in the order of partitions; a rewritten row that is as before is
    left out, so that compaction changes nothing. GoneError where a file is no longer there.
    """
    removed = {path: values for path, values in before.files.items() if path not in after.files}
    added = {path: values for path, values in after.files.items() if path not in before.files}
    olds, news = dict(_by_partition(removed)), dict(_by_partition(added))
    for values in sorted({*olds, *news}, key=_label):
        old, new = _read(before, olds.get(values, []), values), _read(after, news.get(values, []), values)
        fresh = new.join(old, on=new.columns, how="anti", nulls_equal=True)
        gone = old.join(new, on=list(key), how="anti", nulls_equal=True)
        yield Part(_label(values), fresh, gone)


def _snapshot(table: DeltaTable, settings: Settings, name: str) -> Snapshot:
    if "deletionVectors" in (table.protocol().reader_features or []):
        raise UserError(
            f"The table {TABLES[name].path} may have deletion vectors, which hide rows of its files; set its property "
            "delta.enableDeletionVectors to false, then ALTER TABLE … DROP FEATURE deletionVectors.",
            FAILED,
        )
    by = tuple(TABLES[name].partition_by)
    actions = pl.DataFrame(table.get_add_actions(flatten=True))
    columns = [f"{_PARTITION}{column}" for column in by]
    files = {row[0]: tuple(row[1:]) for row in actions.select("path", *columns).rows()} if len(actions) else {}
    return Snapshot(name, settings.table_path(name), str(table.metadata().id), table.version(), by, files)


def _by_partition(files: Files) -> list[tuple[tuple[Any, ...], list[str]]]:
    found: dict[tuple[Any, ...], list[str]] = {}
    for path in sorted(files):
        found.setdefault(files[path], []).append(path)
    return sorted(found.items(), key=lambda item: _label(item[0]))


def _label(values: tuple[Any, ...]) -> str:
    return "/".join(value.isoformat() if isinstance(value, date | datetime) else str(value) for value in values)


def _read(snapshot: Snapshot, paths: list[str], values: tuple[Any, ...]) -> pl.DataFrame:
    """The rows of some files with the columns and types of `schemas`."""
    schema = polars_schema(TABLES[snapshot.name].schema)
    try:
        frames = [_conformed(pl.read_parquet(f"{snapshot.root}/{path}"), snapshot, values) for path in paths]
    except (pl.exceptions.PolarsError, OSError) as error:
        raise GoneError(str(error)) from error
    return pl.concat([pl.DataFrame(schema=schema), *frames])


def _conformed(rows: pl.DataFrame, snapshot: Snapshot, values: tuple[Any, ...]) -> pl.DataFrame:
    known = dict(zip(snapshot.partitioned_by, values, strict=True))

    def column(name: str, kind: pl.DataType) -> pl.Expr:
        if name in known:
            return pl.lit(known[name], dtype=kind).alias(name)
        if name not in rows.columns:
            return pl.lit(None, dtype=kind).alias(name)  # a file from before the column was added
        found = rows.schema[name]
        if isinstance(kind, pl.Datetime) and isinstance(found, pl.Datetime) and found.time_zone is None:
            return pl.col(name).dt.replace_time_zone("UTC").cast(kind)  # INT96, which Spark writes without a zone
        return pl.col(name).cast(kind)

    wanted = polars_schema(TABLES[snapshot.name].schema)
    return rows.select([column(name, kind) for name, kind in wanted.items()])
