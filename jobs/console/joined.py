"""Close and stream as one: each exception once, by whoever knows it best; made anew only where a table changed."""

import polars as pl
from deltalake import DeltaTable

from jobs.common.arrow import polars_schema
from jobs.common.lake import scan
from jobs.console.changes import changes
from jobs.console.ranks import merged
from schemas.tables import TABLES

#: Words that come back in a million rows are kept once.
WORDS = pl.Categorical()
#: Parts that a frame may be of before they are put together: of more than eight Polars does so at each look.
_PARTS = 6
KEY = ("exception_id", "supplier_id", "activity_id", "anomaly_type")
_CLOSE = (*KEY, "state", "severity", "amount_at_risk_usd", "first_seen_date", "last_seen_date", "resolved_date")
_NRT = (*KEY, "state", "severity", "amount_at_risk_usd", "known_since", "first_seen_at", "opened_at", "resolved_at",
        "held_by", "reopened")  # fmt: skip


_COLUMNS = {"exceptions": _CLOSE, "nrt_exceptions": _NRT}


def schema_of(name: str) -> pl.Schema:
    """The columns that are looked at of `exceptions` or `nrt_exceptions`."""
    kinds = polars_schema(TABLES[name].schema)
    return pl.Schema({column: kinds[column] for column in _COLUMNS[name]})


def rows_of(name: str, table: DeltaTable | None) -> pl.LazyFrame:
    """Its rows; none where there is no table yet."""
    schema = schema_of(name)
    return pl.LazyFrame(schema=schema) if table is None else scan(table).select(list(schema))


def joined(close: pl.LazyFrame, stream: pl.LazyFrame) -> pl.DataFrame:
    """One row an exception of either; rows of `rows_of`, whole tables or the same exceptions of both."""
    both = close.join(stream, on=KEY, how="full", coalesce=True, suffix="_nrt", nulls_equal=True)
    midnight = pl.max_horizontal("last_seen_date", "resolved_date").dt.offset_by("1d").cast(pl.Datetime("us", "UTC"))
    told_at = pl.max_horizontal("first_seen_at", "opened_at", "resolved_at")
    # The close is the authority on its day; what the stream saw after that day is newer.
    by_stream = pl.col("state").is_null() | (told_at >= midnight).fill_null(False)

    def newer(name: str) -> pl.Expr:
        return pl.when(by_stream).then(pl.col(f"{name}_nrt")).otherwise(pl.col(name))

    first_day = pl.col("first_seen_date").cast(pl.Datetime("us", "UTC"))
    return both.select(
        "exception_id",
        pl.col("supplier_id").cast(WORDS),
        "activity_id",
        pl.col("anomaly_type").cast(WORDS),
        newer("state").cast(WORDS).alias("state"),
        pl.when(pl.col("last_seen_date").is_null())
        .then(pl.lit("PROVISIONAL"))
        .otherwise(pl.lit("FINAL"))
        .cast(WORDS)
        .alias("verdict"),
        newer("severity").cast(WORDS).alias("severity"),
        newer("amount_at_risk_usd").alias("amount_at_risk_usd"),
        pl.min_horizontal("known_since", first_day).fill_null(pl.col("first_seen_at")).alias("since"),
        "last_seen_date",
        pl.coalesce(pl.when(by_stream).then(told_at), midnight, told_at).alias("changed_at"),
        pl.col("held_by").is_not_null().alias("held"),
        pl.col("reopened"),
    ).collect(engine="streaming")


def patched(
    rows: pl.DataFrame,
    by_id: pl.Series,
    before: dict[str, DeltaTable | None],
    now: dict[str, DeltaTable | None],
) -> tuple[pl.DataFrame, pl.Series] | None:
    """What `joined` makes of the tables now, by what it made of them before: only exceptions that changed are looked at
    again. The rows (of `before`, with `row`) and their order by id; None where all have to be read.
    """
    found = {name: changes(before[name], table, "exception_id", schema_of(name)) for name, table in now.items()}
    changed = {name: one for name, one in found.items() if one is not None}
    if len(changed) < len(found):
        return None
    ids = pl.concat([one.keys for one in changed.values()]).unique()
    old = rows.drop("row")
    if ids.is_empty():
        return old, by_id
    touched = old.select(pl.col("exception_id").is_in(ids.implode()))["exception_id"]
    closed = bool((touched & (old["verdict"] == "FINAL")).any()) or not changed["exceptions"].keys.is_empty()
    close = _those(ids, "exceptions", now) if closed else pl.LazyFrame(schema=schema_of("exceptions"))
    only_stream = changed["exceptions"].keys.is_empty()
    stream = changed["nrt_exceptions"].rows.lazy() if only_stream else _those(ids, "nrt_exceptions", now)
    fresh = joined(close, stream)
    whole = pl.concat([old.filter(~touched) if touched.any() else old, fresh])
    whole = whole.rechunk() if whole.n_chunks() > _PARTS else whole
    return whole, merged(by_id, ~touched, whole["exception_id"])


def _those(ids: pl.Series, name: str, tables: dict[str, DeltaTable | None]) -> pl.LazyFrame:
    return rows_of(name, tables[name]).filter(pl.col("exception_id").is_in(ids.implode()))
