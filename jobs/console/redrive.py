"""Quarantined records sent once more to the raw topic they came by, after a format, a policy or an entry was mended."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from confluent_kafka import KafkaException, Producer

from jobs.common.errors import FAILED, UserError
from jobs.common.kafka import client_options
from jobs.common.kafka_reach import Right, partitions
from jobs.common.marks import erased_mark, is_masked_whole
from jobs.console import quarantine
from jobs.console.tables import Tables
from jobs.console.users import User

#: Records that are sent at once.
MOST = 1_000
#: The header that says where the record was before.
HEADER = "redriven"
_SECONDS = 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def chosen(tables: Tables, user: User, reason: str, supplier: str, places: Sequence[str]) -> list[dict[str, Any]]:
    """The user's records of that reason and supplier, of these places (topic/partition@offset) where any are named.

    UserError where there are none or too many, or a place is not there for the user.
    """
    if not (reason or supplier or places):
        raise UserError("Say which records: of a reason, of a supplier, or at places; nothing was sent.")
    rows = quarantine.filtered(quarantine.known(tables, user), reason, supplier)
    if places:
        rows = rows.filter(pl.format("{}/{}@{}", "topic", "partition", "offset").is_in(list(places)))
        if rows.height < len(set(places)):
            raise UserError("One of these records is not there, or not for you; nothing was sent.")
    if rows.is_empty():
        raise UserError("There is no such record to send again; nothing was sent.")
    if rows.height > MOST:
        raise UserError(f"{rows.height:,} records are too many at once; narrow it down to {MOST:,}. Nothing was sent.")
    return rows.to_dicts()


def redrive(tables: Tables, rows: Sequence[dict[str, Any]]) -> int:
    """Send each record as it came: topic, partition, key, value, headers and time; how many were sent.

    A record without an event id of its own is given the one that it had by its place, so that whoever sends it twice
    makes a redelivery of it. UserError where one cannot be sent; those before it may have been.
    """
    settings = tables.settings
    ours = (settings.topics.agoda_raw, settings.topics.supplier_raw)
    found = quarantine.whole_records(tables, "quarantine", rows)
    for row in found:
        if row["topic"] not in ours:
            raise UserError(f"{row['topic']} is no raw topic of these settings; nothing was sent.")
        if row["value"] is None or "TOO_LARGE" in row["reasons"]:
            raise UserError(f"{_place(row)} has no content, or too much of it, to be sent again; nothing was sent.")
        if erased := erased_mark(row["value"]):
            raise UserError(f"{_place(row)} was {erased} and cannot be sent again; nothing was sent.")
        if is_masked_whole(row["value"]):
            raise UserError(
                f"{_place(row)} was masked whole, so nothing of it is left to be sent again: ask its sender to publish "
                "it once more; nothing was sent."
            )
    try:
        partitions(settings, {row["topic"]: (Right.WRITE,) for row in found}, seconds=_SECONDS)
    except UserError as error:
        raise UserError(f"{len(found):,} of {len(found):,} records could not be sent. {error}", FAILED) from error
    failed: list[str] = []
    quiet = {"log_level": 2, "error_cb": lambda _error: None, "message.timeout.ms": _SECONDS * 1000}
    producer = Producer({**client_options(settings), "enable.idempotence": True, **quiet})
    for row in found:
        headers = _headers(row)
        try:
            producer.produce(
                row["topic"],
                key=row["key"],
                value=row["value"],
                headers=headers,
                partition=row["partition"],
                timestamp=(row["kafka_time"] - _EPOCH) // timedelta(milliseconds=1),
                on_delivery=lambda error, _record: failed.append(str(error)) if error else None,
            )
        except (BufferError, KafkaException) as error:
            failed.append(str(error))
    left = producer.flush(_SECONDS + 5)
    if failed or left:
        why = failed[0] if failed else "no answer"
        raise UserError(
            f"{len(failed) + left:,} of {len(found):,} records could not be sent ({why}): see whether the broker runs, "
            "and send them again; those sent twice count once.",
            FAILED,
        )
    return len(found)


def _headers(row: dict[str, Any]) -> list[tuple[str, str | bytes | None]]:
    held = [(one["key"], one["value"]) for one in row["headers"] or [] if one["key"] != HEADER]
    by_place = f"{row['topic']}-{row['partition']}-{row['offset']}".encode()
    given = [] if any(name == "id" for name, _ in held) else [("id", by_place)]
    return [*held, *given, (HEADER, _place(row).encode())]


def _place(row: dict[str, Any]) -> str:
    return f"{row['topic']}/{row['partition']}@{row['offset']}"
