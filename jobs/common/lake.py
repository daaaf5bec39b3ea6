"""Delta tables read and appended to without a JVM: for configuration and for looking at the lake."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import polars as pl
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from jobs.common.arrow import delta_schema, polars_schema
from jobs.common.errors import FAILED, UNREADABLE, UserError
from jobs.common.lake_root import SCHEME
from jobs.common.places import require_writable_lake, require_writable_table
from jobs.common.settings import Settings
from jobs.common.storage import Storage
from schemas.tables import TABLES

#: What to do about a table that cannot be written.
_UNWRITTEN = "see that this user may write there, and that there is room."
#: So many files of a table are looked for: each is a request to a store.
_LOOKED_AT = 5
#: Versions stay readable for ten years, so that a close can be replayed from its pinned inputs; rows are only added.
_PROPERTIES = {
    "delta.appendOnly": "true",
    "delta.logRetentionDuration": "interval 3650 days",
    "delta.deletedFileRetentionDuration": "interval 3650 days",
}


class RacedError(UserError):
    """Somebody else appended a version since the one that ours was to follow."""


def options_of(path: str) -> dict[str, str]:
    """How deltalake reaches a path: `s3a://` by the AWS_… variables, committing only where a version is free."""
    return {} if SCHEME.match(path) is None else {"aws_conditional_put": "etag"}


def open_table(settings: Settings, name: str) -> DeltaTable | None:
    """The table as it is now, or None where it has not been created yet."""
    path = settings.table_path(name)
    of = options_of(path)
    try:
        return DeltaTable(path, storage_options=of) if DeltaTable.is_deltatable(path, of) else None
    except TableNotFoundError:
        return None
    except (DeltaError, OSError) as error:
        raise UserError(f"The table {path} cannot be read: {error}; {UNREADABLE}", FAILED, remedy=UNREADABLE) from error


def missing_file(path: str, table: DeltaTable) -> str | None:
    """One of the table's newest files that is not there, of a few; None where all are.

    A log outlives its files where somebody removed them by hand, and tells nobody: what reads the log alone is content.
    """
    files = pl.DataFrame(table.get_add_actions(flatten=True)).sort("modification_time", descending=True)
    storage = Storage(path)
    for name in files["path"].head(_LOOKED_AT).to_list():
        # The log's spelling of a file is that of an address; a path that is one itself is of another place.
        is_ours = SCHEME.match(name) is None and not name.startswith("/")
        if is_ours and not storage.is_there(name) and not storage.is_there(unquote(name)):
            return f"{path}/{name}"
    return None


def scan(table: DeltaTable) -> pl.LazyFrame:
    """The rows of this version of the table."""
    return pl.scan_delta(table)


def read(table: DeltaTable | None, name: str) -> pl.DataFrame:
    """All rows with the columns of schemas.tables.TABLES[name]; no rows where the table is absent."""
    schema = polars_schema(TABLES[name].schema)
    return pl.DataFrame(schema=schema) if table is None else scan(table).select(list(schema)).collect()


def append_version(
    settings: Settings, name: str, rows: Sequence[Mapping[str, Any]], version: int, table: DeltaTable | None
) -> None:
    """Appends one version's rows in one commit, creating the table where it is missing.

    `table` is what the version number was derived from: where somebody else has appended since, nothing is written
    and UserError asks to try again, so that no two appends ever share a version number.
    """
    described = TABLES[name]
    if table is None:
        require_writable_lake(settings)
        table = _created(settings, name)
        if table.version() > 0:
            raise _raced(described.path)
    require_writable_table(settings, name)
    frame = pl.DataFrame([dict(row) for row in rows], schema=polars_schema(described.schema), orient="row")
    once = CommitProperties(app_transactions=[Transaction(f"reco-{name}", version)])
    try:
        write_deltalake(table, frame, mode="append", commit_properties=once)
    except CommitFailedError as error:
        raise _raced(described.path) from error
    except (DeltaError, OSError) as error:
        raise _unwritten(described.path, error) from error


def _created(settings: Settings, name: str) -> DeltaTable:
    described, path = TABLES[name], settings.table_path(name)
    try:
        return DeltaTable.create(
            path,
            delta_schema(described.schema),
            mode="ignore",
            partition_by=list(described.partition_by),
            description=described.comment,
            configuration={**_PROPERTIES, **described.all_properties},
            storage_options=options_of(path),
        )
    except (DeltaError, OSError) as error:
        raise _unwritten(described.path, error) from error


def _unwritten(path: str, error: Exception) -> UserError:
    return UserError(f"The table {path} cannot be written: {error}; {_UNWRITTEN}", FAILED, remedy=_UNWRITTEN)


def _raced(path: str) -> RacedError:
    return RacedError(f"Somebody else wrote {path} at the same moment; nothing was applied, try again.", FAILED)
