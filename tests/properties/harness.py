"""Workloads held against the oracle: what is expected, what was found, and a report of the first difference."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from tests.oracle.close import close
from tests.oracle.model import Event, Fx
from tests.workloads.generate import Workload, pack
from tests.workloads.values import FX, HISTORY_DAYS

FactKey = tuple[date, str, str]
AnomalyKey = tuple[date, str, str, str]
Row = Mapping[str, Any]
_ANOMALY_COLUMNS = ("severity", "amount_at_risk_usd")


@dataclass
class Verdicts:
    """Facts by (reco_date, supplier, activity), anomalies by the same and their type; the contract's columns."""

    facts: dict[FactKey, dict[str, Any]] = field(default_factory=dict)
    anomalies: dict[AnomalyKey, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Difference:
    """One row that is not as it should be; None where it is absent."""

    supplier_id: str
    key: tuple[object, ...]
    expected: Row | None
    actual: Row | None

    def __str__(self) -> str:
        if self.expected is None or self.actual is None:
            what = "not expected" if self.expected is None else "not found"
            return f"{self.key}: {what}: {self.expected or self.actual}"
        names = [name for name in self.expected if self.expected[name] != self.actual.get(name, "no such column")]
        told = "; ".join(f"{name} {self.actual.get(name)!r}, not {self.expected[name]!r}" for name in names)
        return f"{self.key}: {told}"


def expected(
    workloads: Sequence[Workload], dates: Iterable[date], fx: Fx = FX, history_days: int = HISTORY_DAYS
) -> Verdicts:
    """What the contract gives for these days."""
    events = pack(workloads)
    policies = {workload.supplier_id: workload.policy for workload in workloads}
    verdicts = Verdicts()
    for day in dates:
        closed = close(events, policies, fx, day, history_days)
        verdicts.facts |= {(day, *key): comparable(fact) for key, fact in closed.facts.items()}
        verdicts.anomalies |= {(day, *key): comparable(broken) for key, broken in closed.anomalies.items()}
    return verdicts


def found(facts: Iterable[Row], anomalies: Iterable[Row]) -> Verdicts:
    """Rows of the two tables in the same form. A row that is there twice is an error."""
    verdicts = Verdicts()
    for row in facts:
        key = (row["reco_date"], row["supplier_id"], row["activity_id"])
        assert key not in verdicts.facts, f"two facts of {key}"
        verdicts.facts[key] = comparable(row)
    for row in anomalies:
        kind = (row["reco_date"], row["supplier_id"], row["activity_id"], row["anomaly_type"])
        assert kind not in verdicts.anomalies, f"two anomalies of {kind}"
        verdicts.anomalies[kind] = comparable({name: row[name] for name in _ANOMALY_COLUMNS})
    return verdicts


def comparable(row: Row) -> dict[str, Any]:
    """The row with times in UTC (naive ones are the machine's, as Spark collects them) and lists as lists."""
    return {name: _comparable(value) for name, value in row.items()}


def _comparable(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    return list(value) if isinstance(value, tuple | list) else value


def compare(expected: Verdicts, actual: Verdicts) -> list[Difference]:
    """Every row that differs in a column of the contract, in order. Further columns of `actual` are not looked at."""
    differences = []
    pairs: tuple[tuple[Mapping[Any, Row], Mapping[Any, Row]], ...] = (
        (expected.facts, actual.facts),
        (expected.anomalies, actual.anomalies),
    )
    for wanted, got in pairs:
        for key in sorted({*wanted, *got}):
            row, other = wanted.get(key), got.get(key)
            if row is None or other is None or any(name not in other or other[name] != row[name] for name in row):
                differences.append(Difference(key[1], key, row, other))
    return differences


def failing_suppliers(workloads: Sequence[Workload], expected: Verdicts, actual: Verdicts) -> str:
    """Empty where all is well; else the smallest failing supplier: its differences, policy and whole workload."""
    differences = compare(expected, actual)
    if not differences:
        return ""
    suppliers = {difference.supplier_id for difference in differences}
    guilty = [workload for workload in workloads if workload.supplier_id in suppliers]
    lines = [f"{len(differences)} rows of {len(suppliers)} suppliers differ."]
    if not guilty:
        return "\n".join([*lines, "None of them is of a workload:", *map(str, differences[:5])])
    smallest = min(guilty, key=lambda workload: (len(workload.events), workload.supplier_id))
    lines.append(f"The smallest: {smallest.supplier_id!r}, seed {smallest.seed}, {smallest.policy}")
    of_it = [difference for difference in differences if difference.supplier_id == smallest.supplier_id]
    lines += [f"  {difference}" for difference in of_it[:8]]
    ordered = sorted(smallest.events, key=lambda e: (e.activity_id, e.event_time, e.kafka_time))
    return "\n".join([*lines, *map(_line, ordered)])


def _line(event: Event) -> str:
    times = [f"{time:%d %H:%M:%S.%f}"[:-3] for time in (event.event_time, event.kafka_time)]
    return (
        f"    {event.activity_id[:20]!r} {event.source} v{event.version} {event.event_id[:20]!r} {times[0]} "
        f"published {times[1]} {event.amount_minor} {event.currency} {event.status} {event.activity_type} "
        f"grace {event.grace_seconds}"
    )
