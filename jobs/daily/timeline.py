"""What each delivery of one key was for the verdict: plain rows in, plain rows out."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from jobs.common.margins import major
from jobs.daily.explain_text import Delivery
from reco_rules.latest import VERSION_ORDER
from reco_rules.ownership import IDENTITY
from reco_rules.vocabulary import Side

_COPIED = ("source", "version", "activity_type", "status", "currency", "event_id", "event_time", "kafka_time",
           "reco_date", "topic", "partition", "offset")  # fmt: skip


def deliveries_of(rows: Sequence[Mapping[str, Any]], fact: Mapping[str, Any], day: date) -> list[Delivery]:
    """The rows with their marks. `rows`: silver's columns with `reco_date` and `is_redelivery`; `fact`: the verdict."""
    sent: dict[tuple[str, int], set[tuple[Any, ...]]] = {}
    for row in rows:
        if row["reco_date"] == day:
            sent.setdefault((row["source"], row["version"]), set()).add(tuple(row[name] for name in IDENTITY))
    return [
        Delivery(
            **{name: row[name] for name in _COPIED},
            amount=major(row["amount_minor"], row["currency"]),
            marks=_marks(row, fact, day, len(sent.get((row["source"], row["version"]), ()))),
        )
        for row in rows
    ]


def _marks(row: Mapping[str, Any], fact: Mapping[str, Any], day: date, sent: int) -> list[str]:
    if row["is_redelivery"]:
        return ["redelivery"]
    marks = []
    if _is_latest(row, fact):
        marks.append("latest")
    if row["reco_date"] == day and sent > 1:
        marks.append("duplicate")
    if row["reco_date"] == day and (row["kafka_time"] - row["event_time"]).total_seconds() > fact["max_delay_seconds"]:
        marks.append("delayed")
    if row["reco_date"] < day:
        marks.append("history")
    elif row["reco_date"] > day:
        marks.append("later day")
    return marks


def _is_latest(row: Mapping[str, Any], fact: Mapping[str, Any]) -> bool:
    prefix = Side(row["source"]).prefix
    return all(row[name] == fact[f"{prefix}_{name}"] for name in VERSION_ORDER)
