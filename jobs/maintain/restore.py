"""`reco restore`: a lake as it was at a point of its backup."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated

import typer

from jobs.common import log
from jobs.common.errors import FAILED, UserError
from jobs.common.lake_root import place_of
from jobs.common.options import AsJson, Debug, SettingsFile
from jobs.common.output import print_json, say
from jobs.common.settings import Settings, load_settings
from jobs.common.storage import Storage
from jobs.maintain.points import Point, copy, log_version, points, require_readable
from schemas.tables import TABLES

#: In a lake that is being restored: of what point. Whoever finds it there knows that the restore was broken off.
_MARK = "_restoring.json"


def command(
    src: Annotated[str, typer.Argument(metavar="SRC", help="What `reco backup` wrote: a folder or URI.")],
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIMESTAMP", help="As of this time, UTC: 2026-03-10T12:00:00Z.")
    ] = None,
    version: Annotated[
        int | None, typer.Option("--version", metavar="N", help="As of this backup, by its number.", min=1)
    ] = None,
    settings: SettingsFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Make the lake of the settings, which must be empty, what its backup in SRC was; the newest one unless told.

    `reco replay` then proves each close by its hash. The stream starts with new checkpoints.

    Example: reco restore s3a://backups/lake --at 2026-03-10T12:00:00Z
    """
    log.configure(debug=debug)
    chosen = load_settings(settings)
    if at is not None and version is not None:
        raise UserError("Say either --at or --version, not both.")
    versions = restore(chosen, place_of("SRC", src), at=None if at is None else _time(at), number=version)
    if as_json:
        print_json({"lake": chosen.lake.root, "versions": versions})
        return
    say(f"Restored {len(versions)} tables into {chosen.lake.root}. `reco replay CLOSE_ID` proves its closes.")


def restore(settings: Settings, src: str, *, at: datetime | None = None, number: int | None = None) -> dict[str, int]:
    """Copy the tables as of a time or of a backup's number into the lake; returns their versions.

    Broken off anywhere, it is completed by the same call. UserError where the lake is not empty, the point is not
    there, or not whole.
    """
    source, root = Storage(src.rstrip("/")), settings.lake.root
    begun = Storage(root).read(_MARK)
    if begun is None and next(iter(Storage(root).files()), None) is not None:
        raise UserError(f"The lake {root} is not empty: nothing is overwritten; set lake.root to an empty place.")
    known = points(source)
    if not known:
        raise UserError(f"{src} is no backup, or none that came to its end: give what `reco backup` was given.")
    versions = _chosen(source.root, known, at, number)
    require_readable(source.root, versions)
    told = json.dumps({"from": source.root, "versions": versions}, sort_keys=True).encode()
    if begun not in (None, told):
        raise UserError(
            f"A restore of another point into {root} was broken off: say the source and the --version or --at of then, "
            "or remove what is there."
        )
    Storage(root, make=True).write(_MARK, told)
    for name, version in versions.items():
        path = TABLES[name].path
        here, there = Storage(f"{source.root}/{path}"), Storage(f"{root}/{path}", make=True)
        later = _added_later(here, version)
        files = [
            one
            for one in here.files()
            if one.path not in later and ((of := log_version(one.path)) is None or of <= version)
        ]
        # The log comes last, oldest first: what was broken off is no table, or an older one, and never lacks a file.
        files.sort(key=lambda one: (log_version(one.path) if log_version(one.path) is not None else -1, one.path))
        data = [one for one in files if log_version(one.path) is None]
        copy(data, here, there, lambda *_: None)
        copy(files[len(data) :], here, there, lambda *_: None)
    require_readable(root, versions)
    Storage(root).remove([_MARK])
    return versions


def _chosen(root: str, known: list[Point], at: datetime | None, number: int | None) -> dict[str, int]:
    if number is not None:
        found = next((one for one in known if one.number == number), None)
        if found is None:
            raise UserError(
                f"There is no backup {number} in {root}; there are {known[0].number} to {known[-1].number}."
            )
        return found.versions
    if at is None or at >= known[-1].time:
        return known[-1].versions
    # A later backup has the log of the times before it, and what of their files was still there.
    after = next(one for one in known if one.time > at)
    exact = next((one for one in reversed(known) if one.time == at), None)
    return exact.versions if exact else _as_of(root, after.versions, at)


def _as_of(root: str, versions: Mapping[str, int], at: datetime) -> dict[str, int]:
    """Of each table the newest version that was committed by then; tables that were not there yet are left out."""
    found = {}
    for name, newest in versions.items():
        storage = Storage(f"{root}/{TABLES[name].path}")
        version: int | None = newest
        while version is not None and version >= 0:
            committed = _committed(storage, version)
            if committed is None:
                raise UserError(
                    f"The backup {root} has no commit {version} of {TABLES[name].path}, so it cannot tell what was "
                    f"there at {at.isoformat()}: choose the time of a backup, or --version.",
                    FAILED,
                )
            if committed <= at:
                found[name] = version
                break
            version -= 1
    if not found:
        raise UserError(f"At {at.isoformat()} there was no table yet that {root} knows of: choose a later time.")
    return found


def _committed(storage: Storage, version: int) -> datetime | None:
    content = storage.read(f"_delta_log/{version:020}.json")
    for line in (content or b"").splitlines():
        told = json.loads(line).get("commitInfo")
        if told is not None:
            return datetime.fromtimestamp(told["timestamp"] / 1000, UTC)
    return None


def _added_later(storage: Storage, version: int) -> set[str]:
    """Data files that came with commits after the version: they are no part of it."""
    later = [
        one.path
        for one in storage.files("_delta_log")
        if one.path.endswith(".json") and (log_version(one.path) or 0) > version
    ]
    lines = (line for path in later for line in (storage.read(path) or b"").splitlines())
    actions = (json.loads(line) for line in lines)
    return {action[kind]["path"] for action in actions for kind in ("add", "cdc") if kind in action}


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(f"--at {text} is no time: write it like 2026-03-10T12:00:00Z.") from None
    if found.tzinfo is None:
        raise UserError(f"--at {text} does not say its zone: write it like 2026-03-10T12:00:00Z.")
    return found.astimezone(UTC)
