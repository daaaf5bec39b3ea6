"""Tables of a lake made without a JVM, as small as a test needs them."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl
from deltalake import write_deltalake

from jobs.common.arrow import polars_schema
from jobs.common.lake import options_of
from jobs.common.settings import Settings
from schemas.tables import TABLES

AT = datetime(2026, 3, 9, 10, tzinfo=UTC)
BEAT = json.dumps({"heartbeat": True, "eventTime": "2026-03-09T10:00:00.000Z"}).encode()
EVENT = b'{"eventId":"e"}'


def bronze(offset: int, value: bytes | None = EVENT, source: str = "AGODA") -> dict[str, Any]:
    return {**place(offset, source), "kafka_time": AT, "value": value, "ingest_date": AT.date()}


def place(offset: int, source: str = "AGODA") -> dict[str, Any]:
    return {"source": source, "topic": f"{source.lower()}.raw.activity", "partition": 0, "offset": offset}


def event(offset: int, source: str = "AGODA") -> dict[str, Any]:
    return {**place(offset, source), "event_time": AT, "kafka_time": AT, "event_date": AT.date()}


def quarantined(offset: int, *reasons: str) -> dict[str, Any]:
    return {**bronze(offset), "reasons": list(reasons)}


def put(settings: Settings, name: str, rows: Sequence[dict[str, Any]]) -> None:
    """Appends rows; columns left out are null, and only the columns named are made where the type is not plain."""
    fields = [field for field in TABLES[name].schema.fields if field.dataType.typeName() != "map"]
    schema = polars_schema(type(TABLES[name].schema)(fields))
    frame = pl.DataFrame([{key: row.get(key) for key in schema} for row in rows], schema=schema, orient="row")
    write_deltalake(settings.table_path(name), frame, mode="append", storage_options=options_of(settings.lake.root))
