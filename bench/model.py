"""The cost model of docs/sizing.md: `python -m bench.model` writes its tables anew from what was measured.

A quantity is a fixed part and a part for each event, by the line through the smallest size measured and the largest but
one; the others check it. The plans take the part for each event from the two largest sizes, where it is truest.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.common.engines.choice import MEMORY_PER_ROW

ROOT = Path(__file__).parents[1]
MEASURED, QUIET, DOC = (
    ROOT / "bench/results/sizing.json",
    ROOT / "bench/results/engines.json",
    ROOT / "docs/sizing.md",
)
#: Measured as whole processes: the step, and what it is called.
STEPS = {
    "relay": "relay",
    "normalise": "normalise",
    "match": "match",
    "gather": "gather",
    "close-spark": "close, Spark",
    "close-duckdb": "close, DuckDB",
    "maintain": "maintain",
}
_DAY = 86_400
#: What is assumed, and not measured: the busiest hour beside the mean, how busy a core may be, a grace, breaks a key.
PEAK, BUSY, GRACE_HOURS, BREAKS = 3, 0.6, 1, 0.03
#: One match application: so many cores at most keep one driver's micro-batches short, and so many rows of state.
CORES_OF_ONE, STATE_OF_ONE = 32, 25_000_000
#: What the broadcast of all keys with exceptions of the horizon may have, of a row's bytes on the driver.
REMEMBERED_BYTES = 150
PLANS = (100_000_000, 5_000_000_000)

Runs = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Line:
    """A quantity of so many events: `fixed` + `each` × events."""

    fixed: float
    each: float

    def at(self, events: float) -> float:
        """The quantity."""
        return self.fixed + self.each * events


def line(points: Mapping[int, float], *, largest: bool = False) -> Line:
    """Through the smallest size and the largest but one, or the two largest; of a lone one, no fixed part."""
    sizes = sorted(points)
    if len(sizes) == 1:
        return Line(0, points[sizes[0]] / sizes[0])
    low, high = sizes[-2:] if largest or len(sizes) == 2 else (sizes[0], sizes[-2])
    each = max(points[high] - points[low], 0) / (high - low)
    return Line(max(points[low] - each * low, 0), each)


def quantities(runs: Runs) -> Iterator[tuple[str, str, dict[int, float]]]:
    """Name, unit and value by events of all that was measured: seconds, rows or bytes."""
    told = {run["events"]: run for run in runs.values()}

    def points(*path: str) -> dict[int, float]:
        found = {}
        for events, run in told.items():
            value: Any = run
            for name in path:
                value = value.get(name) if isinstance(value, Mapping) else None
            if value is not None:
                found[events] = float(value)
        return found

    for step, name in STEPS.items():
        yield f"processor time, {name}", "s", points("cpu", step)
    yield "state of match, rows", "rows", points("state", "state_rows")
    yield "state of match, memory", "bytes", points("state", "state_memory_bytes")
    for topic in ("agoda_raw", "supplier_raw", "agoda_canonical", "supplier_canonical", "agoda_nrt", "supplier_nrt",
                  "results"):  # fmt: skip
        yield f"Kafka, `{topic}`", "bytes", points("kafka", topic)
    for kind, what in (("tables", ""), ("maintained", ", maintained")):
        names = sorted({name for run in runs.values() for name in run.get(kind, {})})
        for name in names:
            found = points(kind, name, "bytes")
            if max(found.values(), default=0) > 100_000:
                yield f"`{name}`{what}", "bytes", found


def check_table(runs: Runs) -> str:
    """What the line says of the sizes that it does not go through, beside what was seen."""
    lines = ["| quantity | fixed | a million events | events | predicted | seen | seen ÷ predicted |",
             "|---|---:|---:|---:|---:|---:|---:|"]  # fmt: skip
    for name, unit, points in quantities(runs):
        if len(points) < 3:
            continue
        model = line(points)
        for events in sorted(points)[1:-2] + sorted(points)[-1:]:
            said, seen = model.at(events), points[events]
            parts = [name, _shown(model.fixed, unit), _shown(model.each * 1e6, unit), f"{events:,}"]
            ratio = f"{seen / said:.2f}" if said else "–"
            lines.append("| " + " | ".join([*parts, _shown(said, unit), _shown(seen, unit), ratio]) + " |")
    return "\n".join(lines)


def cost_table(runs: Runs) -> str:
    """What a million events cost by the two largest sizes, which the plans take."""
    lines = ["| quantity | a million events | by |", "|---|---:|---:|"]
    for name, unit, points in quantities(runs):
        if points:
            by = " and ".join(f"{events:,}" for events in sorted(points)[-2:])
            lines.append(f"| {name} | {_shown(line(points, largest=True).each * 1e6, unit)} | {by} |")
    return "\n".join(lines)


def _each(runs: Runs) -> dict[str, float]:
    return {name: line(points, largest=True).each for name, _, points in quantities(runs) if points}


@dataclass(frozen=True)
class Plan:
    """What so many events a day take."""

    events: int
    each: Mapping[str, float]

    @property
    def peak(self) -> float:
        """Events a second in the busiest hour."""
        return self.events / _DAY * PEAK

    def cores(self, step: str) -> float | None:
        """Cores of a step that keeps up in the busiest hour; None where it was not measured."""
        each = self.each.get(f"processor time, {STEPS[step]}")
        return None if each is None else self.peak * each / BUSY

    @property
    def state_rows(self) -> float:
        """Rows that the join holds in the busiest hour: each event for as long as its grace."""
        return self.peak * GRACE_HOURS * 3600

    @property
    def groups(self) -> int:
        """Match applications: by cores and by state."""
        return max(math.ceil((self.cores("match") or 0) / CORES_OF_ONE), math.ceil(self.state_rows / STATE_OF_ONE), 1)

    @property
    def partitions(self) -> int | None:
        """Of each raw and canonical topic: two a core of the busier of normalise and one match, a power of two."""
        normalise, match = self.cores("normalise"), self.cores("match")
        if normalise is None or match is None:
            return None
        return int(2 ** math.ceil(math.log2(max(2 * max(normalise, match / self.groups), 4))))

    def kafka(self, *topics: str) -> float | None:
        """Bytes a second of those topics in the busiest hour; None where one was not measured."""
        each = [self.each.get(f"Kafka, `{topic}`") for topic in topics]
        known = [one for one in each if one is not None]
        return self.peak * sum(known) if len(known) == len(each) else None

    def stored(self, *tables: str) -> float | None:
        """Bytes a day of those tables; None where none was measured.

        As the jobs leave them: what maintenance makes of them hangs on how often values repeat, in a bench very often.
        """
        each = [self.each.get(f"`{name}`") for name in tables]
        known = [one for one in each if one is not None]
        return self.events * sum(known) if known else None

    def close_hours(self, engine: str) -> float | None:
        """Core hours of a day's close; None where it was not measured."""
        each = self.each.get(f"processor time, {STEPS[f'close-{engine}']}")
        return None if each is None else self.events * each / 3600

    @property
    def state(self) -> float | None:
        """Bytes of the state of one group; None where it was not measured."""
        row = _state_row(self.each)
        return None if row is None else self.state_rows * row / self.groups

    @property
    def remembered(self) -> float:
        """Bytes of keys with exceptions of two days, which each micro-batch of one application broadcasts."""
        return self.events / 2 * BREAKS * 2 * REMEMBERED_BYTES / self.groups


_SENT = ("agoda_raw", "supplier_raw", "agoda_canonical", "supplier_canonical", "agoda_nrt", "supplier_nrt", "results")
_GOLD = ("reconciliation_facts", "anomalies", "exceptions")


def plan_table(runs: Runs) -> str:
    """The plans beside each other."""
    plans = [Plan(events, _each(runs)) for events in PLANS]
    rows = {
        "events a second, mean": [f"{plan.events / _DAY:,.0f}" for plan in plans],
        f"events a second, busiest hour ({PEAK} × the mean)": [f"{plan.peak:,.0f}" for plan in plans],
        **{
            f"cores, {STEPS[step]}": [_whole(plan.cores(step)) for plan in plans]
            for step in ("relay", "normalise", "match", "gather")
        },
        "match applications (`stream.match_groups`)": [str(plan.groups) for plan in plans],
        "partitions of each topic": [
            "not measured" if plan.partitions is None else f"{plan.partitions:,}" for plan in plans
        ],
        f"rows of state, all groups ({GRACE_HOURS} h of grace)": [f"{plan.state_rows:,.0f}" for plan in plans],
        "state, one group": [_bytes(plan.state) for plan in plans],
        "keys with exceptions that a micro-batch of one group broadcasts": [_bytes(plan.remembered) for plan in plans],
        "Kafka, written a second": [_bytes(plan.kafka(*_SENT)) for plan in plans],
        "Kafka, read a second by match, all groups": [
            _bytes(plan.kafka("agoda_nrt", "supplier_nrt"), plan.groups) for plan in plans
        ],
        "Kafka, kept for 7 days, one copy": [_bytes(plan.kafka(*_SENT), 7 * _DAY / PEAK) for plan in plans],
        "bronze a day": [_bytes(plan.stored("activity_raw")) for plan in plans],
        "silver a day": [_bytes(plan.stored("activity")) for plan in plans],
        "the stream's verdicts and exceptions a day (twice with groups)": [
            _bytes(plan.stored("nrt_results", "nrt_exceptions"), 1 + (plan.groups > 1)) for plan in plans
        ],
        "the close's tables a day": [_bytes(plan.stored(*_GOLD)) for plan in plans],
        "close on Spark, core hours": [_whole(plan.close_hours("spark")) for plan in plans],
        "close on Spark within an hour, cores": [_whole(plan.close_hours("spark"), 1 / BUSY) for plan in plans],
        "close on DuckDB, core hours": [_whole(plan.close_hours("duckdb")) for plan in plans],
        f"close on DuckDB, memory ({MEMORY_PER_ROW} bytes an event)": [
            _bytes(plan.events, MEMORY_PER_ROW) for plan in plans
        ],
    }
    lines = ["| | " + " | ".join(f"{plan.events:,} a day" for plan in plans) + " |", "|---|" + "---:|" * len(plans)]
    return "\n".join([*lines, *[f"| {name} | " + " | ".join(values) + " |" for name, values in rows.items()]])


def _whole(value: float | None, times: float = 1) -> str:
    if value is None:
        return "not measured"
    return f"{value * times:,.1f}" if value * times < 10 else f"{value * times:,.0f}"


def _bytes(value: float | None, times: float = 1) -> str:
    return "not measured" if value is None else _shown(value * times, "bytes")


def _state_row(each: Mapping[str, float]) -> float | None:
    rows = each.get("state of match, rows")
    return each["state of match, memory"] / rows if rows else None


def _shown(value: float, unit: str) -> str:
    if unit == "bytes":
        for name, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
            if value >= size:
                return f"{value / size:,.1f} {name}"
        return f"{value / 1e3:,.0f} kB"
    return f"{value:,.1f} s" if unit == "s" else f"{value:,.0f}"


def tables() -> dict[str, str]:
    """The tables of docs/sizing.md, by name."""
    found = json.loads(MEASURED.read_text()) if MEASURED.exists() else {}
    runs = with_quiet(found, json.loads(QUIET.read_text()))
    return {"cost": cost_table(runs), "check": check_table(runs), "plan": plan_table(runs)}


def with_quiet(runs: Runs, quiet: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What was measured, its closes by those of a machine at rest where there are (`bench/results/engines.json`)."""
    found = {name: dict(run) for name, run in runs.items()}
    for size, contenders in quiet.items():
        count = int(size.replace(",", ""))
        run = found.setdefault(str(count), {"events": 2 * count - 2 * (count // 100)})
        cpu = {f"close-{name.split()[-1]}": taken[0][1] for name, taken in contenders.items() if "--engine" in name}
        run["cpu"] = {**run.get("cpu", {}), **cpu}
    return found


def filled(text: str, tables: Mapping[str, str]) -> str:
    """The text with each table between its marks."""
    for name, table in tables.items():
        mark = re.compile(rf"(<!-- table {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        text = mark.sub(lambda found, of=table: f"{found[1]}{of}\n{found[2]}", text)  # type: ignore[misc]
    return text


def main() -> None:
    """Write the tables into docs/sizing.md."""
    DOC.write_text(filled(DOC.read_text(), tables()))


if __name__ == "__main__":
    main()
