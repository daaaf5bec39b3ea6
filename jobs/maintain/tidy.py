"""One table put in order: rows that are too old, small files, its log, and the files that nothing needs.

All through delta-rs: it commits only where the next version is free (a link that must not exist, a conditional put), so
that it can never take away a job's commit.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

import polars as pl
from deltalake import DeltaTable, PostCommitHookProperties
from deltalake.exceptions import CommitFailedError, DeltaError

from jobs.common.errors import FAILED, UserError
from jobs.common.expired_mark import noting_expired
from jobs.common.lake import open_table
from jobs.common.lasting import hours_of
from jobs.common.log import get_logger
from jobs.common.settings import Settings
from jobs.common.storage import File, Storage
from jobs.maintain.log_files import superfluous
from jobs.maintain.plan import CLUSTERED, Wanted, expired, first_kept, wanted
from schemas.tables import TABLES

log = get_logger(__name__)
Done = TypeVar("Done")

#: A job that writes without a pause may be in the way so often; what is left is left for the next time.
TRIES = 5
_HOOKS = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)
#: Rewriting a partition holds so much of it in memory, the rest on disk.
_SPILL = 1 << 30
#: So many partitions are rewritten with one commit.
_TOGETHER = 30


@dataclass(frozen=True)
class Size:
    """Files and bytes: of the newest version, of all data files that are there, and of the log."""

    files: int
    bytes: int
    stored_files: int
    stored_bytes: int
    log_files: int
    log_bytes: int


@dataclass
class Report:
    """What was done with a table, or with `dry_run` would be."""

    table: str
    before: Size
    after: Size
    rows_expired: int = 0
    partitions: int = 0
    files_removed: int = 0
    bytes_removed: int = 0
    log_files_removed: int = 0
    pins: int = 0
    notes: list[str] = field(default_factory=list)


def tidy(settings: Settings, name: str, now: datetime, *, dry_run: bool, vacuum_hours: int | None) -> Report | None:
    """Put a table in order; None where it is absent. UserError where it cannot be read or written."""
    table = open_table(settings, name)
    if table is None:
        return None
    storage = Storage(settings.table_path(name))
    size = _size(table, storage)
    report = Report(settings.told_path(name), size, size)
    keep = wanted(settings, name, table.version(), now, vacuum_hours)
    if lost := [pin for pin in keep.pins if pin > table.version()]:
        raise UserError(
            f"Closes are pinned to versions of {TABLES[name].path} that are not there ({lost[0]}, the newest is "
            f"{table.version()}): it is another table than theirs; restore it, or remove those rows from gold/closes.",
            FAILED,
        )
    report.pins = len(keep.pins)
    report.notes += [keep.why] if keep.why else []
    try:
        _expire(settings, name, now, report, dry_run)
        _compact(settings, name, report, dry_run)
        _vacuum(settings, name, now, storage, keep, report, dry_run)
        _log(settings, name, now, storage, keep, report, dry_run)
        if not dry_run:
            report.after = _size(_opened(settings, name), storage)
    except (DeltaError, OSError) as error:
        raise UserError(f"The table {settings.table_path(name)} cannot be maintained: {error}", FAILED) from error
    return report


def _opened(settings: Settings, name: str) -> DeltaTable:
    table = open_table(settings, name)
    assert table is not None
    return table


def _size(table: DeltaTable, storage: Storage) -> Size:
    sizes = pl.DataFrame(table.get_add_actions(flatten=True))["size_bytes"]
    there = list(storage.files())
    logs = [one.size for one in there if one.path.startswith("_delta_log/")]
    data = [one.size for one in there if not one.path.startswith("_delta_log/")]
    return Size(len(sizes), int(sizes.sum()), len(data), sum(data), len(logs), sum(logs))


def _again(settings: Settings, name: str, report: Report, do: Callable[[DeltaTable], Done]) -> Done | None:
    """Do it to the newest version, once more where a job wrote what it stands on; None where that went on."""
    for _ in range(TRIES):
        try:
            return do(_opened(settings, name))
        except CommitFailedError as error:
            log.info("again", table=name, because=str(error)[:200])
    report.notes.append("a running job was in the way; what is left is done the next time")
    return None


def _expire(settings: Settings, name: str, now: datetime, report: Report, dry_run: bool) -> None:
    condition = expired(settings, name, now)
    if condition is None:
        return
    if dry_run:
        rows = pl.scan_delta(_opened(settings, name)).sql(f"select count(*) as n from self where {condition}")  # noqa: S608
        report.rows_expired = int(rows.collect().item())
        return
    noted = noting_expired(first_kept(settings, name, now))
    options: dict[str, Any] = {"commit_properties": noted, "post_commithook_properties": _HOOKS}
    done = _again(settings, name, report, lambda t: t.delete(condition, **options))
    report.rows_expired = int((done or {}).get("num_deleted_rows") or 0)


def _compact(settings: Settings, name: str, report: Report, dry_run: bool) -> None:
    target = settings.maintenance.target_mb << 20
    found = due(_opened(settings, name), name, target)
    report.partitions = len(found)
    if dry_run:
        return
    for is_clustered in (False, True):
        mine = [values for values, clustered in found if clustered == is_clustered]
        for first in range(0, len(mine), _TOGETHER):
            _rewrite(settings, name, report, mine[first : first + _TOGETHER], is_clustered)


def _rewrite(
    settings: Settings, name: str, report: Report, partitions: list[dict[str, Any]], is_clustered: bool
) -> None:
    """Put the files of some partitions together, in one commit."""
    by = TABLES[name].partition_by
    filters = [(column, "in", sorted({str(values[column]) for values in partitions})) for column in by] or None
    options: dict[str, Any] = {"partition_filters": filters, "target_size": settings.maintenance.target_mb << 20}
    options |= {"max_spill_size": _SPILL, "max_concurrent_tasks": 2, "post_commithook_properties": _HOOKS}

    def put_together(table: DeltaTable) -> dict[str, Any]:
        if is_clustered:
            return table.optimize.z_order(list(CLUSTERED[name]), **options)
        return table.optimize.compact(**options)

    _again(settings, name, report, put_together)


def due(table: DeltaTable, name: str, target: int) -> list[tuple[dict[str, Any], bool]]:
    """The partitions with several small files, and whether their keys are to be brought together too.

    Not those of the newest partition, which is still written; nor where little is new in a partition that lies well.
    """
    by = [f"partition.{column}" for column in TABLES[name].partition_by]
    files = pl.DataFrame(table.get_add_actions(flatten=True)).select("size_bytes", *by)
    size, is_small = pl.col("size_bytes"), pl.col("size_bytes") < target // 2
    sums = [is_small.sum().alias("small"), size.filter(is_small).sum().alias("small_bytes"), size.sum().alias("bytes")]
    found = files.group_by(by).agg(sums) if by else files.select(sums)
    newest = [files[column].max() for column in by]
    rows = found.filter(pl.col("small") >= 2).sort(by or ["small"]).to_dicts()
    return [
        (
            {column.removeprefix("partition."): row[column] for column in by},
            name in CLUSTERED and [row[c] for c in by] != newest and row["small_bytes"] * 5 >= row["bytes"],
        )
        for row in rows
    ]


def _vacuum(
    settings: Settings, name: str, now: datetime, storage: Storage, keep: Wanted, report: Report, dry_run: bool
) -> None:
    """Remove files that no version in use, none pinned, and none young enough has."""
    table = _opened(settings, name)
    if keep.hours > hours_of(table.metadata().configuration):
        # A file that the log no longer tells of cannot be told from one that nobody ever needed.
        report.notes.append("no file is removed: what must stay is older than what its log tells of")
        return
    options: dict[str, Any] = {"enforce_retention_duration": False, "full": True, "keep_versions": list(keep.pins)}
    gone = set(table.vacuum(keep.hours, dry_run=True, **options))
    # The rows of a change feed: nothing but their age tells that they are no longer needed.
    old = now - timedelta(hours=keep.hours)
    changes = [one for one in storage.files("_change_data") if one.modified < old]
    there = [one for one in storage.files() if one.path in gone]  # it also names what was removed before
    removed: list[File] = there + changes
    report.files_removed, report.bytes_removed = len(removed), sum(one.size for one in removed)
    if dry_run:
        return
    if there:
        _again(
            settings,
            name,
            report,
            lambda t: t.vacuum(keep.hours, dry_run=False, post_commithook_properties=_HOOKS, **options),
        )
    storage.remove([one.path for one in changes])


def _log(
    settings: Settings, name: str, now: datetime, storage: Storage, keep: Wanted, report: Report, dry_run: bool
) -> None:
    """A checkpoint, so that readers need no long row of commits; then the log without what nothing is made of."""
    table = _opened(settings, name)
    if not dry_run and not storage.is_there(f"_delta_log/{table.version():020}.checkpoint.parquet"):
        table.create_checkpoint()
        # Spark's sum of the file that was just replaced: with it, it would take the new one for damaged.
        storage.remove(["_delta_log/._last_checkpoint.crc"])
    days = settings.maintenance.audit_days if keep.hours >= 24 * settings.maintenance.audit_days else None
    old = superfluous(storage, keep, now, settings.maintenance.log_days if days is None else days)
    report.log_files_removed = len(old)
    if not dry_run:
        storage.remove([one.path for one in old])
