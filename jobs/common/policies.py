"""The store of policies: ref/policies, one more version each time a file is applied."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import DeltaTable

from jobs.common.errors import UserError
from jobs.common.formats import store as formats
from jobs.common.lake import RacedError, append_version, open_table, read
from jobs.common.policy_file import BUILT_IN, DEFAULTS, Policy, PolicyFile, parse_policies
from jobs.common.settings import Settings

__all__ = ["BUILT_IN", "DEFAULTS", "Policy", "PolicyFile", "parse_policies"]

#: Policies of one version: the defaults under None, each listed supplier under its id.
Policies = Mapping[str | None, Policy]

_TABLE = "policies"
# Column of ref/policies by field of Policy, where the two differ.
_COLUMNS = {
    "grace": "grace_seconds",
    "allowed_skew": "allowed_skew_seconds",
    "max_delay": "max_delay_seconds",
}


@dataclass(frozen=True)
class Change:
    """One value that differs; `key` is `listed` where a supplier is listed in one of the two only."""

    supplier_id: str | None
    key: str
    before: object
    after: object


@dataclass(frozen=True)
class Version:
    """One application of a policies file; changes counts what differs from the version before."""

    policy_version: int
    applied_at: datetime
    file_hash: str
    suppliers: int
    changes: int


def apply(settings: Settings, path: Path, now: datetime) -> int:
    """Checks the file, and the formats that it names, and appends them as a new policy version; returns its number.

    Files that say what the current version says already append nothing, and the current number is returned.
    Raises UserError, with nothing applied, where a file is wrong or somebody else applies one at that moment.
    """
    file = parse_policies(path)
    files = formats.read_named(settings, path, file.formats)
    table = open_table(settings, _TABLE)
    current, is_said = _said(settings, table, file, files)
    if is_said:
        return current
    # The policies' own rows come last: they make the version, and a crash before them leaves the old one in force.
    try:
        formats.append(settings, current + 1, files, now)
        append_version(settings, _TABLE, rows_of(current + 1, file, now), current + 1, table)
    except RacedError:
        newest, is_said = _said(settings, open_table(settings, _TABLE), file, files)
        if not is_said:
            raise
        return newest  # whoever was faster applied the very same
    return current + 1


def _said(
    settings: Settings, table: DeltaTable | None, file: PolicyFile, files: Mapping[str, formats.FormatFile]
) -> tuple[int, bool]:
    """The version in force, and whether it says what the file and its formats say."""
    current, policies = _current(table)
    if not current or dict(policies) != dict(file.policies):
        return current, False
    stored = formats.formats_of(settings, current, _applied_at(table, current)) if files else {}
    return current, formats.are_same(stored, files)


def checked(settings: Settings, path: Path) -> PolicyFile:
    """The file where `apply` would take it, the formats that it names included; else the same UserError."""
    file = parse_policies(path)
    formats.read_named(settings, path, file.formats)
    return file


def rows_of(version: int, file: PolicyFile, now: datetime) -> list[dict[str, Any]]:
    """The file's rows of ref/policies, the defaults first."""
    return [
        {
            "policy_version": version,
            "supplier_id": supplier,
            **{_COLUMNS.get(key, key): value for key, value in policy.model_dump().items()},
            "applied_at": now,
            "file_hash": file.file_hash,
        }
        for supplier, policy in file.policies.items()
    ]


def current_policies(settings: Settings) -> tuple[int, Policies]:
    """The version in force and its policies; version 0 with the built-in defaults where none was ever applied."""
    return _current(open_table(settings, _TABLE))


def policies_of(settings: Settings, version: int) -> Policies:
    """The policies of one version; 0 is the built-in defaults. UserError where there is no such version."""
    if version == 0:
        return {DEFAULTS: BUILT_IN}
    rows = read(open_table(settings, _TABLE), _TABLE)
    found = policies_from(rows.filter(pl.col("policy_version") == version))
    if not found:
        known = sorted(rows["policy_version"].unique().to_list())
        have = f"there are 1 to {known[-1]}" if known else "none was applied yet; see `reco policies apply`"
        raise UserError(f"There is no policy version {version}; {have}.")
    return found


def formats_in_force(settings: Settings) -> dict[str, str]:
    """Definition by name of the payload formats of the version in force."""
    table = open_table(settings, _TABLE)
    current, _ = _current(table)
    return formats.formats_of(settings, current, _applied_at(table, current)) if current else {}


def history(settings: Settings) -> list[Version]:
    """Every version, the newest first."""
    rows = read(open_table(settings, _TABLE), _TABLE)
    versions: list[Version] = []
    before: Policies = {DEFAULTS: BUILT_IN}
    for number in rows["policy_version"].unique().sort().to_list():
        group = rows.filter(pl.col("policy_version") == number)
        now = policies_from(group)
        first = group.row(0, named=True)
        changes = len(diff(before, now))
        versions.append(Version(number, first["applied_at"], first["file_hash"], len(now) - 1, changes))
        before = now
    return versions[::-1]


def diff(old: Policies, new: Policies) -> list[Change]:
    """What differs: the defaults first, then suppliers by id; one that is not listed has its side's defaults."""
    return list(_changes(old, new))


def changes_of(old: Policies, new: Policies, supplier: str) -> list[Change]:
    """What differs for one supplier, listed or not."""
    before, after = effective(old, supplier), effective(new, supplier)
    values = ((key, getattr(before, key), getattr(after, key)) for key in Policy.model_fields)
    return [Change(supplier, key, was, is_now) for key, was, is_now in values if was != is_now]


def effective(policies: Policies, supplier: str | None) -> Policy:
    """What holds for a supplier: its own policy, or the defaults where it is not listed."""
    return policies.get(supplier, policies[DEFAULTS])


def _changes(old: Policies, new: Policies) -> Iterator[Change]:
    suppliers: list[str | None] = [DEFAULTS]
    suppliers += sorted({supplier for supplier in (*old, *new) if supplier is not None})
    for supplier in suppliers:
        if (supplier in old) != (supplier in new):
            yield Change(supplier, "listed", supplier in old, supplier in new)
        before, after = effective(old, supplier), effective(new, supplier)
        for key in Policy.model_fields:
            if getattr(before, key) != getattr(after, key):
                yield Change(supplier, key, getattr(before, key), getattr(after, key))


def _current(table: DeltaTable | None) -> tuple[int, Policies]:
    rows = read(table, _TABLE)
    if rows.is_empty():
        return 0, {DEFAULTS: BUILT_IN}
    newest = rows.filter(pl.col("policy_version") == pl.col("policy_version").max())
    return int(newest["policy_version"][0]), policies_from(newest)


def _applied_at(table: DeltaTable | None, version: int) -> datetime | None:
    rows = read(table, _TABLE).filter(pl.col("policy_version") == version)
    return None if rows.is_empty() else rows["applied_at"][0]


def policies_from(rows: pl.DataFrame) -> dict[str | None, Policy]:
    """The policies by supplier of one version's rows of ref/policies; the defaults under None."""
    return {
        row["supplier_id"]: Policy(**{key: row[_COLUMNS.get(key, key)] for key in Policy.model_fields})
        for row in rows.sort("supplier_id", nulls_last=False).iter_rows(named=True)
    }
