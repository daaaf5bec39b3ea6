"""Delta tables for an engine that reads Parquet files and gives out Arrow streams: by deltalake, without a JVM."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction

from jobs.common.arrow import delta_schema
from jobs.common.errors import FAILED, UNREADABLE, TableMovedError, UserError
from jobs.common.lasting import lasting
from jobs.common.ownership import PROPERTY, owner_of
from jobs.common.settings import Settings
from schemas.tables import ADDED_LATER, TABLES

#: As tables made by Spark have it (jobs/common/tables.py).
_PROPERTIES = {"delta.enableDeletionVectors": "false"}
#: So often a commit is tried beside others'.
_ATTEMPTS = 20
#: What a reader must understand that takes a table for the files of its log.
_UNDERSTOOD = {"timestampNtz", "v2Checkpoint", "vacuumProtocolCheck"}


class Files(NamedTuple):
    """One version of a table: its Parquet files, their columns in order, the partition columns among them, bytes."""

    paths: list[str]
    columns: list[str]
    partition_by: list[str]


def exists(path: str) -> bool:
    """Whether a Delta table with at least one commit lies there."""
    return DeltaTable.is_deltatable(path)


def opened(path: str, version: int | None = None) -> DeltaTable:
    """The table as it is, or as it was at a version. UserError where that cannot be read."""
    try:
        return DeltaTable(path, version=version)
    except (DeltaError, TableNotFoundError, OSError) as error:
        at = "" if version is None else f" at version {version}"
        raise UserError(
            f"The table {path}{at} cannot be read: {error}; {UNREADABLE}", FAILED, remedy=UNREADABLE
        ) from error


def files_of(table: DeltaTable) -> Files:
    """The files of a table. UserError where there is more to know of it than its files, like deletion vectors."""
    beyond = sorted(set(table.protocol().reader_features or ()) - _UNDERSTOOD)
    path = table.table_uri
    if beyond:
        raise UserError(
            f"The table {path} has the features {', '.join(beyond)}, which only Spark reads: say --engine spark.",
            FAILED,
        )
    return Files(table.file_uris(), [field.name for field in table.schema().fields], table.metadata().partition_columns)


def created(settings: Settings, name: str) -> DeltaTable:
    """The table, made where it is not there as Spark makes it, with columns of a later build added to it.

    UserError where it has other columns than this version needs.
    """
    described, path = TABLES[name], settings.table_path(name)
    if not exists(path):
        shutil.rmtree(Path(path, "_delta_log"), ignore_errors=True)  # of a creation that was killed
        return DeltaTable.create(
            path,
            delta_schema(described.schema),
            mode="ignore",
            partition_by=list(described.partition_by),
            description=described.comment,
            configuration={
                **_PROPERTIES,
                **lasting(name),
                **described.all_properties,
                PROPERTY: owner_of(settings, name),
            },
            raise_if_key_not_exists=False,  # the owner is none of Delta's properties
        )
    table = opened(path)
    wanted, found = _types(delta_schema(described.schema)), _types(table.schema())
    later = [name for name in ADDED_LATER.get(name, ()) if name not in found]
    if later:
        table.alter.add_columns([field for field in delta_schema(described.schema).fields if field.name in later])
        found = _types(table.schema())
    for column, kind in wanted.items():
        if found.get(column) != kind:
            raise UserError(
                f"Table {path} has column {column} as {found.get(column, 'nothing')} where this version needs {kind}: "
                "see CHANGELOG.md for how to move a lake, or set lake.root to another folder."
            )
    return table


def _types(schema: Any) -> Mapping[str, str]:
    return {field.name: str(field.type) for field in schema.fields}


def append(table: DeltaTable, rows: Any) -> None:
    """Append an Arrow stream in one commit."""
    _write(table, rows, mode="append")


def replace(table: DeltaTable, rows: Any, where: str, note: str) -> None:
    """Put an Arrow stream in the place of the rows where a predicate holds, in one commit that bears the note."""
    noted = CommitProperties(custom_metadata={"userMetadata": note})
    _write(table, rows, mode="overwrite", predicate=where, commit_properties=noted)


def replace_partition(path: str, partition: tuple[str, str], file: AddAction | None, note: str) -> None:
    """Put a file that lies in the table's folder in the place of a partition, in one commit that bears the note.

    None: the partition has no rows any more. TableMovedError where others commit all the time.
    """
    # Left to itself deltalake tries again with the files that were there when the table was opened: those that
    # maintenance has put together since would stay beside the new one.
    noted = CommitProperties(custom_metadata={"userMetadata": note}, max_commit_retries=0)
    column, value = partition
    for _ in range(_ATTEMPTS):
        table = opened(path)
        try:
            table.create_write_transaction(
                [file] if file else [],
                "overwrite",
                table.schema(),
                [column],
                [(column, "=", value)],
                commit_properties=noted,
            )
        except CommitFailedError:
            continue
        return
    raise TableMovedError(path)


def upsert(table: DeltaTable, rows: Any, key: str) -> None:
    """Put rows of an Arrow stream in the place of those with the same key, and add the others, in one commit.

    TableMovedError where another commit is there by then that is newer than `table`.
    """
    try:
        merger = table.merge(rows, f"known.{key} = changed.{key}", source_alias="changed", target_alias="known")
        merger.when_matched_update_all().when_not_matched_insert_all().execute()
    except CommitFailedError as error:
        raise TableMovedError(table.table_uri) from error


def _write(table: DeltaTable, rows: Any, **options: Any) -> None:
    try:
        write_deltalake(table, rows, **options)
    except CommitFailedError as error:
        raise TableMovedError(table.table_uri) from error


def version_noted(path: str, note: str) -> int | None:
    """The newest version whose commit bears the note; None where there is none."""
    versions = [entry["version"] for entry in opened(path).history() if entry.get("userMetadata") == note]
    return max(versions, default=None)


def notes(path: str, limit: int) -> list[str]:
    """What the newest so many commits bear as notes, newest first."""
    return [entry["userMetadata"] for entry in opened(path).history(limit) if entry.get("userMetadata")]
