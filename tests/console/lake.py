"""A small lake with breaks of two suppliers, one of whose payloads is hostile; made without a JVM."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any

from jobs.common.settings import Settings
from tests.cli.lake_rows import put

DAY = date(2026, 3, 9)
AT = datetime(2026, 3, 9, 10, tzinfo=UTC)
OURS, THEIRS = "SUP-OURS", "SUP-THEIRS"
#: The one saved backtest.
BACKTEST = "20260309T100000Z-cdcdcdcd"
HOSTILE = "<script>alert('x')</script>"
#: What only those may see who know of THEIRS.
SECRETS = (THEIRS, "BK-SECRET", "secret-payload", "&lt;script&gt;")


def id_of(supplier: str, activity: str | None, kind: str) -> str:
    return sha256(f"{supplier}|{activity}|{kind}".encode()).hexdigest()


def break_of(supplier: str, activity: str | None, kind: str, **more: Any) -> dict[str, Any]:
    key = {"supplier_id": supplier, "activity_id": activity, "anomaly_type": kind}
    return {"exception_id": id_of(supplier, activity, kind), **key, "state": "OPEN", **more}


def closed(supplier: str, activity: str, kind: str, severity: str, risk: str | None, **more: Any) -> dict[str, Any]:
    money = {"severity": severity, "amount_at_risk_usd": None if risk is None else Decimal(risk)}
    days = {"first_seen_date": DAY, "last_seen_date": DAY, "close_id": "2026-03-09-r1"}
    return break_of(supplier, activity, kind, **{**money, **days, **more})


def streamed(supplier: str, activity: str | None, kind: str, **more: Any) -> dict[str, Any]:
    money = {"severity": "HIGH", "amount_at_risk_usd": Decimal("150.25"), "explanation": "as the stream says"}
    times = {"known_since": AT, "first_seen_at": AT, "opened_at": AT, "reopened": 0}
    return break_of(supplier, activity, kind, **{**money, **times, **more})


PRICE = closed(OURS, "BK-1", "PRICE_MISMATCH", "CRITICAL", "1200.505000")
MISSING = closed(OURS, "BK-2", "MISSING_SUPPLIER", "HIGH", "200")
UNPRICED = closed(OURS, "BK-5", "FX_RATE_MISSING", "HIGH", None)
DONE = closed(OURS, "BK-4", "TIMESTAMP_SKEW", "LOW", "0", state="RESOLVED", resolved_date=DAY)
PROVISIONAL = streamed(OURS, "BK-9", "STATUS_MISMATCH", state="PENDING")
SILENT = streamed(OURS, None, "FEED_SILENT")
SECRET = closed(THEIRS, "BK-SECRET", "STATUS_MISMATCH", "CRITICAL", "5000")
SCRIPT = closed(THEIRS, HOSTILE, "MISSING_AGODA", "MEDIUM", "7")


def event(source: str, activity: str, offset: int, supplier: str = OURS, **more: Any) -> dict[str, Any]:
    at = more.pop("event_time", AT)
    told = {"event_id": f"e{offset}", "source": source, "supplier_id": supplier, "activity_id": activity}
    what = {"activity_type": "BOOKING", "amount_minor": 123_450, "currency": "USD", "status": "BOOKED", "version": 1}
    times = {"event_time": at, "kafka_time": at + timedelta(seconds=3), "event_date": at.date(), "event_hour": at.hour}
    return {**told, **what, **times, **place(source, offset), "ingested_at": at, **more}


def place(source: str, offset: int) -> dict[str, Any]:
    return {"topic": f"{source.lower()}.raw.activity", "partition": 0, "offset": offset}


def raw(source: str, offset: int, value: bytes, **more: Any) -> dict[str, Any]:
    times = {"kafka_time": AT, "ingested_at": AT, "ingest_date": DAY, "ingest_hour": 10}
    return {"source": source, **place(source, offset), "key": b"k", "value": value, **times, **more}


def side(prefix: str, minor: int, status: str = "BOOKED") -> dict[str, Any]:
    what = {"event_id": "e", "activity_type": "BOOKING", "amount_minor": minor, "currency": "USD", "status": status}
    more = {"version": 1, "event_time": AT, "amount_usd": Decimal(minor) / 100}
    return {f"{prefix}_{name}": value for name, value in {**what, **more}.items()}


def fact(supplier: str, activity: str, outcome: str, *kinds: str, **more: Any) -> dict[str, Any]:
    key = {"reco_date": DAY, "supplier_id": supplier, "activity_id": activity, "outcome": outcome}
    return {**key, "anomaly_types": sorted(kinds), "fx_date": DAY, "close_id": "2026-03-09-r1", **more}


def total(supplier: str, name: str) -> dict[str, Any]:
    counts = {"keys_in": 3, "matched": 1, "mismatched": 1, "missing": 1}
    parts = {"amount_in_usd": "6", "matched_usd": "3", "mismatched_usd": "2", "missing_usd": "1"}
    return {"supplier_id": supplier, "side": name, **counts, **{k: Decimal(v) for k, v in parts.items()}}


def small_lake(settings: Settings) -> None:
    """Every table that the pages read."""
    put(settings, "exceptions", [PRICE, MISSING, UNPRICED, DONE, SECRET, SCRIPT])
    put(settings, "nrt_exceptions", [streamed(OURS, "BK-1", "PRICE_MISMATCH"), PROVISIONAL, SILENT])
    keys = ("supplier_id", "activity_id", "anomaly_type", "severity", "amount_at_risk_usd")
    told = {"reco_date": DAY, "explanation": "as the close says"}
    put(
        settings, "anomalies", [{**told, **{key: row[key] for key in keys}} for row in (PRICE, MISSING, SECRET, SCRIPT)]
    )
    put(settings, "reconciliation_facts", _facts())
    put(settings, "nrt_results", [_result()])
    put(settings, "activity", _events())
    put(settings, "activity_raw", [
        raw("AGODA", 1, b'{"note": "from AGODA"}'),
        raw("SUPPLIER", 1, b'{"note": "</pre><script>alert(2)</script>"}'),
    ])  # fmt: skip
    put(settings, "quarantine", [
        raw("SUPPLIER", 8, json.dumps({"supplierId": OURS}).encode(), reasons=["MISSING_FIELD:version"]),
        raw("SUPPLIER", 9, json.dumps({"supplierId": THEIRS, "x": "secret-payload"}).encode(), reasons=["TOO_LARGE"]),
        raw("SUPPLIER", 10, b"\xff{", reasons=["MALFORMED_JSON"]),
    ])  # fmt: skip
    put(settings, "verdict_drift", [
        {"reco_date": DAY, "supplier_id": supplier, "cause": "AGREES", "verdicts": 3, "close_id": "2026-03-09-r1"}
        for supplier in (OURS, THEIRS)
    ])  # fmt: skip
    put(settings, "close_changes", [
        {**fact(THEIRS, "BK-SECRET", ""), "revision": 2, "change": "ADDED", "close_id": "2026-03-09-r1"}
    ])  # fmt: skip
    put(settings, "closes", [close_row()])
    put(settings, "policy_backtests", [_backtest(OURS, "BK-1", "6.69"), _backtest(THEIRS, "BK-SECRET", "4711")])


def _facts() -> list[dict[str, Any]]:
    price = {
        "price_diff_usd": Decimal("1200.505"),
        "price_tolerance_usd": Decimal("12.345"),
        "skew_seconds": Decimal(0),
    }
    both = {**side("agoda", 123_450), **side("supplier", 3_395)}
    other = {**side("agoda", 500_000, "PAID"), **side("supplier", 500_000)}
    none = {"price_diff_usd": Decimal(0), "price_tolerance_usd": Decimal(50), "skew_seconds": Decimal(0)}
    return [
        fact(OURS, "BK-1", "MISMATCHED", "PRICE_MISMATCH", **both, **price),
        fact(OURS, "BK-2", "MISSING_SUPPLIER", "MISSING_SUPPLIER", **side("agoda", 20_000)),
        fact(THEIRS, "BK-SECRET", "MISMATCHED", "STATUS_MISMATCH", **other, **none),
    ]


def _result() -> dict[str, Any]:
    key = {"result_id": "r", "supplier_id": OURS, "activity_id": "BK-9", "outcome": "MISMATCHED"}
    times = {"published_at": AT, "verdict_at": AT, "verdict_date": DAY, "verdict_hour": 10, "fx_date": DAY}
    judged = {"price_diff_usd": Decimal(0), "price_tolerance_usd": Decimal(1), "skew_seconds": Decimal(0)}
    sides = {**side("agoda", 15_025, "PAID"), **side("supplier", 15_025)}
    return {**key, **times, **judged, **sides, "anomaly_types": ["STATUS_MISMATCH"], "policy_version": 0}


def _events() -> list[dict[str, Any]]:
    later = AT + timedelta(minutes=20)
    return [
        event("AGODA", "BK-1", 1),
        event("SUPPLIER", "BK-1", 1, amount_minor=3_395),
        event("AGODA", "BK-2", 2, amount_minor=20_000),
        event("SUPPLIER", "BK-2-by-another-name", 3, amount_minor=20_100, event_time=later),
        event("SUPPLIER", "BK-far-away", 4, amount_minor=90_000),
        event("AGODA", "BK-of-a-newcomer", 7, "SUP-NEW"),
        event("AGODA", "BK-SECRET", 5, THEIRS),
        event("SUPPLIER", "BK-2-of-others", 6, THEIRS, amount_minor=20_000),
    ]


def close_row() -> dict[str, Any]:
    times = {"started_at": AT, "finished_at": AT + timedelta(days=1), "provisional": False}
    pins = {"policy_version": 0, "fx_version": 0, "silver_version": 3, "content_hash": "ab" * 32}
    sums = {"facts": 3, "anomalies": 4, "amount_at_risk_usd": Decimal("6407.505"), "changed_facts": 1}
    totals = [total(supplier, name) for supplier in (OURS, THEIRS) for name in ("AGODA", "SUPPLIER")]
    return {"close_id": "2026-03-09-r1", "reco_date": DAY, "revision": 2, **times, **pins, **sums,
            "moved_usd": Decimal("4711"), "control_totals": totals}  # fmt: skip


def _backtest(supplier: str, activity: str, lost_usd: str) -> dict[str, Any]:
    head = {"backtest_id": BACKTEST, "ran_at": AT, "ran_date": DAY, "file": "proposed.yaml", "file_hash": "cd" * 32}
    days = {"first_date": DAY, "last_date": DAY, "closes": ["2026-03-09-r1"], "code_version": "0.1.0"}
    money = {"lost_usd": lost_usd, "gained_usd": "0.80", "before_usd": "5000"}
    counts = {"before": 9, "after": 8, "gained": 1, "lost": 2, "reweighed": 3, "gained_unpriced": 0, "lost_unpriced": 0}
    exact = {name: Decimal(usd) for name, usd in money.items()}
    after = exact["before_usd"] + exact["gained_usd"] - exact["lost_usd"]
    tally = {"anomaly_type": "PRICE_MISMATCH", **counts, **exact, "after_usd": after}
    edge = {"reco_date": DAY, "activity_id": activity, "anomaly_type": "PRICE_MISMATCH", "change": "LOST"}
    limits = {
        "limit_before": "1 USD",
        "limit_after": "2 USD",
        "margin_before": "1 USD over",
        "margin_after": "at the limit",
    }
    example = {
        **edge,
        **limits,
        "amount_at_risk_usd": Decimal(2),
        "measured": f"{HOSTILE if supplier == THEIRS else 0} 2 USD apart",
    }
    changes = [f"price.abs_tol_usd: 0.5 → 2 for {supplier}"]
    judged = {"supplier_id": supplier, "keys": 100, "flips": 3, "policy_changes": changes}
    return {**head, **days, **judged, "tallies": [tally], "examples": [example]}
