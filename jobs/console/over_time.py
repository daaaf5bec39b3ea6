"""Breaks and money at risk by closed day, told apart by severity, kind or supplier."""

from datetime import date
from decimal import Decimal
from typing import Any, Literal

import polars as pl

from jobs.console.exceptions import SEVERITIES
from jobs.console.limited import limited
from jobs.console.tables import Tables
from jobs.console.users import User

Part = Literal["severity", "anomaly_type", "supplier_id"]
_EXACT = pl.Decimal(38, 6)
_DAYS = "days"
#: By what the money at risk over time is told apart.
PARTS = {"severity": "severity", "anomaly_type": "kind", "supplier_id": "supplier"}
#: Suppliers that are told apart there, those with the most money; the others are one.
_APART, OTHERS = 7, "others"


def over_time(tables: Tables, user: User, by: Part = "severity") -> list[dict[str, Any]]:
    """Breaks and their money at risk by closed day, the oldest first.

    `parts` of a day: the money by severity, kind or supplier, in the same order on every day.
    """
    tables.made_behind(_DAYS, ("anomalies",), lambda _: _by_day(tables))
    number, days = tables.held(_DAYS)
    key = ("over time", number, user.suppliers, by)
    return tables.recent.get(key, lambda: _told(limited(days.lazy(), user), by))


def of_supplier(tables: Tables, user: User, supplier: str, days: int = 30) -> list[dict[str, Any]]:
    """Breaks of one supplier and their money at risk by closed day, the newest first; days without any are left out."""
    rows = limited(tables.made_behind(_DAYS, ("anomalies",), lambda _: _by_day(tables)).lazy(), user)
    sums = (pl.col("exceptions").sum(), pl.col("amount_at_risk_usd").sum())
    each = rows.filter(supplier_id=supplier).group_by("reco_date").agg(sums)
    return each.sort("reco_date", descending=True).head(days).collect().to_dicts()


def _told(rows: pl.LazyFrame, by: Part) -> list[dict[str, Any]]:
    sums = (pl.col("exceptions").sum(), pl.col("amount_at_risk_usd").sum())
    each = rows.group_by("reco_date", pl.col(by).alias("part")).agg(sums).collect()
    whole = each.group_by("part").agg(sums[1]).sort("amount_at_risk_usd", "part", descending=[True, False])["part"]
    names = list(SEVERITIES) if by == "severity" else whole.head(_APART).to_list()
    blank = dict.fromkeys([*names, *([OTHERS] if len(whole) > len(names) else [])], Decimal(0))
    parts: dict[date, dict[str, Decimal]] = {}
    for day, part, _, amount in each.iter_rows():
        held = parts.setdefault(day, dict(blank))
        name = part if part in names else OTHERS
        held[name] = held.get(name, Decimal(0)) + amount
    days = each.group_by("reco_date").agg(sums).sort("reco_date").to_dicts()
    return [{**day, "parts": parts[day["reco_date"]]} for day in days]


def _by_day(tables: Tables) -> pl.DataFrame:
    found = tables.scan("anomalies")
    if found is None:
        money = {"exceptions": pl.Int64(), "amount_at_risk_usd": _EXACT}
        names = dict.fromkeys(PARTS, pl.String())
        return pl.DataFrame(schema=pl.Schema({"reco_date": pl.Date(), **names, **money}))
    sums = (pl.len().cast(pl.Int64).alias("exceptions"), pl.col("amount_at_risk_usd").cast(_EXACT).sum())
    return found.group_by("reco_date", *PARTS).agg(sums).collect(engine="streaming")
