"""What the lake says: closes with their totals, their exceptions, both sides of breaks, what a silent feed holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from jobs.alerts.intake import Change, Evidence
from jobs.alerts.model import Break
from jobs.alerts.signature import from_halves, halves
from jobs.alerts.wording import money
from jobs.common.lake import open_table, scan
from jobs.common.settings import Settings

_NAMES = ("activity_type", "amount_minor", "currency", "status", "event_time", "version", "amount_usd")
_SIDES = [f"{s}_{n}" for s in ("agoda", "supplier") for n in _NAMES]
#: How far before its verdict a break may have been told, or its day closed.
_BACK = timedelta(days=10)


@dataclass(frozen=True, slots=True)
class Close:
    """A close that was not seen before. `ended`: seconds since 1970; money in US dollars, null where it has none."""

    id: str
    ended: float
    is_provisional: bool
    title: str
    lines: tuple[str, ...]
    facts: int
    breaks: int
    amount: Decimal
    changed: int | None
    moved: Decimal | None


def new_closes(settings: Settings, seen: dict[str, float]) -> list[Close]:
    """The closes that are not among `seen`, the oldest first; those that ended a day before the last seen are old."""
    table = open_table(settings, "closes")
    if table is None:
        return []
    rows = scan(table)
    if seen:
        since = datetime.fromtimestamp(max(seen.values()), UTC) - timedelta(days=1)
        rows = rows.filter(pl.col("finished_at") >= since)
    names = ["close_id", "reco_date", "revision", "provisional", "finished_at", "facts", "anomalies", "outcomes"]
    names += ["anomaly_counts", "amount_at_risk_usd", "control_totals", "changed_facts", "moved_usd"]
    found = rows.select(names).sort("finished_at", "close_id").collect().to_dicts()
    return [_close(row) for row in found if row["close_id"] not in seen]


def exceptions_of(settings: Settings, closes: Sequence[str] | None) -> list[Change]:
    """The exceptions that these closes changed; all that are OPEN for None.

    A close is the authority on its day. What the stream saw after that day is newer: of those exceptions its word is
    given, as the console shows it, or a close at night would open what was answered since midnight.
    """
    table = open_table(settings, "exceptions")
    if table is None:
        return []
    wanted = pl.col("state") == "OPEN" if closes is None else pl.col("close_id").is_in(list(closes))
    names = ["exception_id", "supplier_id", "activity_id", "anomaly_type", "state", "severity", "amount_at_risk_usd"]
    day = pl.max_horizontal("last_seen_date", "resolved_date").alias("day")
    rows = scan(table).filter(wanted).select([*names, pl.col("close_id").alias("by"), day]).collect()
    newer = _newer(settings, rows)
    return [
        Change(
            id=row["exception_id"],
            supplier=row["supplier_id"],
            activity=row["activity_id"],
            kind=row["anomaly_type"],
            state=now["state"],
            severity=now["severity"] or "HIGH",
            amount=now["amount_at_risk_usd"],
            by=now["by"],
            held_by=now.get("held_by"),
            is_final=now is row,
        )
        for row in rows.iter_rows(named=True)
        for now in (newer.get(row["exception_id"], row),)
    ]


def _newer(settings: Settings, rows: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """What the stream says of these exceptions, where it told it after their last closed day."""
    table = open_table(settings, "nrt_exceptions")
    if table is None or rows.is_empty():
        return {}
    told_at = pl.max_horizontal("first_seen_at", "opened_at", "resolved_at").alias("told_at")
    told = ("state", "severity", "amount_at_risk_usd", "held_by", pl.col("result_id").alias("by"))
    stream = scan(table).select("exception_id", *told, told_at)
    midnight = pl.col("day").dt.offset_by("1d").cast(pl.Datetime("us", "UTC"))
    both = stream.join(rows.lazy().select("exception_id", "day"), on="exception_id")
    return {row["exception_id"]: row for row in both.filter(pl.col("told_at") >= midnight).collect().to_dicts()}


def held_by(settings: Settings, supplier: str, silence: str) -> list[str]:
    """The stream's exceptions that a FEED_SILENT one holds."""
    table = open_table(settings, "nrt_exceptions")
    if table is None:
        return []
    mine = (pl.col("supplier_id") == supplier) & (pl.col("held_by") == silence)
    return scan(table).filter(mine).select("exception_id").collect()["exception_id"].to_list()


def evidence(settings: Settings, breaks: Sequence[Break]) -> dict[str, Evidence]:
    """How these breaks are broken, by the last verdict of the stream, or else of a close."""
    first = datetime.fromtimestamp(min((one.since for one in breaks), default=0), UTC).date() - _BACK
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for name, day, order in (
        ("reconciliation_facts", "reco_date", "reco_date"),
        ("nrt_results", "verdict_date", "verdict_at"),
    ):
        for row in _last_rows(settings, name, breaks, pl.col(day) >= first, order):
            rows[row["supplier_id"], row["activity_id"]] = row
    found = {}
    for one in breaks:
        if (said := rows.get((one.supplier, one.activity or ""))) is not None:
            agoda, other = halves(said)
            kind = agoda.activity_type or other.activity_type or ""
            found[one.id] = Evidence(from_halves(one.kind, agoda, other), kind)
    return found


def _last_rows(
    settings: Settings, name: str, breaks: Sequence[Break], since: pl.Expr, order: str
) -> list[dict[str, Any]]:
    table = open_table(settings, name)
    if table is None:
        return []
    keys = ["supplier_id", "activity_id"]
    suppliers, activities = {one.supplier for one in breaks}, {one.activity for one in breaks if one.activity}
    chosen = scan(table).filter(
        since & pl.col(keys[0]).is_in(sorted(suppliers)) & pl.col(keys[1]).is_in(sorted(activities))
    )
    columns = list(dict.fromkeys([*keys, *_SIDES, order]))
    last = chosen.select(columns).sort(order).unique(keys, keep="last", maintain_order=True)
    return last.collect().to_dicts()


def _close(row: dict[str, Any]) -> Close:
    day, revision = row["reco_date"], row["revision"]
    outcomes = {str(item["key"]): int(item["value"]) for item in _pairs(row["outcomes"])}
    kinds = {str(item["key"]): int(item["value"]) for item in _pairs(row["anomaly_counts"])}
    lines = [
        f"{row['facts']:,} activities: "
        + (", ".join(f"{n:,} {name}" for name, n in sorted(outcomes.items())) or "none"),
        f"{row['anomalies']:,} breaks, {money(row['amount_at_risk_usd'] or Decimal(0))} at risk"
        + "".join(f"; {n:,} {name}" for name, n in sorted(kinds.items())),
        *_totals(row["control_totals"] or []),
    ]
    if revision > 1 and row["moved_usd"] is not None:
        lines.append(
            f"{row['changed_facts']:,} facts changed since the revision before, {money(row['moved_usd'])} moved"
        )
    again = f", revision {revision}" if revision > 1 else ""
    ended = row["finished_at"].replace(tzinfo=row["finished_at"].tzinfo or UTC).timestamp()
    changed = (row["changed_facts"], row["moved_usd"]) if revision > 1 else (None, None)
    counts = row["facts"], row["anomalies"], row["amount_at_risk_usd"] or Decimal(0), *changed
    title = f"Close of {day}{again}"
    return Close(row["close_id"], ended, bool(row["provisional"]), title, tuple(lines), *counts)


def _totals(totals: list[dict[str, Any]]) -> list[str]:
    """The control totals of each side, over all suppliers."""
    found = []
    for side in ("AGODA", "SUPPLIER"):
        mine = [one for one in totals if one["side"] == side]
        keys = {name: sum(one[name] or 0 for one in mine) for name in ("keys_in", "matched", "mismatched", "missing")}
        usd = {name: sum((one[f"{name}_usd"] or Decimal(0) for one in mine), Decimal(0)) for name in _PARTS}
        parts = ", ".join(f"{keys[name]:,} {name} ({money(usd[name])})" for name in _PARTS[1:])
        found.append(f"{side}: {keys['keys_in']:,} came in ({money(usd['amount_in'])}) = {parts}")
    return found


_PARTS = ("amount_in", "matched", "mismatched", "missing")


def _pairs(found: Any) -> list[dict[str, Any]]:
    """A map's entries, however the reader gives them."""
    if found is None:
        return []
    return [{"key": key, "value": value} for key, value in found.items()] if isinstance(found, dict) else list(found)
