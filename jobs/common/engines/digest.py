"""What a row of a table is known by: 128 bits over every column but `close_id`, the same by Spark and without it.

Two chains of XXH64 (github.com/Cyan4973/xxHash), each column seeded by the one before; which columns are null is hashed
first. They tell apart what differs by accident, at a tenth of the cost of SHA-256 over the row's text.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pyspark.sql.types import StringType, StructField

from jobs.common.engines.xxhash import Words, folded, started
from schemas.tables import TABLES

CHAINS = (1, 2)
#: The names of a digest's four parts, of 32 bits each.
HASH_SUMS = ("hash_1", "hash_2", "hash_3", "hash_4")
#: So many rows at a time that calls cost less than the work, so few that their words take little memory.
_ROWS = 65_536


def digested(name: str) -> list[StructField]:
    """The columns of a table that its digest covers, in their order."""
    return [field for field in TABLES[name].schema.fields if field.name != "close_id"]


def digests(batches: Iterable[pl.DataFrame], name: str, threads: int) -> NDArray[np.int64]:
    """The digests of rows of a table's own types, in their order: (rows, 4)."""
    found: list[NDArray[np.int64]] = []
    with ThreadPoolExecutor(threads) as pool:
        for batch in batches:
            parts = [batch.slice(start, _ROWS) for start in range(0, batch.height, _ROWS)]
            found.extend(pool.map(lambda rows: _halves(_chains(rows, name)), parts))
    return np.concatenate(found) if found else np.empty((0, len(HASH_SUMS)), dtype=np.int64)


def _chains(rows: pl.DataFrame, name: str) -> Words:
    fields = digested(name)
    nulls = np.zeros(rows.height, dtype=np.uint64)
    for place, field in enumerate(fields):
        if rows[field.name].null_count():
            nulls |= rows[field.name].is_null().to_numpy().astype(np.uint64) << np.uint64(place)
    found, which = np.unique(nulls, return_inverse=True)
    marks = ["".join("0" if bits >> place & 1 else "1" for place in range(len(fields))) for bits in found.tolist()]
    patterns = pl.Series(marks, dtype=pl.String)
    hashes = folded(patterns, StringType(), started(CHAINS, len(patterns)))[:, which]
    for field in fields:
        hashes = folded(rows[field.name], field.dataType, hashes)
    return hashes


def _halves(chains: Words) -> NDArray[np.int64]:
    low = np.uint64(0xFFFFFFFF)
    return np.stack([half for chain in chains for half in (chain >> np.uint64(32), chain & low)], axis=1).astype(
        np.int64
    )
