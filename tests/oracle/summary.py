"""What gold/hourly_summary must hold, from the rows of gold/nrt_results, in plain Python."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

Hour = tuple[date, int, str]
Broken = tuple[tuple[str, int, int], ...]
Told = tuple[int, int, Broken, Decimal, int, int | None, int | None]


def summary(results: Iterable[Mapping[str, Any]]) -> dict[Hour, Told]:
    """By date, hour and supplier: verdicts, matched, (type, open, pending), money, unpriced, median and 99th delay."""
    last: dict[tuple[date, int, str, str], Mapping[str, Any]] = {}
    for row in sorted(results, key=lambda row: (row["verdict_at"], row["batch_id"], row["result_id"])):
        last[row["verdict_date"], row["verdict_hour"], row["supplier_id"], row["activity_id"]] = row
    hours: dict[Hour, list[Mapping[str, Any]]] = defaultdict(list)
    for (day, hour, supplier, _), row in last.items():
        hours[day, hour, supplier].append(row)
    return {key: _told(rows) for key, rows in hours.items()}


def told(rows: Iterable[Mapping[str, Any]]) -> dict[Hour, Told]:
    """Rows of gold/hourly_summary in the same form."""
    return {
        (row["verdict_date"], row["verdict_hour"], row["supplier_id"]): (
            row["verdicts"],
            row["matched"],
            tuple((one["anomaly_type"], one["open"], one["pending"]) for one in row["broken"]),
            row["amount_at_risk_usd"],
            row["unpriced"],
            row["delay_p50_ms"],
            row["delay_p99_ms"],
        )
        for row in rows
    }


def _told(rows: list[Mapping[str, Any]]) -> Told:
    breaks = [one for row in rows for one in row["breaks"]]
    counts = Counter((one["anomaly_type"], one["state"]) for one in breaks)
    kinds = sorted({kind for kind, _ in counts})
    risks = [one["amount_at_risk_usd"] for one in breaks if one["state"] == "OPEN"]
    delays = sorted(
        (row["verdict_at"] - row["published_at"]) // timedelta(milliseconds=1)
        for row in rows
        if row["agoda_version"] is not None and row["supplier_version"] is not None
    )
    return (
        len(rows),
        sum(row["outcome"] == "MATCHED" for row in rows),
        tuple((kind, counts[kind, "OPEN"], counts[kind, "PENDING"]) for kind in kinds),
        sum((risk for risk in risks if risk is not None), Decimal(0)),
        risks.count(None),
        _nearest(delays, 50),
        _nearest(delays, 99),
    )


def _nearest(values: list[int], share: int) -> int | None:
    return values[-(-len(values) * share // 100) - 1] if values else None
