"""Points of a lake that can be gone back to: the version of each table, together consistent.

A backup is a folder or prefix that looks like a lake, with what belongs to all its points: files of a Delta table never
change, so each is copied once. A point is `_backups/<number>.json`, written when all it needs is there.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from jobs.common.errors import FAILED, UserError
from jobs.common.lake import options_of
from jobs.common.storage import File, Storage
from jobs.maintain.plan import PINNED
from schemas.tables import TABLES

FOLDER = "_backups"
LOG_FILE = re.compile(r"_delta_log/(\d{20})\.")
#: In which order versions are looked up: what points to others comes before them, what is written first comes last.
ORDER = (
    *("closes", "reconciliation_facts", "anomalies", "exceptions", "close_changes", "verdict_drift"),
    *("erasures", "exception_actions", "hourly_summary", "nrt_exceptions", "nrt_results", "quarantine", "activity"),
    *("activity_raw", "policies", "formats", "fx_rates"),
)
_COPIES = 8


@dataclass(frozen=True)
class Point:
    """Number of the backup, when it was taken (ISO 8601, UTC), and of each table its version and Delta's id of it."""

    number: int
    at: str
    versions: dict[str, int]
    ids: dict[str, str]

    @property
    def time(self) -> datetime:
        """When it was taken."""
        return datetime.fromisoformat(self.at)


def points(storage: Storage) -> list[Point]:
    """All points of a backup, the oldest first."""
    names = sorted(one.path for one in storage.files(FOLDER) if one.path.endswith(".json"))
    return [Point(**json.loads(storage.read(name) or b"{}")) for name in names]


def write_point(storage: Storage, point: Point) -> None:
    """Make the point one that can be gone back to."""
    content = json.dumps(asdict(point), indent=1).encode()
    storage.write(f"{FOLDER}/{point.number:08}.json", content)


def table_at(root: str, name: str, version: int | None = None) -> DeltaTable | None:
    """A table of a lake or a backup, its newest version where none is given; None where it is absent.

    DeltaError where that version cannot be put together.
    """
    place = f"{root}/{TABLES[name].path}"
    if not DeltaTable.is_deltatable(place, options_of(place)):
        return None
    return DeltaTable(place, version=version, storage_options=options_of(place))


def pins_of(root: str, closes_version: int | None) -> dict[str, set[int]]:
    """The versions of input tables that the closes point to, as of a version of gold/closes."""
    if closes_version is None or (closes := table_at(root, "closes", closes_version)) is None:
        return {}
    rows = pl.scan_delta(closes).select(*PINNED.values()).collect()
    return {name: set(rows[column].drop_nulls().to_list()) for name, column in PINNED.items()}


def require_readable(root: str, versions: Mapping[str, int]) -> None:
    """Every table at its version, and all that closes point to, is there to the last file; else UserError."""
    pins = pins_of(root, versions.get("closes"))
    for name, version in versions.items():
        wanted = pins.get(name, set()) | {version}
        if beyond := [pin for pin in wanted if pin > version]:
            raise UserError(
                f"A close points to version {beyond[0]} of {TABLES[name].path}, and only {version} is in that point of "
                f"{root}: the clocks of the jobs differ; choose a later time.",
                FAILED,
            )
        there = {one.path for one in Storage(f"{root}/{TABLES[name].path}").files()}
        for one in sorted(wanted):
            _require_version(root, name, one, there)
    lacking = [name for name, numbers in pins.items() if numbers and name not in versions]
    if lacking:
        raise UserError(f"Closes point to {TABLES[lacking[0]].path}, which {root} does not have.", FAILED)


def _require_version(root: str, name: str, version: int, there: set[str]) -> None:
    try:
        table = table_at(root, name, version)
    except (DeltaError, OSError) as error:
        raise _gone(root, name, version, str(error)) from error
    files = set() if table is None else set(pl.DataFrame(table.get_add_actions(flatten=True))["path"].to_list())
    if table is None or (missing := files - there):
        raise _gone(root, name, version, "no table" if table is None else f"{min(missing)} is missing")


def _gone(root: str, name: str, version: int, why: str) -> UserError:
    return UserError(
        f"Version {version} of {TABLES[name].path} is not whole in {root} ({why}): choose another point, or copy "
        "what is missing from where it still is.",
        FAILED,
    )


def copy(files: Iterable[File], source: Storage, target: Storage, tell: Callable[[int, int], object]) -> int:
    """Copy files side by side; returns their bytes. `tell` is called with files and bytes done so far."""
    done, total = 0, 0

    def one(file: File) -> int:
        source.copy_to(file.path, target)
        return file.size

    with ThreadPoolExecutor(_COPIES) as pool:
        for size in pool.map(one, files):
            done, total = done + 1, total + size
            tell(done, total)
    return total


def log_version(path: str) -> int | None:
    """The version that a file of the log belongs to; None for any other file."""
    found = LOG_FILE.search(path)
    return int(found[1]) if found else None
