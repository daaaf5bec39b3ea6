"""What a proposed policy changes on a small closed lake: every story with the change expected, the gate, no writes."""

import json
import re
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.common import tables
from jobs.common.command import run_function
from jobs.common.engines import Session
from jobs.common.engines.duckdb import duckdb_session
from jobs.common.errors import BREAKS_FOUND, FAILED, USAGE, UserError
from jobs.common.policies import BUILT_IN, DEFAULTS, parse_policies
from jobs.common.settings import Settings
from jobs.daily.backtest import backtest, command, last_closes, tell
from jobs.daily.backtest_result import Backtest, SupplierResult, by_supplier, passed_limits
from jobs.daily.close import close_day
from jobs.daily.whatif import DayResult, Tally
from tests.daily import small_lake
from tests.daily.conftest import Opens
from tests.daily.policy_stories import NOW, STORIES, proposal
from tests.daily.small_lake import DAY, event, pair


@pytest.fixture(scope="module")
def lake(opens: Opens, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A closed day, and an event that came after its close."""
    rows = [row for events, *_ in STORIES.values() for row in events]
    settings = small_lake.make(tmp_path_factory.mktemp("backtest"), rows)
    with opens() as session:
        close_day(session, settings, DAY, NOW)
    small_lake.append(settings, [event("AGODA", "BK-LATE", 15_000, supplier_id="SUP-LATE")], 1000)
    return settings


@pytest.fixture(scope="module")
def found(opens: Opens, lake: Settings, tmp_path_factory: pytest.TempPathFactory) -> Backtest:
    file = tmp_path_factory.mktemp("proposed") / "policies.yaml"
    file.write_text(proposal())
    before = versions(lake)
    with opens() as session:
        result = backtest(session, lake, parse_policies(file), 7, NOW)
    assert versions(lake) == before
    return result


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


@pytest.mark.long
def test_both_engines_find_the_same(spark: SparkSession, found: Backtest, lake: Settings, tmp_path: Path) -> None:
    file = tmp_path / "policies.yaml"
    file.write_text(proposal())
    before = versions(lake)
    by_spark = backtest(spark, lake, parse_policies(file), 7, NOW)
    with duckdb_session(Settings()) as session:
        by_duckdb = backtest(session, lake, parse_policies(file), 7, NOW)
    assert by_spark == by_duckdb
    assert replace(by_spark, file=found.file) == found
    assert versions(lake) == before


def test_what_was_compared(found: Backtest) -> None:
    assert found.closes == ["2026-03-10-r1"]
    assert {one.supplier_id for one in found.suppliers} == set(STORIES)
    assert (found.lost_usd, found.flips, found.lost_unpriced) == (Decimal("6.69"), 11, 0)
    assert found.notes[0] == "Only 1 days are closed, not 7."
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
        ("6.69", 11, []),
        ("6.68", 11, ["The lost breaks have 6.69 USD at risk, more than --max-lost-usd 6.68."]),
        ("6.69", 10, ["11 keys gain or lose a break, more than --max-flips 10."]),
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
    options = ["--days", "1", "--max-lost-usd", "6.68", "--max-flips", "4"]
    assert run_function(command, [str(file), *options], "backtest") == BREAKS_FOUND
    told = capsys.readouterr().out
    for text in (
        "Lost: a break that a close's own policies report and this file would not",
        "4 keys gain or lose a break: 4 breaks with 6.69 USD are lost, 0 with 0.00 USD gained",
        "money at risk moves by -6.69 USD",
        "6.69 USD at risk, more than --max-lost-usd 6.68.",
        "0.01 USD to spare",
    ):
        assert text in told
    assert versions(lake) == before


def test_a_saved_result_has_a_row_a_supplier(
    lake: Settings, found: Backtest, capsys: pytest.CaptureFixture[str]
) -> None:
    before = versions(lake)
    tell(lake, found, [], gated=True, keep=True, as_json=True)
    told = json.loads(capsys.readouterr().out)
    sums = ("saved", "lost_usd", "gained_usd", "moved_usd", "flips")
    assert tuple(told[name] for name in sums) == (True, "6.69", "201.31", "194.62", 11)
    after = versions(lake)
    assert {name for name in after if after[name] != before.get(name)} == {"gold/policy_backtests", "files of gold"}
    rows = pl.read_delta(lake.table_path("policy_backtests")).to_dicts()
    assert {row["supplier_id"] for row in rows} == set(STORIES)
    (row,) = [row for row in rows if row["supplier_id"] == "SUP-LOOSER"]
    assert (row["backtest_id"], row["keys"], row["flips"]) == (told["backtest_id"], 6, 4)
    assert row["policy_changes"] == ["mode: NRT_HOURLY → DAILY_ONLY", "price.abs_tol_usd: 0.5 → 2"]
    assert [(t["anomaly_type"], t["lost"], t["lost_usd"]) for t in row["tallies"]] == [
        ("PRICE_MISMATCH", 4, Decimal("6.69"))
    ]
    example = row["examples"][1]
    assert (example["margin_before"], example["margin_after"]) == ("0.99 USD over", "0.01 USD to spare")
    tell(lake, found, [], gated=True, keep=True, as_json=False)
    told_again = capsys.readouterr().out
    assert f"Saved in gold/policy_backtests as {found.backtest_id}" in told_again
    assert "Within the limits." in told_again


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


def test_a_lake_without_closes_says_so(session: Session, tmp_path: Path) -> None:
    settings = small_lake.make(tmp_path / "lake", pair("BK-1"))
    with pytest.raises(UserError, match=r"There is no close .*reco daily --date") as error:
        last_closes(session, settings, 7)
    assert error.value.exit_code == USAGE


def test_the_last_closes_are_the_newest_revisions_of_whole_days(
    spark: SparkSession, session: Session, lake: Settings, tmp_path: Path
) -> None:
    """Rows like the real one but for what is changed; the inputs of the newest are gone."""
    path = lake.table_path("closes")
    before = DeltaTable(path).version()
    real = tables.read(spark, path)
    for day, revision, provisional in (("11", 2, False), ("11", 1, False), ("12", 1, True)):
        changed = {
            "close_id": f"2026-03-{day}-r{revision}",
            "reco_date": date(2026, 3, int(day)),
            "provisional": provisional,
        }
        columns = {name: F.lit(value) for name, value in changed.items()}
        columns |= {name: F.lit(value).cast("long") for name, value in (("revision", revision), ("silver_version", 77))}
        real.limit(1).withColumns(columns).write.format("delta").mode("append").save(path)
    file = tmp_path / "proposed.yaml"
    file.write_text("version: 1")
    try:
        assert [row["close_id"] for row in last_closes(session, lake, 7)] == ["2026-03-10-r1", "2026-03-11-r2"]
        with pytest.raises(UserError, match=r"2026-03-11-r2 .*silver/activity at version 77.*smaller --days") as error:
            backtest(session, lake, parse_policies(file), 1, NOW)
    finally:
        DeltaTable(path).restore(before)
    assert error.value.exit_code == FAILED


def test_files_that_are_gone_are_named(session: Session, lake: Settings, tmp_path: Path) -> None:
    """As VACUUM leaves them: the version is in the log, its files are not in the folder."""
    hidden = {path: tmp_path / path.name for path in Path(lake.table_path("activity")).rglob("*.parquet")}
    file = tmp_path / "proposed.yaml"
    file.write_text("version: 1")
    for path, away in hidden.items():
        path.rename(away)
    try:
        with pytest.raises(UserError, match=r"2026-03-10-r1 cannot be replayed.*VACUUM.*smaller --days") as error:
            backtest(session, lake, parse_policies(file), 1, NOW)
    finally:
        for path, away in hidden.items():
            away.rename(path)
    assert error.value.exit_code == FAILED


def test_days_are_added_up(found: Backtest) -> None:
    tallies = [tally for tally in found.tallies if tally.supplier_id == "SUP-LOOSER"]
    edges = [edge for one in found.suppliers for edge in one.edges if edge.supplier_id == "SUP-LOOSER"]
    nearer = [replace(edge, reco_date=NOW.date(), margin_after=Decimal("0.001")) for edge in edges[:1]]
    first = DayResult(tallies, {"SUP-LOOSER": 6}, {"SUP-LOOSER": 4}, edges)
    second = DayResult(tallies, {"SUP-LOOSER": 2, "SUP-SAME": 1}, {"SUP-LOOSER": 1}, nearer)
    ours, other = by_supplier([first, second], {DEFAULTS: BUILT_IN}, {DEFAULTS: BUILT_IN})
    assert (ours.keys, ours.flips, ours.changes) == (8, 5, [])
    assert [(t.lost, t.lost_usd, t.before) for t in ours.tallies] == [(8, Decimal("13.38"), 10)]
    assert [str(edge.margin_after.normalize()) for edge in ours.edges if edge.margin_after] == ["0.001", "0.01"]
    assert len(ours.edges) == 3, "the nearest of all days"
    assert (other.supplier_id, other.keys, other.flips, other.tallies) == ("SUP-SAME", 1, 0, [])


def test_what_has_no_price_does_not_pass_a_gate_of_money() -> None:
    zero = Decimal(0)
    tally = Tally("SUP-007", "MISSING_AGODA", 1, 0, 0, 1, 0, zero, zero, 0, 1, zero, zero)
    day = DAY
    found = Backtest("id", NOW, "f", "h", ["c"], day, day, [0], [SupplierResult("SUP-007", 1, 1, [tally])], [])
    (sentence,) = passed_limits(found, Decimal(1000), None)
    assert "1 lost breaks have no price" in sentence
    assert passed_limits(found, None, 1) == []
