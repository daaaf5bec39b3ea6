"""What proposed policies would have done, as `reco policies backtest --save` kept it; limited to a user's suppliers."""

from decimal import Decimal
from typing import Any

import polars as pl

from jobs.common.arrow import polars_schema
from jobs.console.limited import limited
from jobs.console.tables import Tables
from jobs.console.users import User
from schemas.tables import TABLES

TABLE = "policy_backtests"
#: Backtests that the list shows, suppliers that it names, and examples of one.
NEWEST, NAMED, EXAMPLES = 200, 3, 60
_HEAD = ("backtest_id", "ran_at", "file", "file_hash", "first_date", "last_date", "closes", "code_version")
_COUNTS = ("before", "after", "lost", "gained", "reweighed", "lost_unpriced", "gained_unpriced")
_MONEY = ("before_usd", "after_usd", "lost_usd", "gained_usd")
_EXACT = pl.Decimal(38, 6)


def listed(tables: Tables, user: User, supplier: str | None = None) -> list[dict[str, Any]]:
    """The newest backtests with sums over the suppliers that the user may see, or over one of them."""
    rows = limited(tables.made("backtests", (TABLE,), lambda: _by_supplier(tables)).lazy(), user)
    if supplier is not None:
        rows = rows.filter(pl.col("supplier_id") == supplier)
    changed = pl.col("supplier_id").filter(pl.col("flips") > 0)
    sums = (
        rows.group_by("backtest_id")
        .agg(
            *(pl.col(name).first() for name in _HEAD[1:]),
            *(pl.col(name).sum() for name in ("keys", "flips", *_COUNTS, *_MONEY)),
            pl.len().alias("suppliers"),
            changed.sort().head(NAMED).alias("named"),
            changed.len().alias("suppliers_changed"),
        )
        .sort("ran_at", "backtest_id", descending=True)
        .head(NEWEST)
    )
    return [{**row, "moved_usd": row["after_usd"] - row["before_usd"]} for row in sums.collect().to_dicts()]


def _by_supplier(tables: Tables) -> pl.DataFrame:
    """One row a backtest and supplier, its kinds summed."""
    schema = polars_schema(TABLES[TABLE].schema)
    found = tables.scan(TABLE)
    rows = pl.LazyFrame(schema=schema) if found is None else found.select(list(schema))
    kinds = rows.select("backtest_id", "supplier_id", "tallies").explode("tallies").unnest("tallies")
    sums = kinds.group_by("backtest_id", "supplier_id").agg(
        *(pl.col(name).sum() for name in _COUNTS), *(pl.col(name).cast(_EXACT).sum() for name in _MONEY)
    )
    whole = rows.select(*_HEAD, "supplier_id", "keys", "flips")
    return whole.join(sums, on=["backtest_id", "supplier_id"], how="left").collect()


def one(tables: Tables, user: User, backtest_id: str) -> dict[str, Any] | None:
    """One backtest: by kind, by supplier, examples, changes; None where the user may see nothing of it."""
    head = next((row for row in listed(tables, user) if row["backtest_id"] == backtest_id), None)
    found = tables.scan(TABLE)
    if head is None or found is None:
        return None
    rows = limited(found.filter(pl.col("backtest_id") == backtest_id), user).sort("supplier_id").collect().to_dicts()
    suppliers = [_supplier(row) for row in rows]
    examples = [{"supplier_id": row["supplier_id"], **edge} for row in rows for edge in row["examples"] or []]
    return {
        **head,
        "by_kind": _by_kind(rows),
        "by_supplier": sorted(suppliers, key=lambda row: (-row["lost_usd"] - row["gained_usd"], -row["flips"])),
        "examples": examples[:EXAMPLES],
        "examples_in_all": len(examples),
    }


def _supplier(row: dict[str, Any]) -> dict[str, Any]:
    kept = {name: row[name] for name in ("supplier_id", "keys", "flips", "policy_changes")}
    return {**kept, **_sum(row["tallies"] or [])}


def _by_kind(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kinds: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        for tally in row["tallies"] or []:
            kinds.setdefault(tally["anomaly_type"], []).append(tally)
    return [{"anomaly_type": kind, **_sum(kinds[kind])} for kind in sorted(kinds)]


def _sum(tallies: list[dict[str, Any]]) -> dict[str, Any]:
    counts = {name: sum(tally[name] or 0 for tally in tallies) for name in _COUNTS}
    money = {name: sum((tally[name] or Decimal(0) for tally in tallies), Decimal(0)) for name in _MONEY}
    return {**counts, **money, "moved_usd": money["after_usd"] - money["before_usd"]}
