"""The file in which a query of the stream tells how far it is, for `reco status`, which has no JVM to ask."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from obstore.exceptions import BaseError

from jobs.common.errors import FAILED, UserError
from jobs.common.groups import parts_of
from jobs.common.lake_root import SCHEME
from jobs.common.settings import Settings
from jobs.common.storage import Storage

QUERIES = ("normalise", "match")
#: A file is written at most so often, seconds; and at a query's end.
EVERY = 10.0
#: Who has not for so long is gone.
GONE = timedelta(seconds=3 * EVERY)
_KEYS = (
    "query",
    "state",
    "why",
    "told_at",
    "process",
    "batch",
    "batch_ended_at",
    "batch_seconds",
    "state_rows",
    "state_memory_bytes",
    "state_disk_bytes",
    "watermark",
    "watermark_lag_seconds",
    "rows_dropped_by_watermark",
)
_TIMES = ("told_at", "batch_ended_at", "watermark")


def progress_file(settings: Settings, query: str) -> str:
    """Where a query tells: one line of JSON."""
    return f"{settings.stream.checkpoint_root}/progress/{query}.json"


def read_progress(settings: Settings, query: str) -> dict[str, Any] | None:
    """What the query told last, every key there (times as datetimes, null where unknown); None where it never did."""
    path = progress_file(settings, query)
    try:
        content = _content(path)
        if not content:
            return None  # never told, or it is being written
        told = json.loads(content)
        return {
            name: datetime.fromisoformat(told[name]) if name in _TIMES and told.get(name) else told.get(name)
            for name in _KEYS
        }
    except (BaseError, OSError, ValueError, AttributeError) as error:
        raise UserError(f"The stream's progress in {path} cannot be read: {error}", FAILED) from error


def _content(path: str) -> bytes | None:
    # Read and not mapped, as Polars does: who maps a file that the stream writes anew meanwhile dies of a bus error.
    if SCHEME.match(path) is None:
        return Path(path).read_bytes() if Path(path).exists() else None
    folder, _, name = path.rpartition("/")
    return Storage(folder).read(name)


def read_all(settings: Settings) -> list[dict[str, Any]]:
    """What each query told last of itself, and its `group`: null unless suppliers are matched in groups.

    Queries that never ran are left out, but a group that nobody ever matched is there, with the state NEVER.
    """
    undivided = settings.stream.match_groups == 1
    found: list[tuple[int | None, dict[str, Any] | None]] = [
        (None, read_progress(settings, query)) for query in (QUERIES if undivided else ("normalise", "gather"))
    ]
    never = dict.fromkeys(_KEYS) | {"query": "match", "state": "NEVER"}
    found += [(part.stream.match_group, read_progress(part, "match") or never) for part in parts_of(settings)]
    return [{**told, "group": group} for group, told in found if told is not None]


def missing(told: Sequence[Mapping[str, Any]], now: datetime) -> dict[int | None, str]:
    """Of suppliers matched in groups, a sentence for each group that nobody matches, and for None if nobody gathers.

    Said where another query runs, and of a group that nobody ever matched always. `told`: of `read_all`.
    """
    groups = [one for one in told if one["group"] is not None]
    alive = [one for one in told if one["state"] == "RUNNING" and now - one["told_at"] <= GONE]
    found: dict[int | None, str] = {}
    for one in groups:
        if one["state"] == "NEVER" or (alive and one not in alive):
            since = "nobody ever has" if one["told_at"] is None else f"not since {one['told_at']:%Y-%m-%d %H:%M:%S} UTC"
            name = f"{one['group']} OF {len(groups)}"
            found[one["group"]] = f"NOBODY MATCHES GROUP {name}, {since}: its suppliers are not judged"
    if groups and alive and not any(one["query"] == "gather" for one in alive):
        found[None] = "NOBODY GATHERS what the groups of suppliers give: gold does not have it"
    return found


def read_watermark(settings: Settings) -> datetime | None:
    """Up to when everything that was published has been read, of all suppliers; None where that is not known."""
    told = [read_progress(one, "match") for one in parts_of(settings) or [settings]]
    times = [one["watermark"] for one in told if one is not None]
    return None if len(times) < len(told) or None in times else min(times)
