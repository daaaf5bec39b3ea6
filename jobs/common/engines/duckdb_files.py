"""One partition of a Delta table as one Parquet file that DuckDB writes itself, on all cores."""

import json
import re
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import duckdb
from deltalake.transaction import AddAction


class Partition(NamedTuple):
    """The value of a table's one partition column."""

    column: str
    value: str


def whole_partition(where: str, partition_by: Sequence[str]) -> Partition | None:
    """The partition that a predicate names, where it names one and nothing else."""
    found = re.fullmatch(r"(\w+) = '([\w-]+)'", where)
    return Partition(*found.groups()) if found and list(partition_by) == [found[1]] else None


def written(
    connection: duckdb.DuckDBPyConnection, text: str, path: str, partition: Partition, skipping: Sequence[str]
) -> AddAction | None:
    """Write a query's rows, which are all of that partition, and give the action that adds their file to the table.

    None where there are no rows.

    `skipping`: columns whose least and greatest values the log keeps. Until the action is committed nobody sees the
    file; where it never is, VACUUM removes it.
    """
    folder = f"{partition.column}={partition.value}"
    name = f"{folder}/part-00000-{uuid.uuid4()}-c000.snappy.parquet"
    file = Path(path, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    # Rows in any order: else DuckDB gathers row groups in order and writes with one core.
    connection.execute("SET preserve_insertion_order = false")
    try:
        place = str(file).replace("'", "''")
        rows = f'SELECT * EXCLUDE ("{partition.column}") FROM ({text})'  # noqa: S608 — a frame's own text
        connection.execute(f"COPY ({rows}) TO '{place}' (FORMAT parquet, COMPRESSION snappy)")
    finally:
        connection.execute("SET preserve_insertion_order = true")
    stats = _stats(connection, str(file), [column for column in skipping if column != partition.column])
    if not stats["numRecords"]:
        file.unlink()
        return None
    told = file.stat()
    return AddAction(
        quote(name, safe="/=-_."),
        told.st_size,
        {partition.column: partition.value},
        int(told.st_mtime * 1000),
        True,
        json.dumps(stats),
    )


def _stats(connection: duckdb.DuckDBPyConnection, file: str, columns: Sequence[str]) -> dict[str, object]:
    asked = ["count(*)", *[f'{kind}("{column}")' for column in columns for kind in ("min", "max", "count")]]
    statement = f"SELECT {', '.join(asked)} FROM read_parquet($file)"  # noqa: S608 — columns of our own schema
    [row] = connection.execute(statement, {"file": file}).fetchall()
    found = dict(zip(columns, zip(*[iter(row[1:])] * 3, strict=True), strict=True))
    known = {column: (least, greatest) for column, (least, greatest, _) in found.items() if least is not None}
    return {
        "numRecords": row[0],
        "minValues": {column: str(least) for column, (least, _) in known.items()},
        "maxValues": {column: str(greatest) for column, (_, greatest) in known.items()},
        "nullCount": {column: row[0] - there for column, (*_, there) in found.items()},
    }
