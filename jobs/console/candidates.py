"""Near candidates: what the other side may have called the same thing by another id."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import polars as pl

from jobs.common.margins import major
from jobs.console.exceptions import everything
from jobs.console.tables import Tables

SHOWN = 10
_HOURS = timedelta(hours=2)
#: Amounts so near are alike: a part in so many.
_PART = 50
_KINDS = {
    "MISSING_SUPPLIER": ("agoda", "SUPPLIER", "MISSING_AGODA"),
    "MISSING_AGODA": ("supplier", "AGODA", "MISSING_SUPPLIER"),
}


def candidates(tables: Tables, row: Mapping[str, Any], fact: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Events of the missing side, of the same supplier and currency, amount and time alike, under another id.

    Those that miss the other side themselves come first (`unmatched`), then by amount and time. None where nothing is
    missing, or where it came in the meantime.
    """
    kind = _KINDS.get(row["anomaly_type"])
    found = tables.scan("activity")
    if kind is None or found is None or fact[f"{kind[0]}_event_time"] is None:
        return []
    there, missing, their_break = kind
    at, amount, currency = (fact[f"{there}_{name}"] for name in ("event_time", "amount_minor", "currency"))
    reach = amount // _PART
    near = (
        found.filter(
            pl.col("event_date").is_between((at - _HOURS).date(), (at + _HOURS).date()),
            pl.col("event_time").is_between(at - _HOURS, at + _HOURS),
            pl.col("supplier_id") == row["supplier_id"],
            pl.col("source") == missing,
            pl.col("currency") == currency,
            pl.col("amount_minor").is_between(amount - reach, amount + reach),
            pl.col("activity_id") != row["activity_id"],
        )
        .select("activity_id", "activity_type", "amount_minor", "currency", "status", "version", "event_time")
        .unique("activity_id", keep="first")
        .collect()
    )
    rows = everything(tables).filter(
        pl.col("anomaly_type") == their_break,
        pl.col("supplier_id") == row["supplier_id"],
        pl.col("activity_id").is_in(near["activity_id"].implode()),
    )
    unmatched = dict(rows.filter(pl.col("state") != "RESOLVED").select("activity_id", "exception_id").iter_rows())
    told = []
    for one in near.iter_rows(named=True):
        apart = abs(one["amount_minor"] - amount), abs(one["event_time"] - at)
        exception = unmatched.get(one["activity_id"])
        more = {"amount": major(one["amount_minor"], currency), "seconds_apart": int(apart[1].total_seconds())}
        told.append(
            (exception is None, apart, {**one, **more, "unmatched": exception is not None, "exception_id": exception})
        )
    told.sort(key=lambda one: (one[0], one[1], one[2]["activity_id"]))
    return [one[2] for one in told[:SHOWN]]
