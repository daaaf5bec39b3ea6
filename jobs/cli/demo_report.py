"""What the demo shows: planted beside found, the law, the money, the control totals; read without a JVM."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from jobs.common.lake import open_table, read, scan
from jobs.common.law import Law, measure
from jobs.common.output import print_table, say, shown
from jobs.common.settings import Settings

Key = tuple[date, str, str, str]
ZERO = Decimal("0.000000")
#: Suppliers that are listed by money.
TOP = 5
#: Kinds of which the dearest break is explained.
EXPLAINED = ("PRICE_MISMATCH", "STATUS_MISMATCH", "MISSING_SUPPLIER")
_KEY = ("reco_date", "supplier_id", "activity_id", "anomaly_type")
_USD = ("amount_in_usd", "matched_usd", "mismatched_usd", "missing_usd")
_TOTALS = ("keys_in", "matched", "mismatched", "missing")


def build(settings: Settings, truth_file: Path, dates: list[date]) -> dict[str, Any]:
    """Everything the demo found, JSON-ready but for decimals and dates; `right` says whether it is all as planted."""
    whole = json.loads(truth_file.read_text(encoding="utf-8"))
    planted = {_key(row): _money(row["amount_at_risk_usd"]) for row in whole["anomalies"]}
    planted = {key: money for key, money in planted.items() if key[0] in dates}
    anomalies = read(open_table(settings, "anomalies"), "anomalies")
    found = Counter[tuple[Key, Decimal | None]]()
    for row in anomalies.select(*_KEY, "amount_at_risk_usd").iter_rows():
        found[row[:4], row[4]] += 1
    kinds = _by_kind(planted, found)
    records = _records(settings, whole["summary"])
    totals = _control_totals(settings)
    right = all(kind["precision"] == 1 == kind["recall"] for kind in kinds)
    right = right and records["holds"] and records["as_planted"] and all(total["balances"] for total in totals)
    return {
        "right": right,
        "summary": whole["summary"],
        "records": records,
        "outcomes": _outcomes(settings),
        "kinds": kinds,
        "suppliers": _by_supplier(anomalies),
        "control_totals": totals,
    }


def worth_explaining(settings: Settings, dates: list[date]) -> list[dict[str, Any]]:
    """The dearest break of three kinds, with its sentence."""
    anomalies = read(open_table(settings, "anomalies"), "anomalies").filter(pl.col("reco_date").is_in(dates))
    chosen: list[dict[str, Any]] = []
    for kind in EXPLAINED:
        of_kind = anomalies.filter(pl.col("anomaly_type") == kind)
        dearest = of_kind.sort("amount_at_risk_usd", *_KEY, descending=[True, *(False for _ in _KEY)], nulls_last=True)
        chosen += dearest.select(*_KEY, "severity", "amount_at_risk_usd", "explanation").head(1).to_dicts()
    return chosen


def _key(row: dict[str, Any]) -> Key:
    return date.fromisoformat(row["reco_date"]), row["supplier_id"], row["activity_id"], row["anomaly_type"]


def _money(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _by_kind(planted: dict[Key, Decimal | None], found: Counter[tuple[Key, Decimal | None]]) -> list[dict[str, Any]]:
    """Planted beside found: a break counts as right where its key and its money are right, and it is there once."""
    rows = []
    for kind in sorted({key[3] for key in planted} | {key[3] for key, _ in found}):
        wanted = {(key, money) for key, money in planted.items() if key[3] == kind}
        there = {item: count for item, count in found.items() if item[0][3] == kind}
        right, total = len(wanted & there.keys()), sum(there.values())
        rows.append(
            {
                "anomaly_type": kind,
                "planted": len(wanted),
                "found": total,
                "precision": Decimal(right) / total if total else Decimal(0),
                "recall": Decimal(right) / len(wanted) if wanted else Decimal(0),
                "amount_at_risk_usd": _sum((money for _, money in there), there.values()),
                "unpriced": sum(count for (_, money), count in there.items() if money is None),
            }
        )
    return rows


def _sum(amounts: Iterable[Decimal | None], counts: Iterable[int]) -> Decimal:
    return sum((money * count for money, count in zip(amounts, counts, strict=True) if money is not None), ZERO)


def _records(settings: Settings, planted: dict[str, Any]) -> dict[str, Any]:
    """Produced, and what became of it, by topic; whether the law holds and quarantine holds exactly the poison."""
    law = measure(settings) or Law([], pl.DataFrame(schema={"why": pl.String}), {})
    topics = []
    for side, topic in (("AGODA", settings.topics.agoda_raw), ("SUPPLIER", settings.topics.supplier_raw)):
        parts = [count for count in law.counts if count.topic == topic]
        row = {name: sum(getattr(c, name) for c in parts) for name in ("bronze", "heartbeats", "events", "quarantined")}
        topics.append({"topic": topic, "produced": planted["records"].get(side, 0), **row})
    quarantine = read(open_table(settings, "quarantine"), "quarantine")
    reasons = Counter(code for codes in quarantine["reasons"].to_list() for code in codes)
    complete = all(row["produced"] == row["bronze"] - row["heartbeats"] for row in topics)
    heartbeats = sum(row["heartbeats"] for row in topics) == planted["heartbeats"]
    return {
        "topics": topics,
        "holds": law.holds and complete and heartbeats,
        "reasons": dict(sorted(reasons.items())),
        "as_planted": dict(reasons) == planted["reasons"] and quarantine.height == planted["poison"],
    }


def _outcomes(settings: Settings) -> list[dict[str, Any]]:
    facts = read(open_table(settings, "reconciliation_facts"), "reconciliation_facts")
    counted = facts.group_by("reco_date", "outcome").len().sort("reco_date", "outcome").to_dicts()
    by_date: dict[date, dict[str, Any]] = {}
    for row in counted:
        by_date.setdefault(row["reco_date"], {"reco_date": row["reco_date"]})[row["outcome"]] = row["len"]
    return list(by_date.values())


def _by_supplier(anomalies: pl.DataFrame) -> list[dict[str, Any]]:
    """The suppliers with the most money at risk; summed exactly."""
    money: defaultdict[str, Decimal] = defaultdict(lambda: ZERO)
    breaks: Counter[str] = Counter()
    for supplier, amount in anomalies.select("supplier_id", "amount_at_risk_usd").iter_rows():
        breaks[supplier] += 1
        money[supplier] += amount or ZERO
    ranked = sorted(breaks, key=lambda supplier: (-money[supplier], supplier))[:TOP]
    return [{"supplier_id": name, "breaks": breaks[name], "amount_at_risk_usd": money[name]} for name in ranked]


def _control_totals(settings: Settings) -> list[dict[str, Any]]:
    """Keys and dollars in and out by date and side, over all suppliers."""
    table = open_table(settings, "closes")
    if table is None:
        return []
    rows = []
    closes = scan(table).select("reco_date", "control_totals").sort("reco_date").collect()
    for close in closes.iter_rows(named=True):
        for side in ("AGODA", "SUPPLIER"):
            totals = [total for total in close["control_totals"] if total["side"] == side]
            counts: dict[str, int] = {name: sum(total[name] for total in totals) for name in _TOTALS}
            usd: dict[str, Decimal] = {name: sum((total[name] for total in totals), ZERO) for name in _USD}
            balances = counts["keys_in"] == counts["matched"] + counts["mismatched"] + counts["missing"]
            balances = balances and usd["amount_in_usd"] == sum((usd[name] for name in _USD[1:]), ZERO)
            rows.append({"reco_date": close["reco_date"], "side": side, **counts, **usd, "balances": balances})
    return rows


def show(report: dict[str, Any], first: date) -> None:
    """The report for people."""
    planted, records = report["summary"], report["records"]
    last = first + timedelta(days=planted["days"] - 1)
    say("", f"{planted['activities']:,} activities of {planted['suppliers']} suppliers, {first} to {last}", "")
    if report["no_outbox"]:
        say(f"There was no outbox, {report['no_outbox']}; AGODA pushed all.", "")
    _table("Ways in: records sent, events that arrived, breaks of their suppliers", report["ways"])
    say("")
    _table("What became of each record: bronze = heartbeats + events + quarantined", records["topics"])
    law = "holds, on every partition" if records["holds"] else "is BROKEN; see `reco status`"
    poison = "exactly the poison that was planted" if records["as_planted"] else "NOT what was planted"
    say(
        f"The law {law}. Quarantine holds {poison}: {sum(r['quarantined'] for r in records['topics'])} records, "
        f"{len(records['reasons'])} reason codes.",
        "",
    )
    _table("Facts by outcome", report["outcomes"])
    say("")
    _table("Planted beside found (right where key and money are), and money at risk in US dollars", report["kinds"])
    say("")
    if report["clocks"]:
        _table("Both clocks, NRT_HOURLY suppliers: the closes' breaks, the stream's exceptions", report["clocks"])
        say("")
    _table("Suppliers with the most money at risk", report["suppliers"])
    say("")
    _table("Control totals: keys and US dollars in = matched + mismatched + missing", report["control_totals"])
    for told in report["explanations"]:
        say("", *told["text"].rstrip().splitlines())
    peak = "unknown here" if report["peak_bytes"] is None else f"{report['peak_bytes'] / 2**30:.1f} GiB"
    verdict = "Every planted break was found, and nothing else." if report["right"] else "NOT as planted: see above."
    say("", f"{verdict} {report['seconds']:.0f} s, peak memory of all processes {peak}.")


def show_where(settings: Settings) -> None:
    """Where the tables are, and Python that asks them something without a JVM."""
    root = settings.lake.root
    say(
        "",
        f"The tables are in {root}. From Python, without a JVM:",
        "",
        "import duckdb, polars as pl",
        "from deltalake import DeltaTable",
        f'lake = "{root}"',
        'facts = pl.read_delta(f"{lake}/gold/reconciliation_facts")',
        'print(facts.group_by("reco_date", "outcome").len().sort("reco_date", "outcome"))',
        'files = DeltaTable(f"{lake}/gold/anomalies").file_uris()',
        "breaks = duckdb.read_parquet(files, hive_partitioning=True)",
        'print(duckdb.sql("select anomaly_type, count(*), sum(amount_at_risk_usd) from breaks group by all"))',
        "",
        f"Remove it all: rm -r {settings.local.home}",
    )


def _table(title: str, rows: list[dict[str, Any]]) -> None:
    """Money to the cent, ratios to four digits, all numbers aligned to the right."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = []
    for name in names:
        values = [row.get(name, 0) for row in rows]
        cells = [_cell(name, value) for value in values]
        width = max(len(name), *map(len, cells))
        number = any(isinstance(value, int | Decimal) and not isinstance(value, bool) for value in values)
        columns.append([cell.rjust(width) if number else cell for cell in cells])
    print_table(title, [name.replace("_", " ") for name in names], list(zip(*columns, strict=True)))


def _cell(name: str, value: Any) -> str:
    if not isinstance(value, Decimal):
        return shown(value)
    return f"{value:,.2f}" if name.endswith("usd") else f"{value:.4f}".rstrip("0").rstrip(".")
