"""Exactly once by key: each commit of a Delta table becomes the same rows with the same version, however often."""

from collections.abc import Iterable
from dataclasses import dataclass

from jobs.common.errors import FAILED, UserError
from jobs.common.log import get_logger
from jobs.common.settings import Settings
from jobs.warehouse import changes
from jobs.warehouse.changes import GoneError, Part, Snapshot
from jobs.warehouse.clickhouse import ClickHouse, Position, rows_of
from jobs.warehouse.ddl import EXPORTED

log = get_logger(__name__)


@dataclass
class Moved:
    """What an export of one table did."""

    table: str
    from_version: int | None
    to_version: int | None
    commits: int = 0
    written: int = 0
    deleted: int = 0
    loaded_whole: str = ""


def export_table(settings: Settings, warehouse: ClickHouse, name: str, *, reload: bool = False) -> Moved:
    """Bring one table of the warehouse up to the newest commit. UserError where it is another table than before."""
    position, newest = warehouse.position(name), changes.newest(settings, name)
    moved = Moved(name, position.delta_version if position else None, newest.version if newest else None)
    if newest is None:
        return moved
    if position is None or reload:
        generation = 0 if position is None else position.generation + 1
        _load(settings, warehouse, newest, generation, moved, "asked for" if position else "for the first time")
        return moved
    _require_same(settings, position, newest)
    try:
        before = _at_position(settings, name, position)
        for version in range(position.delta_version + 1, newest.version + 1):
            after = changes.at(settings, name, version)
            _step(settings, warehouse, before, after, position.generation, moved)
            before = after
    except GoneError as gone:
        log.warning("files of an old version are gone, the table is loaded whole", table=name, why=str(gone)[:200])
        _load(settings, warehouse, newest, position.generation, moved, "old files are gone")
    return moved


def _require_same(settings: Settings, position: Position, newest: Snapshot) -> None:
    where = f"{settings.table_path(newest.name)} (id {newest.table_id}, version {newest.version})"
    was = f"id {position.table_id}, version {position.delta_version}"
    if position.table_id != newest.table_id or position.delta_version > newest.version:
        raise UserError(
            f"{where} is not the table that was exported before ({was}): it was made anew or put back. Check lake.root "
            "and warehouse.database; where both are meant, load everything anew with --reload.",
            FAILED,
        )


def _at_position(settings: Settings, name: str, position: Position) -> Snapshot:
    before = changes.at(settings, name, position.delta_version)
    if before.fingerprint != position.fingerprint:
        raise UserError(
            f"Version {position.delta_version} of {settings.table_path(name)} has other files than when it was "
            "exported: the table was put back and written on. Load everything anew with --reload.",
            FAILED,
        )
    return before


def _step(
    settings: Settings, warehouse: ClickHouse, before: Snapshot, after: Snapshot, generation: int, moved: Moved
) -> None:
    """One commit: its rows, then the position."""
    key = EXPORTED[after.name].key
    target = Position(after.table_id, generation, after.version, after.fingerprint)
    _write(settings, warehouse, after.name, changes.changed_rows(before, after, key), target, "commit", moved)
    warehouse.move_to(after.name, target)
    moved.commits += 1


def _load(
    settings: Settings, warehouse: ClickHouse, snapshot: Snapshot, generation: int, moved: Moved, why: str
) -> None:
    """Every row as it is now; whatever else the warehouse has is deleted there."""
    target = Position(snapshot.table_id, generation, snapshot.version, snapshot.fingerprint)
    moved.loaded_whole = why
    try:
        _write(settings, warehouse, snapshot.name, changes.all_rows(snapshot), target, "whole", moved)
    except GoneError as gone:
        raise UserError(
            f"A file of {settings.table_path(snapshot.name)} at version {snapshot.version} cannot be read: "
            f"{str(gone)[:200]}; see `reco doctor`, then run this again.",
            FAILED,
        ) from gone
    moved.deleted += warehouse.remove_older(snapshot.name, target.row_version)
    warehouse.move_to(snapshot.name, target)


def _write(
    settings: Settings,
    warehouse: ClickHouse,
    name: str,
    parts: Iterable[Part],
    target: Position,
    kind: str,
    moved: Moved,
) -> None:
    size = settings.warehouse.batch_rows
    for part in parts:
        for what, frame in (("rows", part.upserts), ("deletions", part.deletions)):
            rows = rows_of(name, frame, target.row_version, deleted=what == "deletions")
            for index, batch in enumerate(rows.iter_slices(size)):
                words = (target.table_id, name, target.row_version, kind, part.partition, what, size, index)
                warehouse.insert(name, batch, ":".join(map(str, words)))
        told = {"partition": part.partition, "rows": len(part.upserts), "deletions": len(part.deletions)}
        log.info("exported", table=name, version=target.delta_version, **told)
        moved.written += len(part.upserts)
        moved.deleted += len(part.deletions)


def names(only: list[str]) -> list[str]:
    """The tables to export, in their order. UserError for a name that is none of them."""
    unknown = [name for name in only if name not in EXPORTED]
    if unknown:
        raise UserError(f"--only {unknown[0]}: not a table that is exported; they are {', '.join(EXPORTED)}.")
    return [name for name in EXPORTED if not only or name in only]
