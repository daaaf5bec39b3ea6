"""Records of bronze and quarantine found, and their payloads replaced, through delta-rs, beside whoever writes.

As in `reco maintain`: it commits only where the next version is free, so it can never take a job's commit away; where a
job replaced the same files, it begins again from the newest version.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import polars as pl
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties
from deltalake.exceptions import CommitFailedError, DeltaError

from jobs.common.arrow import polars_schema
from jobs.common.errors import FAILED, UserError
from jobs.common.lake import open_table, scan
from jobs.common.law import PLACE, is_heartbeat
from jobs.common.log import get_logger
from jobs.common.marks import erased_mark, erased_value
from jobs.common.settings import Settings
from jobs.erase.wanted import Wanted, header_supplier, payload_supplier
from schemas.tables import TABLES

log = get_logger(__name__)

#: What holds payloads.
NAMES = ("activity_raw", "quarantine")
_TRIES = 5
_HOOKS = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)
#: So many records are replaced with one commit; more would make a long predicate.
_TOGETHER = 5_000
_RECORD = (*PLACE, "ingest_date", "value", "headers", "key")
_PLACE = {"topic": pl.String(), "partition": pl.Int32(), "offset": pl.Int64()}
Place = tuple[str, int, int]


def find(settings: Settings, wanted: Wanted) -> set[Place]:
    """The coordinates of the records that the request is about, in either table."""
    found = _of_activities(settings, wanted) if wanted.activities else set()
    for name in NAMES:
        table = open_table(settings, name)
        if table is None:
            continue
        for rows in _days(table):
            may_be = rows.filter(_may_have(wanted)).select(_RECORD).collect(engine="streaming")
            for topic, part, offset, _, value, headers, key in may_be.iter_rows():
                if wanted.is_in(value, headers, key):
                    found.add((topic, part, offset))
    return found


def left(settings: Settings, name: str, places: set[Place]) -> pl.DataFrame:
    """Those of the records that this table has and that are not erased, with their content."""
    table = open_table(settings, name)
    if table is None or not places:
        return pl.DataFrame(schema={column: polars_schema(TABLES[name].schema)[column] for column in _RECORD})
    wanted = pl.LazyFrame(sorted(places), schema=_PLACE, orient="row")
    offsets = [offset for *_, offset in places]
    near = pl.col("offset").is_between(min(offsets), max(offsets))
    there = scan(table).filter(near).select(_RECORD).join(wanted, on=PLACE, how="semi").collect(engine="streaming")
    is_erased = pl.Series([erased_mark(value) is not None for value in there["value"]], dtype=pl.Boolean)
    return there.filter(~is_erased)


def erase(settings: Settings, name: str, places: set[Place], wanted: Wanted, request: str, at: datetime) -> int | None:
    """Replace the payloads of these records; the table's version in which none is left, None where it is absent.

    UserError where a job was in the way again and again: what is erased stays erased.
    """
    why = ""
    for _ in range(_TRIES):
        rows = left(settings, name, places)
        if rows.is_empty():
            table = open_table(settings, name)
            return None if table is None else table.version()
        try:
            _replace(settings, name, rows, wanted, request, at)
        except CommitFailedError as error:
            why = str(error)[:200]
            log.info("again", table=name, because=why)
        except (DeltaError, OSError) as error:
            raise UserError(f"The table {TABLES[name].path} cannot be written: {error}", FAILED) from error
    raise UserError(
        f"Running jobs were in the way of request {request} in {TABLES[name].path} ({why or 'its commits were lost'}): "
        "what was erased stays so; run the same command again.",
        FAILED,
    )


def marked(settings: Settings, name: str, request: str) -> int:
    """How many records of the table bear the mark of a request."""
    table = open_table(settings, name)
    if table is None:
        return 0
    may_be = scan(table).filter(pl.col("value").bin.contains(b'"reco:erased"')).select("value").collect()
    marks = [erased_mark(value) for value in may_be["value"]]
    return sum(mark is not None and mark.request == request for mark in marks)


def _days(table: DeltaTable) -> list[pl.LazyFrame]:
    """The table's rows, one day's partition each: so much is looked through at a time."""
    rows = scan(table)
    if "ingest_date" not in table.metadata().partition_columns:
        return [rows]
    days = sorted({str(found["ingest_date"]) for found in table.partitions()})
    return [rows.filter(pl.col("ingest_date") == date.fromisoformat(day)) for day in days]


def _may_have(wanted: Wanted) -> pl.Expr:
    """False for records that cannot have it; an escape may hide anything."""
    has = pl.col("value").bin.contains(b"\\").fill_null(value=False)
    for needle in wanted.needles:
        in_headers = pl.element().struct.field("value").bin.contains(needle)
        has |= pl.col("value").bin.contains(needle).fill_null(value=False)
        has |= pl.col("key").bin.contains(needle).fill_null(value=False)
        has |= pl.col("headers").list.eval(in_headers).list.any().fill_null(value=False)
    return has


def _of_activities(settings: Settings, wanted: Wanted) -> set[Place]:
    silver = open_table(settings, "activity")
    if silver is None:
        return set()
    keys = pl.LazyFrame(sorted(wanted.activities), schema=["supplier_id", "activity_id"], orient="row")
    rows = scan(silver).join(keys, on=["supplier_id", "activity_id"], how="semi").select(PLACE)
    return set(rows.collect(engine="streaming").iter_rows())


def _replace(settings: Settings, name: str, rows: pl.DataFrame, wanted: Wanted, request: str, at: datetime) -> None:
    """Replace the records' payloads and headers, and keys that have what is looked for; one commit a kind of mark."""
    groups: dict[tuple[bytes, bool], list[dict[str, Any]]] = {}
    for row in rows.iter_rows(named=True):
        supplier = header_supplier(row["headers"]) or payload_supplier(row["value"])
        if supplier is not None and any(text in supplier for text in wanted.texts):
            supplier = None
        mark = erased_value(request, at, supplier, is_heartbeat(row["value"]))
        groups.setdefault((mark, wanted.is_in_key(row["key"])), []).append(row)
    for (mark, lose_key), records in sorted(groups.items(), key=lambda group: group[0]):
        for first in range(0, len(records), _TOGETHER):
            table = open_table(settings, name)
            assert table is not None
            table.update(
                updates={"value": f"X'{mark.hex()}'", "headers": "NULL", **({"key": "NULL"} if lose_key else {})},
                predicate=_predicate(records[first : first + _TOGETHER]),
                commit_properties=CommitProperties(custom_metadata={"erasure": request}),
                post_commithook_properties=_HOOKS,
            )


def _predicate(records: Sequence[dict[str, Any]]) -> str:
    """True on these records; days and offsets as constants, so that other files are not read."""
    groups: dict[tuple[Any, str, int], list[int]] = {}
    for row in records:
        groups.setdefault((row["ingest_date"], row["topic"], row["partition"]), []).append(row["offset"])
    parts = [
        f"(ingest_date = DATE '{day}' AND topic = '{topic}' AND partition = {partition} "
        f"AND offset IN ({', '.join(map(str, sorted(offsets)))}))"
        for (day, topic, partition), offsets in sorted(groups.items())
    ]
    return " OR ".join(parts)
