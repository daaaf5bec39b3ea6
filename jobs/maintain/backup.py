"""`reco backup`: a copy of the lake that can be gone back to, each file copied once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import typer
from deltalake.exceptions import DeltaError

from jobs.common import log
from jobs.common.errors import FAILED, UserError
from jobs.common.lake_root import place_of
from jobs.common.options import AsJson, Debug, SettingsFile
from jobs.common.output import print_json, say
from jobs.common.settings import Settings, load_settings
from jobs.common.storage import File, Storage
from jobs.maintain.points import (
    FOLDER,
    ORDER,
    Point,
    copy,
    log_version,
    points,
    require_readable,
    table_at,
    write_point,
)
from schemas.tables import TABLES


@dataclass(frozen=True)
class Copied:
    """The point that was made, and what was copied for it."""

    point: Point
    files: int
    bytes: int
    kept: int


def command(
    dest: Annotated[str, typer.Argument(metavar="DEST", help="A folder, or a URI like s3a://bucket/backup.")],
    settings: SettingsFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Copy what the backup in DEST does not have of the lake yet, and make it a point to go back to.

    Jobs may run meanwhile. The stream's checkpoints are not copied: a restored lake reads the topics anew, and its
    tables take nothing twice.

    Example: reco backup s3a://backups/lake
    """
    log.configure(debug=debug)
    dest = place_of("DEST", dest)
    done = backup(load_settings(settings), dest, datetime.now(UTC))
    if as_json:
        print_json(
            {"number": done.point.number, "at": done.point.at, "versions": done.point.versions}
            | {"files_copied": done.files, "bytes_copied": done.bytes, "files_kept": done.kept}
        )
        return
    say(
        f"Backup {done.point.number} of {len(done.point.versions)} tables is in {dest}: {done.files:,} files and "
        f"{done.bytes:,} bytes copied, {done.kept:,} were there. Go back with: reco restore {dest} --at {done.point.at}"
    )


def backup(settings: Settings, dest: str, now: datetime) -> Copied:
    """Bring the backup in `dest` up to the lake as it is now. UserError where it is not of this lake, or torn."""
    root, dest = settings.lake.root, dest.rstrip("/")
    if f"{dest}/".startswith(f"{root}/") or f"{root}/".startswith(f"{dest}/"):
        raise UserError(f"The backup {dest} and the lake {root} lie in each other: choose a place of its own.")
    target = Storage(dest, make=True)
    known = points(target)
    if not known and any(not one.path.startswith(FOLDER) for one in target.files()) and not _is_begun(target):
        raise UserError(f"{dest} is no backup and not empty: choose an empty place.")
    versions, ids = _now(root)
    if not versions:
        raise UserError(f"There are no tables under {root} yet: there is nothing to back up.")
    target.write(f"{FOLDER}/begun", b"")
    _require_same_lake(known, ids, dest)
    files = size = kept = 0
    for name, version in versions.items():
        path = TABLES[name].path
        source, there = Storage(f"{root}/{path}"), Storage(f"{dest}/{path}", make=True)
        _require_same_history(source, there, path, dest)
        wanted, had = _missing(source, there, version)
        size += copy(wanted, source, there, _progress(path, len(wanted)))
        files, kept = files + len(wanted), kept + had
    require_readable(dest, versions)
    point = Point(max((one.number for one in known), default=0) + 1, _told(now), dict(versions), ids)
    write_point(target, point)
    return Copied(point, files, size, kept)


def _told(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")  # as every command says a time


def _is_begun(target: Storage) -> bool:
    return target.is_there(f"{FOLDER}/begun")


def _now(root: str) -> tuple[dict[str, int], dict[str, str]]:
    versions, ids = {}, {}
    for name in ORDER:
        try:
            table = table_at(root, name)
        except (DeltaError, OSError) as error:
            raise UserError(f"The table {root}/{TABLES[name].path} cannot be read: {error}", FAILED) from error
        if table is not None:
            versions[name], ids[name] = table.version(), str(table.metadata().id)
    return versions, ids


def _require_same_lake(known: list[Point], ids: Mapping[str, str], dest: str) -> None:
    for point in known[-1:]:
        for name, table_id in point.ids.items():
            if ids.get(name, table_id) != table_id:
                raise UserError(
                    f"{dest} is the backup of another lake: its {TABLES[name].path} is another table; choose an empty "
                    "place.",
                    FAILED,
                )


def _require_same_history(source: Storage, there: Storage, path: str, dest: str) -> None:
    """A lake that was restored goes on otherwise than the one before it, under the same numbers."""
    ours, theirs = (
        {one.path for one in storage.files("_delta_log") if one.path.endswith(".json")} for storage in (source, there)
    )
    newest = max(theirs, default=None)
    common = max(ours & theirs, default=None)
    if newest is not None and (common != newest or source.read(newest) != there.read(newest)):
        raise UserError(
            f"{dest} has a history of {path} that this lake does not have (was the lake restored to an earlier "
            "point?): choose an empty place.",
            FAILED,
        )


def _missing(source: Storage, there: Storage, version: int) -> tuple[list[File], int]:
    """The files of a table up to a version that are not there yet, data first; and how many are."""
    had = {one.path: one.size for one in there.files()}
    files = [one for one in source.files() if _belongs(one.path, version)]
    # A checkpoint of one version may be written anew; then it is another file of the same meaning.
    wanted = [one for one in files if had.get(one.path) != one.size]
    return sorted(wanted, key=lambda one: (log_version(one.path) or -1, one.path)), len(files) - len(wanted)


def _belongs(path: str, version: int) -> bool:
    if path.rsplit("/", 1)[-1].startswith("."):
        return False
    if not path.startswith("_delta_log/"):
        return True
    of = log_version(path)
    return of is not None and of <= version


def _progress(path: str, files: int) -> Callable[[int, int], None]:
    logger = log.get_logger(__name__)

    def tell(done: int, size: int) -> None:
        if done == files or done % 500 == 0:
            logger.info("copied", table=path, files=done, of=files, bytes=size)

    return tell
