"""The store of formats: ref/formats, with each policy version the formats that it names."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from jobs.common.errors import UserError
from jobs.common.formats.file import parse_definition, read_format
from jobs.common.formats.model import Format
from jobs.common.lake import append_version, open_table, read
from jobs.common.settings import Settings

_TABLE = "formats"


@dataclass(frozen=True)
class FormatFile:
    """A valid format file; SHA-256 of the file."""

    format: Format
    file_hash: str


def read_named(settings: Settings, policies_file: Path, places: Mapping[str, str]) -> dict[str, FormatFile]:
    """The formats that a policies file names, read from their folder.

    `places`: each name with `file:line: key` of where it stands. Raises UserError where one is not there or is wrong.
    """
    folder = settings.formats.folder or policies_file.parent / "formats"
    found = {}
    for name, place in sorted(places.items()):
        path = folder / f"{name}.yaml"
        if not path.is_file():
            have = ", ".join(sorted(file.stem for file in folder.glob("*.yaml"))) or "none"
            raise UserError(
                f"{place}: there is no format {name}: write {path}, or name one of that folder (there: {have})."
            )
        found[name] = FormatFile(*read_format(path))
    return found


def formats_of(settings: Settings, version: int, applied_at: datetime | None) -> dict[str, str]:
    """Definition by name of the formats of one policy version, which was applied at that time (UTC)."""
    rows = read(open_table(settings, _TABLE), _TABLE)
    # A row of an attempt that never came to be a policy version has the version's number too, but not its time.
    rows = rows.filter((pl.col("policy_version") == version) & (pl.col("applied_at") == pl.lit(applied_at)))
    return dict(zip(rows["format"], rows["definition"], strict=True))


def are_same(stored: Mapping[str, str], files: Mapping[str, FormatFile]) -> bool:
    """Whether the stored definitions say what the files say; comments and order do not count."""
    return {name: _again(text) for name, text in stored.items()} == {
        name: file.format.resolved() for name, file in files.items()
    }


def append(settings: Settings, version: int, files: Mapping[str, FormatFile], now: datetime) -> None:
    """Appends the formats of a policy version to be, before the version itself, which makes them visible."""
    if not files:
        return
    rows = [
        {
            "policy_version": version,
            "format": name,
            "definition": file.format.resolved(),
            "file_hash": file.file_hash,
            "applied_at": now,
        }
        for name, file in files.items()
    ]
    append_version(settings, _TABLE, rows, version, open_table(settings, _TABLE))


def _again(definition: str) -> str | None:
    """The definition as this version of the software writes it; None where it cannot read it."""
    try:
        return parse_definition(definition).resolved()
    except ValueError:
        return None
