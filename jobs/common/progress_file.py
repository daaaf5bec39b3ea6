"""The file in which a query of the stream tells how far it is, for `reco status`, which has no JVM to ask."""

from datetime import datetime
from typing import Any

import polars as pl

from jobs.common.errors import FAILED, UserError
from jobs.common.settings import Settings

QUERIES = ("normalise", "match")
_SCHEMA = {
    "query": pl.String,
    "state": pl.String,
    "why": pl.String,
    "told_at": pl.String,
    "batch": pl.Int64,
    "batch_ended_at": pl.String,
    "batch_seconds": pl.Float64,
    "state_rows": pl.Int64,
    "state_memory_bytes": pl.Int64,
    "state_disk_bytes": pl.Int64,
    "watermark": pl.String,
    "watermark_lag_seconds": pl.Float64,
    "rows_dropped_by_watermark": pl.Int64,
}
_TIMES = ("told_at", "batch_ended_at", "watermark")


def progress_file(settings: Settings, query: str) -> str:
    """Where a query tells: one line of JSON."""
    return f"{settings.stream.checkpoint_root}/progress/{query}.json"


def read_progress(settings: Settings, query: str) -> dict[str, Any] | None:
    """What the query told last, every key there (times as datetimes, null where unknown); None where it never did."""
    path = progress_file(settings, query)
    try:
        lines = pl.scan_ndjson(path, schema=_SCHEMA).collect().to_dicts()
    except FileNotFoundError:
        return None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"The stream's progress in {path} cannot be read: {error}", FAILED) from error
    if not lines:
        return None  # it is being written
    return {
        name: datetime.fromisoformat(value) if name in _TIMES and value else value for name, value in lines[0].items()
    }
