"""One exception: both sides side by side, every rule's margin, the timeline, the raw records, what was done."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from jobs.common import policies
from jobs.common.days import days_before
from jobs.common.margins import Rate, RuleResult, major, rules_of
from jobs.console import actions
from jobs.console.candidates import candidates
from jobs.console.exceptions import everything, limited_to
from jobs.console.quarantine import contents
from jobs.console.tables import Tables
from jobs.console.text import margin_text
from jobs.console.users import User
from reco_rules.money import MAX_RATE_AGE_DAYS
from reco_rules.vocabulary import Side

_FIELDS = ("activity_type", "amount_minor", "currency", "amount_usd", "status", "version", "event_time", "event_id")
#: Deliveries of one key that are shown, the newest.
_DELIVERIES = 100


def exception_row(tables: Tables, user: User, exception_id: str) -> dict[str, Any] | None:
    """The exception's row; None where there is none, or the user does not know its supplier."""
    rows = limited_to(everything(tables).filter(pl.col("exception_id") == exception_id), user)
    return rows.drop("row").row(0, named=True) if rows.height else None


def detail(tables: Tables, user: User, exception_id: str) -> dict[str, Any] | None:
    """Everything that is known of one exception; None where there is none for this user."""
    row = exception_row(tables, user, exception_id)
    if row is None:
        return None
    told = {
        **row,
        "seen": actions.seen_of(row),
        "explanation": _explanation(tables, row),
        "history": actions.history(tables, exception_id),
    }
    if row["activity_id"] is None:
        return {**told, "fact": None, "fields": [], "rules": [], "deliveries": [], "candidates": [], "others": []}
    history_days = tables.settings.daily.history_days
    deliveries = _deliveries(tables, row, history_days)
    fact = _fact(tables, row, deliveries)
    rates = _rates(tables, fact) if fact else []
    return {
        **told,
        "fact": fact,
        "fields": _side_by_side(fact) if fact else [],
        "rates": [asdict(rate) for rate in rates],
        "rules": [_told(rule) for rule in rules_of(fact, rates, history_days)] if fact else [],
        "deliveries": contents(tables, "activity_raw", deliveries),
        "candidates": candidates(tables, row, fact) if fact else [],
        "others": _others(tables, row),
    }


def _told(rule: RuleResult) -> dict[str, Any]:
    return {**asdict(rule), "verdict": rule.verdict, "margin_text": margin_text(rule)}


def _explanation(tables: Tables, row: Mapping[str, Any]) -> str | None:
    name = "anomalies" if row["verdict"] == "FINAL" else "nrt_exceptions"
    found = tables.scan(name)
    if found is None:
        return None
    if name == "anomalies":
        same = [pl.col(key) == row[key] for key in ("supplier_id", "activity_id", "anomaly_type")]
        rows = found.filter(pl.col("reco_date") == row["last_seen_date"], *same)
    else:
        rows = found.filter(pl.col("exception_id") == row["exception_id"])
    texts = rows.select("explanation").head(1).collect()["explanation"]
    return texts[0] if len(texts) else None


def _fact(tables: Tables, row: Mapping[str, Any], deliveries: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The verdict on the key with the policy it was given by: the close's, or else the stream's newest."""
    key = [pl.col("supplier_id") == row["supplier_id"], pl.col("activity_id") == row["activity_id"]]
    facts, results = tables.scan("reconciliation_facts"), tables.scan("nrt_results")
    fact: dict[str, Any] | None = None
    if facts is not None and row["last_seen_date"] is not None:
        rows = facts.filter(pl.col("reco_date") == row["last_seen_date"], *key).head(1).collect().to_dicts()
        if rows:
            fact = {**rows[0], **_pins(tables, rows[0]["close_id"])}
    if fact is None and results is not None:
        since = pl.col("verdict_date") >= (row["since"].date() if row["since"] else date.min)
        rows = results.filter(since, *key).sort("verdict_at", descending=True).head(1).collect().to_dicts()
        if rows:
            times = [rows[0][f"{side.prefix}_event_time"] for side in Side]
            day = min(time for time in times if time is not None).date()
            fact = {**rows[0], "reco_date": day, "close_id": None, "fx_version": None, **_measured(deliveries)}
    if fact is None:
        return None
    known = tables.made("every policy", ("policies",), dict)
    version = fact["policy_version"]
    if version not in known:
        known[version] = policies.policies_of(tables.settings, version)
    agreed = policies.effective(known[version], row["supplier_id"])
    limits = {"abs_tol_usd": agreed.abs_tol_usd, "pct_tol": agreed.pct_tol, "high_usd": agreed.high_usd}
    more = {"critical_usd": agreed.critical_usd, "allowed_skew_seconds": agreed.allowed_skew}
    return {**fact, **limits, **more, "max_delay_seconds": agreed.max_delay}


def _pins(tables: Tables, close_id: str) -> dict[str, Any]:
    found = tables.scan("closes")
    rows: list[dict[str, Any]] = []
    if found is not None:
        rows = found.filter(pl.col("close_id") == close_id).select("policy_version", "fx_version").collect().to_dicts()
    return rows[0] if rows else {"policy_version": 0, "fx_version": None}


def _measured(deliveries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Delays and duplicates of a provisional verdict, by the deliveries themselves."""
    told: dict[str, Any] = {}
    for side in Side:
        ours = [one for one in deliveries if one["source"] == side.value and not one["redelivery"]]
        took = [Decimal((d["kafka_time"] - d["event_time"]) // timedelta(milliseconds=1)) / 1000 for d in ours]
        versions = [one["version"] for one in ours]
        told[f"{side.prefix}_delay_seconds"] = max(took, default=None)
        told[f"{side.prefix}_duplicates"] = [
            {"version": version} for version in versions if versions.count(version) > 1
        ] or None
    return told


def _rates(tables: Tables, fact: Mapping[str, Any]) -> list[Rate]:
    """The rate that each side was priced with."""
    found, day = tables.scan("fx_rates"), fact["fx_date"]
    rates = []
    for side in Side:
        currency = fact[f"{side.prefix}_currency"]
        if currency is None:
            continue
        if currency == "USD" or found is None or day is None:
            one = Decimal(1) if currency == "USD" else None
            rates.append(Rate(side.value, currency, day, one, day if one else None, None))
            continue
        first = days_before(day, MAX_RATE_AGE_DAYS)
        rows = found.filter(pl.col("currency") == currency, pl.col("rate_date").is_between(first, day))
        if fact["fx_version"] is not None:
            rows = rows.filter(pl.col("fx_version") <= fact["fx_version"])
        newest = rows.sort("rate_date", "fx_version", descending=True).head(1).collect().to_dicts()
        row = newest[0] if newest else {}
        told = row.get("usd_per_unit"), row.get("rate_date"), row.get("fx_version")
        rates.append(Rate(side.value, currency, day, *told))
    return rates


def _side_by_side(fact: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The fields of both sides; they differ only where both sides are there."""
    both = all(fact[f"{side.prefix}_version"] is not None for side in Side)
    rows = []
    for name in _FIELDS:
        agoda, supplier = fact[f"agoda_{name}"], fact[f"supplier_{name}"]
        rows.append({"field": name, "agoda": agoda, "supplier": supplier, "differs": both and agoda != supplier})
    return rows


def _deliveries(tables: Tables, row: Mapping[str, Any], history_days: int) -> list[dict[str, Any]]:
    """The key's deliveries of both sides, the oldest first, with amounts in whole units."""
    found = tables.scan("activity")
    if found is None:
        return []
    day = row["last_seen_date"] or (row["since"] or datetime.now(UTC)).date()
    reach = history_days + 1
    rows = (
        found.filter(
            pl.col("event_date").is_between(days_before(day, reach), day + timedelta(days=reach)),
            pl.col("supplier_id") == row["supplier_id"],
            pl.col("activity_id") == row["activity_id"],
        )
        .sort("kafka_time", "topic", "partition", "offset")
        .tail(_DELIVERIES)
        .collect()
        .to_dicts()
    )
    seen: set[tuple[Any, ...]] = set()
    for one in rows:
        what = tuple(one[name] for name in ("source", "event_id", "version", "amount_minor", "currency", "status"))
        one["redelivery"] = what in seen
        seen.add(what)
        one["amount"] = major(one["amount_minor"], one["currency"])
        one["ingest_date"] = one["ingested_at"].date()
    return sorted(rows, key=lambda one: (one["event_time"], one["kafka_time"]))


def _others(tables: Tables, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Other exceptions of the same activity, and so of the same supplier."""
    rows = everything(tables).filter(
        pl.col("activity_id") == row["activity_id"],
        pl.col("supplier_id") == row["supplier_id"],
        pl.col("exception_id") != row["exception_id"],
    )
    return rows.drop("row").sort("amount_at_risk_usd", descending=True, nulls_last=True).to_dicts()
