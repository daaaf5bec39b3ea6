"""What each table needs: how it lies best, which of its old versions are wanted, and by what its rows grow old."""

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import polars as pl

from jobs.common.lake import open_table, scan
from jobs.common.settings import Settings
from jobs.common.stale_mark import looked_from, looked_to
from jobs.common.storage import Storage

#: Looked up by key: rows of a key lie together once a day's partition is no longer the newest.
_BY_KEY = ("activity", "nrt_results", "reconciliation_facts", "anomalies")
CLUSTERED = dict.fromkeys(_BY_KEY, ("supplier_id", "activity_id"))
#: What a close says, what people did, what was configured: every version of the audit horizon can be read.
AUDITED = frozenset(
    {
        *("reconciliation_facts", "anomalies", "close_changes", "closes"),
        *("exception_actions", "erasures", "policies", "formats", "fx_rates"),
    }
)
#: The tables that closes are pinned to, and the column of gold/closes with the version.
PINNED = {"activity": "silver_version", "policies": "policies_table_version", "fx_rates": "fx_table_version"}
#: Bronze, silver and quarantine by the same clock, so that what came in and what became of it go together.
_AGE = {
    "activity_raw": "ingest_date",
    "activity": "ingested_at",
    "quarantine": "ingest_date",
    "nrt_results": "verdict_date",
    "nrt_exceptions": "resolved_at",
    "hourly_summary": "verdict_date",
}


#: Hours that no file is old enough for.
_NEVER = 24 * 36500


@dataclass(frozen=True)
class Wanted:
    """Versions that must stay readable: `pins` each for itself, and every commit after `since`, where that is set.

    `hours`: how long files that no version in use has must stay. `why`: for people, where something is held back.
    """

    pins: tuple[int, ...]
    since: int | None
    hours: int
    why: str = ""


def wanted(settings: Settings, name: str, newest: int, now: datetime, vacuum_hours: int | None = None) -> Wanted:
    """What of a table's past must stay. `newest`: its version.

    `vacuum_hours`: in place of any waiting, where nothing else reads the lake.
    """
    hours = settings.maintenance.vacuum_hours if vacuum_hours is None else vacuum_hours
    pins = _pins(settings, name, now.date() - timedelta(days=settings.maintenance.audit_days))
    if name in AUDITED:
        return Wanted(pins, None, 24 * settings.maintenance.audit_days)
    if name != "activity" or not pins:
        return Wanted(pins, None, hours)
    # `reco daily --stale` reads, commit by commit, what silver received since.
    looked = looked_to(settings)
    since = min(looked_from(settings).values())
    if looked is not None:
        since = min(since, looked)
    why = (
        "" if looked is not None else "all since the first close stays, until `reco daily --stale` has come to its end"
    )
    if vacuum_hours is not None:
        return Wanted((*pins, *range(since, newest + 1)), since, hours, why)
    pins = (*pins, since)
    at = _time_of(settings, name, since)
    if at is None:
        return Wanted(pins, since, _NEVER, f"its commit {since} does not tell its time; no file is removed")
    return Wanted(pins, since, max(hours, int((now - at).total_seconds() // 3600) + 1), why)


def expired(settings: Settings, name: str, now: datetime) -> str | None:
    """The condition of rows that are too old to be kept; None where all are."""
    if name not in settings.maintenance.keep_days:
        return None
    first, column = first_kept(settings, name, now), _AGE[name]
    told = f"{column} < '{first.isoformat()}{'T00:00:00Z' if column.endswith('_at') else ''}'"
    return f"state = 'RESOLVED' AND {told}" if name == "nrt_exceptions" else told


def first_kept(settings: Settings, name: str, now: datetime) -> date:
    """The day from which on a table's rows are kept, of a table that does not keep all."""
    return now.date() - timedelta(days=settings.maintenance.keep_days[name])


def _pins(settings: Settings, name: str, first: date) -> tuple[int, ...]:
    table = open_table(settings, "closes") if name in PINNED else None
    if table is None:
        return ()
    column = PINNED[name]
    rows = scan(table).filter(pl.col("reco_date") >= first).select(pl.col(column).drop_nulls().unique().sort())
    return tuple(int(version) for version in rows.collect()[column])


def _time_of(settings: Settings, name: str, version: int) -> datetime | None:
    """When a commit was made, as it says itself: a file's own time changes when it is copied."""
    content = Storage(settings.table_path(name)).read(f"_delta_log/{version:020}.json")
    for line in (content or b"").splitlines():
        told = json.loads(line).get("commitInfo")
        if told is not None and told.get("timestamp") is not None:
            return datetime.fromtimestamp(told["timestamp"] / 1000, UTC)
    return None
