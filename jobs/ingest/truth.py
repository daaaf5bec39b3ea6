"""The planted truth as a file: what a close of each date must find, no more and no less."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from jobs.common.errors import UserError
from jobs.ingest.events import iso
from jobs.ingest.workload import Workload


def summary(workload: Workload, heartbeats: int, until_ms: int) -> dict[str, Any]:
    """What was planted, in numbers, and up to when the last heartbeats say that all is published: JSON-ready."""
    planned, spec = workload.planned, workload.spec
    reasons: Counter[str] = Counter()
    for codes, count in planned.poison.items():
        for code in codes:
            reasons[code] += count
    return {
        "seed": spec.seed,
        "start": spec.start.isoformat(),
        "days": spec.days,
        "suppliers": spec.suppliers,
        "activities": planned.activities,
        "records": dict(sorted(planned.records.items())),
        "ways": dict(sorted(planned.ways.items())),
        "heartbeats": heartbeats,
        "published_until": iso(until_ms),
        "poison": sum(planned.poison.values()),
        "reasons": dict(sorted(reasons.items())),
        "anomalies": dict(sorted(Counter(kind for _, _, _, kind, _ in planned.truth).items())),
    }


def rows(workload: Workload) -> list[dict[str, Any]]:
    """One a break, sorted; amount_at_risk_usd is a decimal as text, null where it cannot be priced."""
    return [
        {
            "reco_date": day.isoformat(),
            "supplier_id": supplier,
            "activity_id": activity,
            "anomaly_type": kind,
            "amount_at_risk_usd": None if at_risk is None else f"{at_risk:.6f}",
        }
        for day, supplier, activity, kind, at_risk in sorted(workload.planned.truth, key=lambda row: row[:4])
    ]


def claim(path: Path) -> None:
    """Make the file where it is missing, its folder too; what it holds stays. UserError where it cannot be written."""
    _put(path, "a", "")


def write(path: Path, workload: Workload, summary: Mapping[str, Any]) -> None:
    """Writes the summary and every row as one JSON object. UserError where the file cannot be written."""
    whole = {"summary": summary, "anomalies": rows(workload)}
    _put(path, "w", json.dumps(whole, indent=1, ensure_ascii=False))


def _put(path: Path, mode: Literal["a", "w"], text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open(mode, encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UserError(
            f"The truth cannot be written to {path}: {error.strerror}; give another file with --truth."
        ) from error
