"""Who writes a table: told by the table itself, asked once when a job starts.

Two drivers that write one table on S3 lose each other's commits in silence, so the second one is refused.
"""

import json
import time
from collections.abc import Sequence

from deltalake import DeltaTable
from obstore.exceptions import BaseError

from jobs.common.errors import FAILED, UserError
from jobs.common.groups import GATHERED, grouping
from jobs.common.lake import open_table
from jobs.common.lasting import lasting
from jobs.common.log import get_logger
from jobs.common.settings import Settings
from jobs.common.storage import Storage
from schemas.tables import TABLES

log = get_logger(__name__)

PROPERTY = "reco.owner"
_TRIES = 5


def owner_of(settings: Settings, name: str) -> str:
    """The application of these settings that writes the table, like `stream:_checkpoints` or `close@emr`.

    A streaming job is known by where its checkpoints are, within the lake or elsewhere; `lake.writer` tells
    installations apart. What several match applications give is gathered by one, which is known by their grouping.
    """
    role, writer = TABLES[name].owner, settings.lake.writer
    if role == "stream":
        place = settings.stream.checkpoint_root.removeprefix(f"{settings.lake.root}/")
        gathers = name in GATHERED and settings.stream.match_groups > 1 and not settings.is_part
        role = f"{role}:{place}/gather/{grouping(settings)}" if gathers else f"{role}:{place}"
    return f"{role}@{writer}" if writer else role


def claim(settings: Settings, names: Sequence[str], *, take_over: bool = False) -> None:
    """Make sure that these tables, as far as they are there, are ours to write; one without an owner becomes ours.

    Tables of before also get the retention that new ones have.

    UserError where another application owns one, unless `take_over`: then it is ours from now on.
    """
    for name in names:
        table, mine = open_table(settings, name), owner_of(settings, name)
        if table is None:
            continue
        wanted, told = {PROPERTY: mine, **lasting(name)}, table.metadata().configuration
        if wanted.items() <= told.items():
            continue
        if (other := told.get(PROPERTY, mine)) != mine:
            if not take_over:
                raise UserError(
                    f"The table {settings.told_path(name)} of {settings.lake.root} is written by {other}, and this is "
                    f"{mine}: two writers lose rows. Set stream.checkpoint_root and lake.writer to what they were, or "
                    "make sure that the other has stopped for good and say --take-over."
                )
            log.warning("taken over", table=name, owner=other, by=mine)
        _write(settings, name, wanted)


def _write(settings: Settings, name: str, wanted: dict[str, str]) -> None:
    try:
        for _ in range(_TRIES):
            table = open_table(settings, name)
            assert table is not None
            if Storage(settings.table_path(name)).create(
                f"_delta_log/{table.version() + 1:020}.json", _commit(table, wanted)
            ):
                return
    except (BaseError, OSError) as error:
        raise UserError(f"The table {settings.told_path(name)} cannot be written: {error}", FAILED) from error
    raise UserError(f"The table {settings.told_path(name)} is written without a pause: try again.", FAILED)


def _commit(table: DeltaTable, wanted: dict[str, str]) -> bytes:
    """A commit that sets properties and nothing else.

    delta-rs' own would raise a table that has a change feed to reader version 2, which Polars does not read.
    The form: github.com/delta-io/delta, PROTOCOL.md, "Change Metadata".
    """
    told = table.metadata()
    named = {"id": told.id, "name": told.name, "description": told.description, "createdTime": told.created_time}
    metadata = {
        **{key: value for key, value in named.items() if value is not None},
        "format": {"provider": "parquet", "options": {}},
        "schemaString": table.schema().to_json(),
        "partitionColumns": told.partition_columns,
        "configuration": told.configuration | wanted,
    }
    said = {"operation": "SET TBLPROPERTIES", "operationParameters": {"properties": json.dumps(wanted)}}
    info = {"timestamp": time.time_ns() // 1_000_000, **said}
    return "".join(json.dumps(action) + "\n" for action in ({"commitInfo": info}, {"metaData": metadata})).encode()
