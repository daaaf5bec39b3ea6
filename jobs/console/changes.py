"""What a table's newer version has that an older one had not, by the files that came and went: nothing else is read."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl
from deltalake import DeltaTable
from polars.exceptions import PolarsError

#: Rows in files that came or went, from which on reading everything again is no dearer.
MOST_ROWS = 200_000


@dataclass(frozen=True)
class Changes:
    """`rows`: those that are new or other than they were, of the newer version; `keys`: theirs, and those of rows that
    are gone.
    """

    rows: pl.DataFrame
    keys: pl.Series


def changes(older: DeltaTable | None, newer: DeltaTable | None, key: str, schema: pl.Schema) -> Changes | None:
    """What changed in the columns of `schema`; None where only reading everything tells: another table in its place,
    files that are gone, are of another shape or lie in no folder of this machine, or too many rows.
    """
    nothing = pl.DataFrame(schema=schema)
    if newer is None:
        return None if older is not None else Changes(nothing, nothing[key])
    if older is not None and older.metadata().id != newer.metadata().id:
        return None
    if set(newer.metadata().partition_columns) & set(schema):
        return None
    had = set() if older is None else set(older.file_uris())
    has = set(newer.file_uris())
    came, gone = _read(has - had, schema), _read(had - has, schema)
    if came is None or gone is None:
        return None
    columns = list(schema)
    rows = came.join(gone, on=columns, how="anti", nulls_equal=True)
    left = gone.join(came, on=columns, how="anti", nulls_equal=True)
    return Changes(rows, pl.concat([rows[key], left[key]]).unique())


def _read(files: set[str], schema: pl.Schema) -> pl.DataFrame | None:
    if not files:
        return pl.DataFrame(schema=schema)
    if not all(Path(file).is_file() for file in files):
        return None
    found = pl.scan_parquet(sorted(files), hive_partitioning=False)
    try:
        if found.select(pl.len()).collect().item() > MOST_ROWS:
            return None
        # Spark writes times without a zone, in nanoseconds.
        return found.select(pl.col(name).cast(kind) for name, kind in schema.items()).collect()
    except (PolarsError, OSError):  # of another shape, or gone by now: the Delta log knows what to make of them
        return None
