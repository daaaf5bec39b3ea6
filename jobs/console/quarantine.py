"""Quarantine: counts by reason and supplier, and the records; a record's supplier is the one that it names itself."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from jobs.common.marks import erased_mark, is_masked_whole
from jobs.console.tables import Tables
from jobs.console.text import payload_text
from jobs.console.users import User

PAGE = 50
#: Bytes of a record that are looked at for its supplier; a longer one names none.
_PARSED = 64 << 10
_PLACE = ("topic", "partition", "offset")
_COLUMNS = (*_PLACE, "source", "kafka_time", "ingest_date", "reasons")


def known(tables: Tables, user: User) -> pl.DataFrame:
    """Every quarantined record's place, time, reasons and supplier (null where it names none), without its content.

    A user limited to suppliers sees the records that name one of them.
    """
    rows = tables.made_behind("quarantine", ("quarantine",), lambda _: _known(tables))
    return rows if user.suppliers is None else rows.filter(pl.col("supplier_id").is_in(list(user.suppliers)))


def _known(tables: Tables) -> pl.DataFrame:
    found = tables.scan("quarantine")
    if found is None:
        text = pl.String()
        kinds = {"reasons": pl.List(text), "supplier_id": text, "kafka_time": pl.Datetime("us", "UTC")}
        return pl.DataFrame(schema=pl.Schema({**dict.fromkeys(_COLUMNS, text), **kinds}))
    raw = found.select(*_COLUMNS, pl.col("value").bin.head(_PARSED), "headers").collect(engine="streaming")
    named = [supplier_of(value, headers) for value, headers in raw.select("value", "headers").iter_rows()]
    return raw.drop("value", "headers").with_columns(pl.Series("supplier_id", named, dtype=pl.String))


def supplier_of(value: bytes | None, headers: list[dict[str, Any]] | None) -> str | None:
    """Whose a raw record says it is: by its header `supplierId`, else by its payload; None where neither tells."""
    for header in headers or []:
        if header["key"] == "supplierId" and header["value"]:
            return bytes(header["value"]).decode("utf-8", "replace")
    try:
        payload = json.loads(value or b"")
    except (ValueError, RecursionError):
        return None
    told = payload.get("supplierId") if isinstance(payload, dict) else None
    # Half a surrogate pair, which JSON can escape, is no text.
    return told.encode("utf-8", "replace").decode() if isinstance(told, str) else None


def counts(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Records by reason and supplier (a record counts under each of its reasons), the most first."""
    each = rows.select("supplier_id", pl.col("reasons").alias("reason")).explode("reason")
    by = each.group_by("reason", "supplier_id").agg(pl.len().alias("records"))
    return by.sort("records", "reason", "supplier_id", descending=[True, False, False]).to_dicts()


def records(
    tables: Tables, user: User, reason: str = "", supplier: str = "", page: int = 1
) -> tuple[int, list[dict[str, Any]]]:
    """How many records there are of that reason and supplier, and one page of them with content, the newest first."""
    rows = filtered(known(tables, user), reason, supplier)
    newest = rows.sort("kafka_time", *_PLACE, descending=[True, False, False, True])
    chosen = newest.slice((page - 1) * PAGE, PAGE)
    return rows.height, contents(tables, "quarantine", chosen.to_dicts())


def filtered(rows: pl.DataFrame, reason: str, supplier: str) -> pl.DataFrame:
    """Those of that reason and supplier (`-` for records that name none), each where it is not blank."""
    if reason:
        rows = rows.filter(pl.col("reasons").list.contains(reason))
    if supplier:
        rows = rows.filter(pl.col("supplier_id").is_null() if supplier == "-" else pl.col("supplier_id") == supplier)
    return rows


def contents(tables: Tables, name: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with their records' key, value and headers as text, looked up by place and `ingest_date`."""
    by_place = {_at(row): row for row in whole_records(tables, name, rows)}
    return [{**row, **_shown(by_place.get(_at(row)))} for row in rows]


def whole_records(tables: Tables, name: str, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The records at the rows' places as the table has them, each once; some may not be there any more."""
    found = tables.scan(name)
    if found is None or not rows:
        return []
    days = sorted({row["ingest_date"] for row in rows})
    offsets = [row["offset"] for row in rows]
    raw = found.filter(
        pl.col("ingest_date").is_in(days),
        pl.col("offset").is_between(min(offsets), max(offsets)),
        pl.col("offset").is_in(offsets),
    ).collect()
    wanted = {_at(row) for row in rows}
    return list({_at(row): row for row in raw.to_dicts() if _at(row) in wanted}.values())


def _at(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[part] for part in _PLACE)


def _shown(raw: dict[str, Any] | None) -> dict[str, Any]:
    if raw is None:
        return {"key_text": None, "value_text": None, "headers_text": []}
    headers = [(one["key"], payload_text(one["value"])) for one in raw["headers"] or []]
    erased = erased_mark(raw["value"])
    text = f"E{str(erased)[1:]}." if erased else payload_text(raw["value"])
    if is_masked_whole(raw["value"]):
        text = f"Masked whole, for personal fields could not be told apart in it:\n{text}"
    return {"key_text": payload_text(raw["key"]), "value_text": text, "headers_text": headers}
