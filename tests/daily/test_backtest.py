"""What a proposed policy changes on a small closed lake: every story with the change expected, the gate, no writes."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.common import tables
from jobs.common.command import run_function
from jobs.common.errors import BREAKS_FOUND, DONE, FAILED, USAGE, UserError
from jobs.common.policies import parse_policies
from jobs.common.settings import Settings
from jobs.daily.backtest import backtest, command
from jobs.daily.backtest_result import Backtest, SupplierResult, passed_limits
from jobs.daily.close import close_day
from tests.daily import small_lake
from tests.daily.small_lake import DAY, NOON, event, pair

NEXT = NOON + timedelta(days=1)
NOW = NOON + timedelta(days=2)
OTHER = {"supplier_id": "SUP-008"}
LATE = NOON.replace(hour=23, minute=50)


def at(minutes: int) -> dict[str, Any]:
    return {"event_time": NOON + timedelta(minutes=minutes), "kafka_time": NOON + timedelta(minutes=minutes, seconds=5)}


def priced(activity: str, amount: int, when: datetime = NOON, **more: Any) -> list[dict[str, Any]]:
    """AGODA says 100 USD; the tolerance of the built-in policy is 1 USD then."""
    return [
        event(side, activity, minor, event_time=when, **more)
        for side, minor in (("AGODA", 10_000), ("SUPPLIER", amount))
    ]


def events() -> list[dict[str, Any]]:
    return [
        *priced("BK-IN", 10_080),
        *priced("BK-P120", 10_120),
        *priced("BK-P199", 10_199),
        *priced("BK-P200", 10_200),
        *priced("BK-P300", 10_300),
        *priced("BK-NEXT", 10_150, NEXT),
        *priced("BK-G080", 10_080, **OTHER),
        *priced("BK-G120", 10_120, **OTHER),
        *pair("BK-S16", **at(16)),
        *pair("BK-S40", **at(40)),
        *pair("BK-D3", kafka_time=NOON + timedelta(hours=3)),
        event("AGODA", "BK-ALONE", 15_000),
        event("AGODA", "BK-MIDNIGHT", event_time=LATE),
        event("SUPPLIER", "BK-MIDNIGHT", event_time=LATE + timedelta(minutes=40)),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def lake(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Two closed days, and an event that came after them."""
    settings = small_lake.make(tmp_path_factory.mktemp("backtest"), events())
    for day in (DAY, NEXT.date()):
        close_day(spark, settings, day, NOW)
    small_lake.append(settings, [event("SUPPLIER", "BK-ALONE", 15_000)], 1000)
    return settings


def run(spark: SparkSession, lake: Settings, folder: Path, policies: str, days: int = 7) -> Backtest:
    file = folder / "proposed.yaml"
    file.write_text(f"version: 1\n{policies}\n")
    return backtest(spark, lake, parse_policies(file), days, NOW)


#: What the file proposes: (supplier, kind): gained, its USD, lost, its USD, reweighed; and keys that flip by supplier.
Expected = tuple[dict[tuple[str, str], tuple[int, str, int, str, int]], dict[str, int]]
STORIES: dict[str, tuple[str, Expected]] = {
    "the same": ("defaults: {}", ({}, {})),
    "looser price": (
        'suppliers: {SUP-007: {price: {abs_tol_usd: "2"}}}',
        ({("SUP-007", "PRICE_MISMATCH"): (0, "0", 4, "6.69", 0)}, {"SUP-007": 4}),
    ),
    "one cent less": (
        'suppliers: {SUP-007: {price: {abs_tol_usd: "1.99"}}}',
        ({("SUP-007", "PRICE_MISMATCH"): (0, "0", 3, "4.69", 0)}, {"SUP-007": 3}),
    ),
    "tighter for the others": (
        'defaults: {price: {pct_tol: "0.005"}}\nsuppliers: {SUP-007: {price: {pct_tol: "0.01"}}}',
        ({("SUP-008", "PRICE_MISMATCH"): (1, "0.8", 0, "0", 0)}, {"SUP-008": 1}),
    ),
    "looser skew": (
        "defaults: {allowed_skew: 30m}",
        ({("SUP-007", "TIMESTAMP_SKEW"): (0, "0", 1, "0", 0)}, {"SUP-007": 1}),
    ),
    "tighter delay": (
        "defaults: {max_delay: 4s}",
        (
            {
                ("SUP-007", "DELAYED_AGODA"): (11, "0", 0, "0", 0),
                ("SUP-007", "DELAYED_SUPPLIER"): (9, "0", 0, "0", 0),
                ("SUP-008", "DELAYED_AGODA"): (2, "0", 0, "0", 0),
                ("SUP-008", "DELAYED_SUPPLIER"): (2, "0", 0, "0", 0),
            },
            {"SUP-007": 11, "SUP-008": 2},
        ),
    ),
    "other severities": (
        'defaults: {severity: {high_usd: "2", critical_usd: "200"}}',
        ({("SUP-007", "PRICE_MISMATCH"): (0, "0", 0, "0", 2)}, {}),
    ),
    # The pair over midnight is one fact of the first day by 1h; by 30m it is missing there and skewed on the second.
    "shorter grace": (
        "defaults: {grace: 30m}",
        (
            {
                ("SUP-007", "MISSING_SUPPLIER"): (1, "100", 0, "0", 0),
                ("SUP-007", "TIMESTAMP_SKEW"): (1, "0", 1, "0", 0),
            },
            {"SUP-007": 2},
        ),
    ),
}


@pytest.mark.parametrize("story", STORIES)
def test_every_story(spark: SparkSession, lake: Settings, tmp_path: Path, story: str) -> None:
    policies, (changed, flips) = STORIES[story]
    found = run(spark, lake, tmp_path, policies)
    assert {
        (t.supplier_id, t.anomaly_type): (t.gained, t.gained_usd, t.lost, t.lost_usd, t.reweighed)
        for t in found.tallies
        if t.gained or t.lost or t.reweighed
    } == {key: (g, Decimal(gu), n, Decimal(nu), r) for key, (g, gu, n, nu, r) in changed.items()}
    assert {s.supplier_id: s.flips for s in found.suppliers if s.flips} == flips
    assert {t.after_usd - t.before_usd - t.gained_usd + t.lost_usd for t in found.tallies} == {Decimal(0)}
    assert found.notes == ["Only 2 days are closed, not 7."]
    assert found.closes == ["2026-03-10-r1", "2026-03-11-r1"]


def test_examples_lie_at_the_edge(spark: SparkSession, lake: Settings, tmp_path: Path) -> None:
    found = run(spark, lake, tmp_path, 'suppliers: {SUP-007: {price: {abs_tol_usd: "2"}}}')
    (ours,) = [one for one in found.suppliers if one.edges]
    assert [(e.activity_id, e.margin_before, e.margin_after) for e in ours.edges] == [
        ("BK-P200", Decimal("-1"), Decimal("0")),
        ("BK-P199", Decimal("-0.99"), Decimal("0.01")),
        ("BK-NEXT", Decimal("-0.5"), Decimal("0.5")),
    ]
    first = ours.edges[0]
    assert (first.change, first.unit, first.amount_at_risk_usd) == ("LOST", "USD", Decimal(2))
    assert "SUPPLIER 102.00 USD = 102 USD; 2 USD apart" in first.measured
    assert first.limit_after == "2 USD, the greater of 2 USD and 1% of AGODA's amount"
    assert [(change.key, change.before, change.after) for change in ours.changes] == [
        ("abs_tol_usd", Decimal("0.50"), Decimal("2"))
    ]


def test_the_last_days_only(spark: SparkSession, lake: Settings, tmp_path: Path) -> None:
    found = run(spark, lake, tmp_path, 'defaults: {mode: DAILY_ONLY, price: {abs_tol_usd: "2"}}', days=1)
    assert (found.closes, found.lost_usd) == (["2026-03-11-r1"], Decimal("1.5"))
    assert [note[:41] for note in found.notes] == ["mode changes for 1 of the suppliers (SUP-"]


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        ([], DONE, "4 breaks with 6.69 USD are lost"),
        (["--max-lost-usd", "6.69", "--max-flips", "4"], DONE, "Within the limits."),
        (["--max-lost-usd", "6.68"], BREAKS_FOUND, "6.69 USD at risk, more than --max-lost-usd 6.68."),
        (["--max-flips", "3"], BREAKS_FOUND, "4 keys gain or lose a break, more than --max-flips 3."),
    ],
)
def test_the_gate_writes_nothing(
    lake: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: Sequence[str],
    code: int,
    says: str,
) -> None:
    monkeypatch.setenv("RECO_LAKE__ROOT", lake.lake.root)
    before = versions(lake)
    file = tmp_path / "proposed.yaml"
    file.write_text('version: 1\nsuppliers: {SUP-007: {price: {abs_tol_usd: "2"}}}\n')
    assert run_function(command, [str(file), *options], "backtest") == code
    told = capsys.readouterr().out
    assert says in told
    assert "Lost: a break that a close's own policies report and this file would not" in told
    assert versions(lake) == before


def versions(lake: Settings) -> dict[str, int]:
    """The Delta version of every table of the lake, and no other file beside them."""
    root = Path(lake.lake.root)
    logs = {
        str(path.parent.relative_to(root)): DeltaTable(str(path.parent)).version() for path in root.rglob("_delta_log")
    }
    return logs | {
        f"files of {name}": sum(1 for _ in (root / name).rglob("*.parquet"))
        for name in ("bronze", "silver", "gold", "ref")
    }


def test_a_saved_result_has_a_row_a_supplier(
    lake: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RECO_LAKE__ROOT", lake.lake.root)
    file = tmp_path / "proposed.yaml"
    file.write_text('version: 1\nsuppliers: {SUP-007: {price: {abs_tol_usd: "2"}, grace: 90m}}\n')
    before = versions(lake)
    assert run_function(command, [str(file), "--save", "--json", "--days", "1"], "backtest") == DONE
    told = json.loads(capsys.readouterr().out)
    assert (told["saved"], told["lost_usd"], told["moved_usd"], told["flips"]) == (True, "1.5", "-1.5", 1)
    after = versions(lake)
    assert {name for name in after if after[name] != before.get(name)} == {"gold/policy_backtests", "files of gold"}
    rows = DeltaTable(lake.table_path("policy_backtests")).to_pyarrow_table().to_pylist()
    (row,) = [row for row in rows if row["backtest_id"] == told["backtest_id"]]
    assert (row["supplier_id"], row["keys"], row["flips"]) == ("SUP-007", 1, 1)
    assert row["policy_changes"] == ["grace: 1h → 1h30m", "price.abs_tol_usd: 0.5 → 2"]
    assert [(t["anomaly_type"], t["lost"], t["lost_usd"]) for t in row["tallies"]] == [
        ("PRICE_MISMATCH", 1, Decimal("1.5"))
    ]
    assert (row["examples"][0]["margin_before"], row["examples"][0]["margin_after"]) == (
        "0.5 USD over",
        "0.5 USD to spare",
    )


@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        ("version: 1\ndefault: {}", [], r"proposed\.yaml:2: default: unknown key"),
        ("version: 1\ndefaults: {format: nope}", [], r"proposed\.yaml:2: defaults\.format: there is no format nope"),
        ("version: 1", ["--max-lost-usd", "much"], "--max-lost-usd much is no amount"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, options: list[str], says: str
) -> None:
    file = tmp_path / "proposed.yaml"
    file.write_text(text)
    assert run_function(command, [str(file), *options], "backtest") == USAGE
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert __import__("re").search(says, line)


def test_a_lake_without_closes_says_so(spark: SparkSession, tmp_path: Path) -> None:
    settings = small_lake.make(tmp_path / "lake", pair("BK-1"))
    with pytest.raises(UserError, match=r"There is no close .*reco daily --date") as error:
        run(spark, settings, tmp_path, "defaults: {}")
    assert error.value.exit_code == USAGE


def test_inputs_that_are_gone_are_named(spark: SparkSession, lake: Settings, tmp_path: Path) -> None:
    path = lake.table_path("closes")
    rows = tables.read(spark, path).where(F.col("close_id") == "2026-03-11-r1")
    gone = rows.withColumns(
        {
            "close_id": F.lit("2026-03-11-r2"),
            "revision": F.lit(2).cast("long"),
            "silver_version": F.lit(77).cast("long"),
        }
    )
    before = DeltaTable(path).version()
    gone.write.format("delta").mode("append").save(path)
    try:
        with pytest.raises(UserError, match=r"2026-03-11-r2 .*silver/activity at version 77.*smaller --days") as error:
            run(spark, lake, tmp_path, "defaults: {}")
    finally:
        DeltaTable(path).restore(before)
    assert error.value.exit_code == FAILED


def test_what_has_no_price_does_not_pass_a_gate_of_money() -> None:
    from jobs.daily.whatif import Tally

    zero = Decimal(0)
    tally = Tally("SUP-007", "MISSING_AGODA", 1, 0, 0, 1, 0, zero, zero, 0, 1, zero, zero)
    day = DAY
    found = Backtest("id", NOW, "f", "h", ["c"], day, day, [0], [SupplierResult("SUP-007", 1, 1, [tally])], [])
    (sentence,) = passed_limits(found, Decimal(1000), None)
    assert "1 lost breaks have no price" in sentence
    assert passed_limits(found, None, 1) == []
