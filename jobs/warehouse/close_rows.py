"""One close out of the lake: its row in gold/closes, and the facts and anomalies that it left."""

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from jobs.common.arrow import polars_schema
from jobs.common.errors import FAILED, UserError
from jobs.common.lake import open_table, scan
from jobs.common.settings import Settings
from schemas.tables import TABLES

PARTS = {"reconciliation_facts": "facts", "anomalies": "anomalies"}
_SHOWN_IDS = 10


@dataclass(frozen=True)
class Close:
    """A close with what it wrote; `tables` by the names of PARTS, rows in the order of their key."""

    row: dict[str, Any]
    tables: dict[str, pl.DataFrame]
    versions: dict[str, int]


def find_close(settings: Settings, wanted: str) -> Close:
    """The close of that id, or the newest one of a date. UserError where it is not there, or not whole."""
    row = _row(settings, wanted)
    tables: dict[str, pl.DataFrame] = {}
    versions: dict[str, int] = {}
    for name, counted in PARTS.items():
        rows, versions[name] = _rows(settings, name, row, row[counted])
        key = ["supplier_id", "activity_id", *(["anomaly_type"] if name == "anomalies" else [])]
        tables[name] = rows.sort(key)
    _require_balance(row, tables)
    return Close(row, tables, versions)


def _row(settings: Settings, wanted: str) -> dict[str, Any]:
    table = open_table(settings, "closes")
    if table is None:
        raise UserError(f"There is no close {wanted}: nothing was closed yet in {settings.lake.root}.")
    closes = scan(table)
    is_date = re.fullmatch(r"\d{4}-\d\d-\d\d", wanted) is not None
    known = closes.select("close_id", "reco_date", "revision").sort("reco_date", "revision", descending=True).collect()
    try:
        chosen = (
            known.filter(pl.col("reco_date") == date.fromisoformat(wanted))
            if is_date
            else known.filter(pl.col("close_id") == wanted)
        )
    except ValueError:
        raise UserError(f"{wanted} is no date; write it as 2026-03-09.") from None
    if chosen.is_empty():
        newest = ", ".join(known["close_id"].head(_SHOWN_IDS)) or "none"
        raise UserError(f"There is no close {wanted} in {settings.table_path('closes')}; the last ones are {newest}.")
    found = closes.filter(pl.col("close_id") == chosen["close_id"][0]).collect()
    return found.row(0, named=True)


def _rows(settings: Settings, name: str, row: dict[str, Any], count: int) -> tuple[pl.DataFrame, int]:
    """The rows of the close and the table's version they are from: the newest, or the one that the close wrote."""
    table = open_table(settings, name)
    if table is None:
        raise UserError(
            f"The table {settings.table_path(name)} is not there, but the close {row['close_id']} is.", FAILED
        )
    rows = _of_close(table, name, row)
    if rows.is_empty() and count:
        version = _version_of(table, row["close_id"])
        if version is None:
            raise UserError(
                f"The rows of close {row['close_id']} in {settings.table_path(name)} were replaced by a later one, and "
                "the table's history no longer tells which version was its own; export the newest close of that date.",
                FAILED,
            )
        try:
            table.load_as_version(version)
            rows = _of_close(table, name, row)
        except (DeltaError, OSError, pl.exceptions.PolarsError) as error:
            raise UserError(
                f"Version {version} of {settings.table_path(name)}, which close {row['close_id']} wrote, can no longer "
                f"be read ({str(error)[:160]}); export the newest close of that date.",
                FAILED,
            ) from error
    return rows, table.version()


def _of_close(table: DeltaTable, name: str, row: dict[str, Any]) -> pl.DataFrame:
    schema = polars_schema(TABLES[name].schema)
    mine = (pl.col("reco_date") == row["reco_date"]) & (pl.col("close_id") == row["close_id"])
    return scan(table).filter(mine).select(list(schema)).collect()


def _version_of(table: DeltaTable, close_id: str) -> int | None:
    versions = [commit["version"] for commit in table.history() if commit.get("userMetadata") == close_id]
    return max(versions, default=None)


def _require_balance(row: dict[str, Any], tables: dict[str, pl.DataFrame]) -> None:
    for name, counted in PARTS.items():
        if len(tables[name]) != row[counted]:
            raise UserError(
                f"Close {row['close_id']} wrote {row[counted]} {counted} and gold/{name} has {len(tables[name])} of "
                "it: it is being closed again at this moment, or the table was changed by hand; run this again, and "
                "`reco replay` where it stays so.",
                FAILED,
            )
    found = tables["anomalies"]["amount_at_risk_usd"].sum() or Decimal(0)
    if found != (row["amount_at_risk_usd"] or 0):
        raise UserError(
            f"Close {row['close_id']} recorded {row['amount_at_risk_usd']} US dollars at risk and its anomalies add up "
            f"to {found}: gold/anomalies was changed by hand; see `reco replay {row['close_id']}`.",
            FAILED,
        )
