"""What a proposed policy changes on a small closed lake: every story with the change expected, the gate, no writes."""

import json
import re
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from deltalake import DeltaTable
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.common import tables
from jobs.common.command import run_function
from jobs.common.errors import BREAKS_FOUND, DONE, FAILED, USAGE, UserError
from jobs.common.policies import parse_policies
from jobs.common.settings import Settings
from jobs.daily.backtest import backtest, command, last_closes
from jobs.daily.backtest_result import Backtest, SupplierResult, passed_limits
from jobs.daily.close import close_day
from jobs.daily.whatif import Tally
from tests.daily import small_lake
from tests.daily.small_lake import DAY, NOON, event, pair

NEXT = NOON + timedelta(days=1)
NOW = NOON + timedelta(days=2)
LATE = NOON.replace(hour=23, minute=50)


def skewed(supplier: str, *minutes: int) -> list[dict[str, Any]]:
    """SUPPLIER dates it so much later than AGODA, and publishes it at once."""
    return [
        event(side, f"BK-{late}", event_time=NOON + timedelta(minutes=after), supplier_id=supplier)
        for late in minutes
        for side, after in (("AGODA", 0), ("SUPPLIER", late))
    ]


def priced(supplier: str, *amounts: int, when: datetime = NOON) -> list[dict[str, Any]]:
    """AGODA says 100 USD; 1 USD is allowed then, as long as nothing else is proposed."""
    return [
        event(side, f"BK-{amount}", minor, event_time=when, supplier_id=supplier)
        for amount in amounts
        for side, minor in (("AGODA", 10_000), ("SUPPLIER", amount))
    ]


def over_midnight(supplier: str) -> list[dict[str, Any]]:
    return [
        event("AGODA", "BK-MIDNIGHT", event_time=LATE, supplier_id=supplier),
        event("SUPPLIER", "BK-MIDNIGHT", event_time=LATE + timedelta(minutes=40), supplier_id=supplier),
    ]


#: Each supplier is one story: its events, what the file proposes for it, and by kind what is then gained, its USD,
#: lost, its USD, reweighed; and how many of its keys flip.
Expected = dict[str, tuple[int, str, int, str, int]]
STORIES: dict[str, tuple[list[dict[str, Any]], str, Expected, int]] = {
    "SUP-SAME": ([*priced("SUP-SAME", 10_080, 10_300)], "{}", {}, 0),
    "SUP-LOOSER": (
        [*priced("SUP-LOOSER", 10_080, 10_120, 10_199, 10_200, 10_201), *priced("SUP-LOOSER", 10_150, when=NEXT)],
        '{price: {abs_tol_usd: "2"}}',
        {"PRICE_MISMATCH": (0, "0", 4, "6.69", 0)},
        4,
    ),
    "SUP-TIGHTER": (
        [*priced("SUP-TIGHTER", 10_050, 10_051, 10_120)],
        '{price: {pct_tol: "0.005"}}',
        {"PRICE_MISMATCH": (1, "0.51", 0, "0", 0)},
        1,
    ),
    "SUP-SKEW": (
        skewed("SUP-SKEW", 16, 30, 31),
        "{allowed_skew: 30m}",
        {"TIMESTAMP_SKEW": (0, "0", 2, "0", 0)},
        2,
    ),
    "SUP-DELAY": (
        [*priced("SUP-DELAY", 10_000)],
        "{max_delay: 4s}",
        {"DELAYED_AGODA": (1, "0", 0, "0", 0), "DELAYED_SUPPLIER": (1, "0", 0, "0", 0)},
        1,
    ),
    "SUP-WEIGHT": (
        [*priced("SUP-WEIGHT", 10_199, 10_200)],
        '{severity: {high_usd: "2"}}',
        {"PRICE_MISMATCH": (0, "0", 0, "0", 1)},
        0,
    ),
    # The pair is one fact of the first day by a grace of 1h. By 35m it is missing there, and skewed on the second day.
    "SUP-GRACE": (
        over_midnight("SUP-GRACE"),
        "{grace: 35m}",
        {"MISSING_SUPPLIER": (1, "100", 0, "0", 0), "TIMESTAMP_SKEW": (1, "0", 1, "0", 0)},
        2,
    ),
    # Not listed in the file: the defaults that it proposes, of which the others have their own.
    "SUP-REST": (
        [*over_midnight("SUP-REST"), *priced("SUP-REST", 10_080)],
        "",
        {
            "MISSING_SUPPLIER": (1, "100", 0, "0", 0),
            "PRICE_MISMATCH": (1, "0.8", 0, "0", 0),
            "TIMESTAMP_SKEW": (1, "0", 1, "0", 0),
        },
        3,
    ),
}
STAYS = {"grace": "1h", "price": {"pct_tol": "0.01"}}


def proposal() -> str:
    listed = {}
    for name, (_, policy, _, _) in STORIES.items():
        if policy:
            own = yaml.safe_load(policy)
            listed[name] = {**STAYS, **own, "price": {**STAYS["price"], **own.get("price", {})}}  # type: ignore[dict-item]
    defaults = {"mode": "DAILY_ONLY", "grace": "30m", "price": {"pct_tol": "0.005"}}
    return yaml.safe_dump({"version": 1, "defaults": defaults, "suppliers": listed})


@pytest.fixture(scope="module")
def lake(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Two closed days, and an event that came after them."""
    rows = [row for events, *_ in STORIES.values() for row in events]
    settings = small_lake.make(tmp_path_factory.mktemp("backtest"), rows)
    for day in (DAY, NEXT.date()):
        close_day(spark, settings, day, NOW)
    small_lake.append(settings, [event("AGODA", "BK-LATE", 15_000, supplier_id="SUP-LATE")], 1000)
    return settings


@pytest.fixture(scope="module")
def found(spark: SparkSession, lake: Settings, tmp_path_factory: pytest.TempPathFactory) -> Backtest:
    file = tmp_path_factory.mktemp("proposed") / "policies.yaml"
    file.write_text(proposal())
    return backtest(spark, lake, parse_policies(file), 7, NOW)


@pytest.mark.parametrize("supplier", STORIES)
def test_every_story(found: Backtest, supplier: str) -> None:
    _, _, changed, flips = STORIES[supplier]
    (result,) = [one for one in found.suppliers if one.supplier_id == supplier]
    assert {
        t.anomaly_type: (t.gained, t.gained_usd, t.lost, t.lost_usd, t.reweighed)
        for t in result.tallies
        if t.gained or t.lost or t.reweighed
    } == {kind: (g, Decimal(gu), n, Decimal(nu), r) for kind, (g, gu, n, nu, r) in changed.items()}
    assert result.flips == flips
    for tally in result.tallies:
        assert tally.after_usd - tally.before_usd == tally.gained_usd - tally.lost_usd
        assert tally.after - tally.before == tally.gained - tally.lost


def test_what_was_compared(found: Backtest) -> None:
    assert found.closes == ["2026-03-10-r1", "2026-03-11-r1"]
    assert {one.supplier_id for one in found.suppliers} == set(STORIES)
    assert (found.lost_usd, found.flips, found.lost_unpriced) == (Decimal("6.69"), 13, 0)
    assert found.notes[0] == "Only 2 days are closed, not 7."
    assert found.notes[1].startswith("mode changes for 8 of the suppliers (SUP-DELAY, SUP-GRACE, SUP-LOOSER, …)")
    assert len(found.notes) == 2, "what was recorded is what its own policies give"


def test_examples_lie_at_the_edge(found: Backtest) -> None:
    (ours,) = [one for one in found.suppliers if one.supplier_id == "SUP-LOOSER"]
    assert [(e.activity_id, e.margin_before, e.margin_after) for e in ours.edges] == [
        ("BK-10200", Decimal("-1"), Decimal("0")),
        ("BK-10199", Decimal("-0.99"), Decimal("0.01")),
        ("BK-10150", Decimal("-0.5"), Decimal("0.5")),
    ]
    first = ours.edges[0]
    assert (first.change, first.unit, first.amount_at_risk_usd) == ("LOST", "USD", Decimal(2))
    assert "SUPPLIER 102.00 USD = 102 USD; 2 USD apart" in first.measured
    assert first.limit_after == "2 USD, the greater of 2 USD and 1% of AGODA's amount"
    assert [(change.key, change.before, change.after) for change in ours.changes] == [
        ("mode", "NRT_HOURLY", "DAILY_ONLY"),
        ("abs_tol_usd", Decimal("0.50"), Decimal("2")),
    ]


@pytest.mark.parametrize(
    ("max_lost_usd", "max_flips", "says"),
    [
        (None, None, []),
        ("6.69", 13, []),
        ("6.68", 13, ["The lost breaks have 6.69 USD at risk, more than --max-lost-usd 6.68."]),
        ("6.69", 12, ["13 keys gain or lose a break, more than --max-flips 12."]),
    ],
)
def test_the_limits(found: Backtest, max_lost_usd: str | None, max_flips: int | None, says: list[str]) -> None:
    assert passed_limits(found, None if max_lost_usd is None else Decimal(max_lost_usd), max_flips) == says


def versions(lake: Settings) -> dict[str, int]:
    """The Delta version of every table of the lake, and how many data files each layer has."""
    root = Path(lake.lake.root)
    places = [log.parent for log in root.rglob("_delta_log")]
    files = {f"files of {name}": sum(1 for _ in (root / name).rglob("*.parquet")) for name in ("silver", "gold", "ref")}
    return {str(place.relative_to(root)): DeltaTable(str(place)).version() for place in places} | files


def test_the_gate_has_an_exit_code_and_nothing_is_written(
    lake: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RECO_LAKE__ROOT", lake.lake.root)
    before = versions(lake)
    file = tmp_path / "proposed.yaml"
    file.write_text('version: 1\nsuppliers: {SUP-LOOSER: {price: {abs_tol_usd: "2"}}}\n')
    options = ["--days", "1", "--max-lost-usd", "1.49", "--max-flips", "1"]
    assert run_function(command, [str(file), *options], "backtest") == BREAKS_FOUND
    told = capsys.readouterr().out
    for text in (
        "Lost: a break that a close's own policies report and this file would not",
        "1 keys gain or lose a break: 1 breaks with 1.50 USD are lost, 0 with 0.00 USD gained",
        "money at risk moves by -1.50 USD",
        "1.50 USD at risk, more than --max-lost-usd 1.49.",
        "0.5 USD to spare",
    ):
        assert text in told
    assert versions(lake) == before


def test_a_saved_result_has_a_row_a_supplier(
    lake: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RECO_LAKE__ROOT", lake.lake.root)
    file = tmp_path / "proposed.yaml"
    file.write_text('version: 1\nsuppliers: {SUP-LOOSER: {price: {abs_tol_usd: "2"}, max_delay: 150m}}\n')
    before = versions(lake)
    options = ["--save", "--json", "--days", "1", "--max-lost-usd", "1.5", "--max-flips", "1"]
    assert run_function(command, [str(file), *options], "backtest") == DONE
    told = json.loads(capsys.readouterr().out)
    assert (told["saved"], told["lost_usd"], told["moved_usd"], told["flips"]) == (True, "1.5", "-1.5", 1)
    after = versions(lake)
    assert {name for name in after if after[name] != before.get(name)} == {"gold/policy_backtests", "files of gold"}
    rows = pl.read_delta(lake.table_path("policy_backtests")).to_dicts()
    (row,) = [row for row in rows if row["supplier_id"] == "SUP-LOOSER"]
    assert (row["backtest_id"], row["keys"], row["flips"]) == (told["backtest_id"], 1, 1)
    assert row["policy_changes"] == ["price.abs_tol_usd: 0.5 → 2", "max_delay: 2h → 2h30m"]
    assert [(t["anomaly_type"], t["lost"], t["lost_usd"]) for t in row["tallies"]] == [
        ("PRICE_MISMATCH", 1, Decimal("1.5"))
    ]
    (example,) = row["examples"]
    assert (example["margin_before"], example["margin_after"]) == ("0.5 USD over", "0.5 USD to spare")


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
    assert re.search(says, line)


def test_a_lake_without_closes_says_so(spark: SparkSession, tmp_path: Path) -> None:
    settings = small_lake.make(tmp_path / "lake", pair("BK-1"))
    with pytest.raises(UserError, match=r"There is no close .*reco daily --date") as error:
        last_closes(spark, settings, 7)
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
    file = tmp_path / "proposed.yaml"
    file.write_text("version: 1")
    gone.write.format("delta").mode("append").save(path)
    try:
        with pytest.raises(UserError, match=r"2026-03-11-r2 .*silver/activity at version 77.*smaller --days") as error:
            backtest(spark, lake, parse_policies(file), 1, NOW)
    finally:
        DeltaTable(path).restore(before)
    assert error.value.exit_code == FAILED


def test_what_has_no_price_does_not_pass_a_gate_of_money() -> None:
    zero = Decimal(0)
    tally = Tally("SUP-007", "MISSING_AGODA", 1, 0, 0, 1, 0, zero, zero, 0, 1, zero, zero)
    day = DAY
    found = Backtest("id", NOW, "f", "h", ["c"], day, day, [0], [SupplierResult("SUP-007", 1, 1, [tally])], [])
    (sentence,) = passed_limits(found, Decimal(1000), None)
    assert "1 lost breaks have no price" in sentence
    assert passed_limits(found, None, 1) == []
