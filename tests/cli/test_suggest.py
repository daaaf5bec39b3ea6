"""Limits that are proposed from known delays and differences: known percentiles, a known trade-off, a known snippet."""

import json
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from deltalake import DeltaTable

from jobs.cli.main import main
from jobs.cli.suggest_numbers import is_far_out, measure, needed, percentile
from jobs.common.errors import DONE, FAILED, USAGE
from jobs.common.policy_file import parse_policies
from jobs.common.settings import Lake, Settings
from tests.cli.lake_rows import AT, put

DAY, SUPPLIER, PAIRS = AT.date(), "SUP-007", 1000


def fact(number: int, **more: Any) -> dict[str, Any]:
    key = {"reco_date": DAY, "supplier_id": SUPPLIER, "activity_id": f"BK-{number}", "outcome": "MATCHED"}
    money = {"agoda_amount_usd": Decimal(100), "supplier_amount_usd": Decimal(100), "price_diff_usd": Decimal(0)}
    return {**key, **money, "skew_seconds": Decimal(0), **more}


def published(number: int, source: str, at: datetime) -> dict[str, Any]:
    key = {"supplier_id": SUPPLIER, "activity_id": f"BK-{number}", "activity_type": "BOOKING", "version": 1}
    return {**key, "source": source, "kafka_time": at, "event_time": AT, "event_date": DAY, "event_hour": AT.hour}


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """SUPPLIER answers after 1, 2, … 1000 s and dates 1 … 1000 tenths of a second apart; every tenth pair differs by
    1.01, 1.02, … 2.00 USD of 100; ten more are 7 h apart, and one of 2400 USD is missing."""
    settings = Settings(lake=Lake(root=str(tmp_path / "lake")))
    monkeypatch.setenv("RECO_LAKE__ROOT", settings.lake.root)
    ordinary = [
        fact(
            number,
            skew_seconds=Decimal(number) / 10,
            price_diff_usd=Decimal(100 + number // 10) / 100 if number % 10 == 0 else Decimal(0),
        )
        for number in range(1, PAIRS + 1)
    ]
    shifted = [fact(2000 + number, skew_seconds=Decimal(25_200)) for number in range(10)]
    missing = fact(3000, outcome="MISSING_SUPPLIER", agoda_amount_usd=Decimal(2400), price_diff_usd=None)
    missing |= {"supplier_amount_usd": None, "skew_seconds": None}
    put(settings, "reconciliation_facts", [*ordinary, *shifted, missing, fact(1, supplier_id="SUP-OTHER")])
    events = []
    for number in range(1, PAIRS + 1):
        events.append(published(number, "AGODA", AT))
        events.append(published(number, "SUPPLIER", AT + timedelta(seconds=number)))
    # A redelivery is no answer of its own.
    events.append(published(1, "SUPPLIER", AT + timedelta(hours=5)))
    put(settings, "activity", events)
    return settings


def ask(*options: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["policies", "suggest", *options])
    assert isinstance(end.value.code, int)
    return end.value.code


def test_known_values_give_known_percentiles_and_limits(lake: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    before = DeltaTable(lake.table_path("reconciliation_facts")).version()
    assert ask(SUPPLIER, "--json") == DONE
    told = json.loads(capsys.readouterr().out)
    assert (told["missing"], told["missing_usd"], told["first"]) == (1, "2400", "2026-03-09")
    by_key = {one["key"]: one for one in told["measures"]}
    grace = by_key["grace"]
    assert grace["percentiles"] == {
        "P50": "8m20s",
        "P75": "12m30s",
        "P90": "15m",
        "P95": "15m50s",
        "P99": "16m30s",
        "P99.5": "16m35s",
        "P99.9": "16m39s",
        "P100": "16m40s",
    }
    assert (grace["now"], grace["proposed"], grace["values"], grace["set_aside"]) == ("1h", "17m", 1000, 0)
    skew = by_key["allowed_skew"]
    assert (skew["percentiles"]["P50"], skew["percentiles"]["P99"], skew["proposed"]) == ("50s", "1m39s", "2m")
    assert (skew["values"], skew["set_aside"]) == (1010, 10)
    # 1.01 to 2.00 of 100 USD over 0.50: the 99th percentile of 1,010 leaves 10 of them over 1.90.
    assert (by_key["price.pct_tol"]["proposed"], by_key["price.abs_tol_usd"]["proposed"]) == ("0.019", "0")
    (note,) = told["notes"]
    assert note.startswith("price.pct_tol: the proposed limit is looser than now and would hide 130.95 USD more")
    assert DeltaTable(lake.table_path("reconciliation_facts")).version() == before


def test_the_trade_off_is_exact(lake: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(SUPPLIER, "--json") == DONE
    told = json.loads(capsys.readouterr().out)
    options = {one["key"]: {o["limit"]: o for o in one["options"]} for one in told["measures"]}
    grace = options["grace"]
    assert (grace["15m"]["false_verdicts"], grace["17m"]["false_verdicts"], grace["1h"]["marks"]) == (100, 0, "now")
    # 2,400 USD a day that wait an hour are 100 USD at any moment.
    assert Decimal(grace["1h"]["hidden_usd"]) == 100
    skew = options["allowed_skew"]
    assert (skew["50s"]["false_verdicts"], skew["2m"]["false_verdicts"], skew["15m"]["hidden_usd"]) == (500, 0, "0")
    price = options["price.pct_tol"]
    # 1 % as it is now lets no difference pass; the proposed limit all but the ten greatest.
    assert (price["0.01"]["false_verdicts"], price["0.01"]["hidden_usd"]) == (100, "0")
    assert price["0.019"]["false_verdicts"] == 10
    assert Decimal(price["0.019"]["hidden_usd"]) == sum(Decimal(n) / 100 for n in range(101, 191))


def test_the_snippet_is_a_policies_file_and_the_plot_needs_nothing_else(
    lake: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plot = tmp_path / "plot.html"
    assert ask(SUPPLIER, "--plot", str(plot)) == DONE
    told = capsys.readouterr().out
    snippet = yaml.safe_load(told.partition("Proposed:\n")[2].partition("\n\n")[0])
    file = tmp_path / "policies.yaml"
    file.write_text(yaml.safe_dump({"version": 1, **snippet}))
    policy = parse_policies(file).policies[SUPPLIER]
    assert (policy.grace, policy.allowed_skew, policy.pct_tol) == (1020, 120, Decimal("0.019"))
    for text in (
        "false verdicts",
        "hidden USD",
        "10 set aside as breaks",
        "answers that came later",
        "policies backtest",
    ):
        assert text in told
    page = plot.read_text()
    assert "grace: now 1h, proposed 17m" in page
    assert "<script src=" not in page


def test_too_few_pairs_are_said_to_be(lake: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(SUPPLIER, "--percentile", "99.95") == FAILED
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("SUP-007 has 1,000 answered events on its closed days from 2026-03-09 to 2026-03-09")
    assert "needs at least 2,000" in line
    assert ask("SUP-NOBODY") == FAILED
    assert "has an activity of SUP-NOBODY" in capsys.readouterr().err
    assert ask(SUPPLIER, "--percentile", "100") == USAGE
    assert ask(SUPPLIER, "--plot", "plot.svg") == USAGE
    assert "name it like plot.html" in capsys.readouterr().err


@pytest.mark.parametrize(("percent", "rank"), [("50", 5), ("90", 9), ("90.1", 10), ("99.5", 10), ("100", 10)])
def test_percentiles_are_of_the_nearest_rank(percent: str, rank: int) -> None:
    assert percentile(range(1, 11), Decimal(percent)) == rank


@pytest.mark.parametrize(("percent", "least"), [("50", 2), ("99", 100), ("99.5", 200), ("99.9", 1000)])
def test_how_many_values_it_takes(percent: str, least: int) -> None:
    assert needed(Decimal(percent)) == least


@pytest.mark.parametrize(
    ("values", "far"),
    [
        ([0] * 990 + [25_200_000] * 10, {25_200_000}),  # a few breaks of a supplier that never differs
        ([0] * 900 + [300] * 100, set()),  # a tenth are: so this is how it differs
        ([0] * 900 + [300] * 97 + [90_000] * 3, {90_000}),
        ([1] * 50 + [2] * 50, set()),
        ([100] * 26 + [200] * 75 + [1600], set()),  # exactly at the fence: 200 × (200 / 100)³
        ([100] * 26 + [200] * 75 + [1601], {1601}),
        ([0] * 10, set()),
    ],
)
def test_what_is_taken_for_a_break(values: list[int], far: set[int]) -> None:
    beyond = is_far_out(values)
    assert {value for value in values if beyond(value)} == far


def test_a_limit_is_never_tighter_than_its_percentile() -> None:
    found = measure("grace", list(range(1, 1001)), 7, Decimal(99), lambda v: v + 10, lambda limit, far: Decimal(limit))
    assert (found.percentiles["P99"], found.proposed) == (990, 1000)
    assert [o.limit for o in found.options] == sorted({7, 500, 750, 900, 950, 990, 995, 999, 1000})
    last = found.options[-1]
    assert (last.marks, last.false_verdicts) == ("proposed, P100", 0)
    assert (last.within, last.hidden_usd) == (Decimal(1), Decimal(1000))
    assert found.options[0].false_verdicts == 993


@pytest.mark.parametrize(("accuses_all", "false_verdicts"), [(False, 0), (True, 2)])
def test_a_late_answer_is_accused_falsely_however_late(accuses_all: bool, false_verdicts: int) -> None:
    found = measure(
        *("grace", [10] * 198 + [90_000] * 2, 100, Decimal(99), int, lambda limit, far: Decimal(0)),
        accuses_all=accuses_all,
    )
    assert (found.set_aside, found.proposed) == (2, 10)
    assert {o.limit: o.false_verdicts for o in found.options} == dict.fromkeys((10, 100), false_verdicts)


def test_only_the_days_asked_for_count(lake: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    put(lake, "reconciliation_facts", [fact(1, reco_date=date(2026, 3, 1), outcome="MISSING_AGODA")])
    for days, missing in (("5", 1), ("9", 2)):
        assert ask(SUPPLIER, "--json", "--days", days) == DONE
        assert json.loads(capsys.readouterr().out)["missing"] == missing
