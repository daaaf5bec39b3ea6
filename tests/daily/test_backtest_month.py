"""A backtest over thirty closes says what closing the thirty days by the proposed policies then gives."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from jobs.common import policies
from jobs.common.engines.duckdb import duckdb_session
from jobs.common.policies import parse_policies
from jobs.common.settings import Settings
from jobs.daily.backtest import backtest
from jobs.daily.close import close_day
from jobs.daily.whatif import Tally
from tests.daily import month

pytestmark = pytest.mark.long

PROPOSED = """
version: 1
defaults: {price: {abs_tol_usd: "2", pct_tol: "0.005"}, allowed_skew: 30m, max_delay: 1h}
suppliers:
  SUP-001: {price: {abs_tol_usd: "0.10"}, severity: {high_usd: "50"}}
  SUP-002: {grace: 20m, allowed_skew: 15m}
  SUP-003: {max_delay: 3h, severity: {high_usd: "400", critical_usd: "500"}}
"""
Break = tuple[date, str, str, str]


def closed(settings: Settings) -> dict[Break, tuple[str, Decimal | None]]:
    """Close all days; severity and money at risk of each break."""
    with duckdb_session(settings) as session:
        for day in month.CLOSED:
            close_day(session, settings, day, month.NOW)
    rows = pl.read_delta(settings.table_path("anomalies")).select(
        "reco_date", "supplier_id", "activity_id", "anomaly_type", "severity", "amount_at_risk_usd"
    )
    found = {tuple(row[:4]): (row[4], row[5]) for row in rows.iter_rows()}
    assert len(found) == rows.height
    return found


def compared(
    before: Mapping[Break, tuple[str, Decimal | None]], after: Mapping[Break, tuple[str, Decimal | None]]
) -> dict[tuple[str, str], Tally]:
    """What a backtest has to say of two sets of closes, by supplier and kind."""
    tallies = {}
    for place in {one[1::2] for one in (*before, *after)}:
        old, new = ({k: v for k, v in some.items() if k[1::2] == place} for some in (before, after))
        lost, gained = ({k: v for k, v in a.items() if k not in b} for a, b in ((old, new), (new, old)))
        tallies[place] = Tally(
            supplier_id=place[0],
            anomaly_type=place[1],
            before=len(old),
            after=len(new),
            gained=len(gained),
            lost=len(lost),
            reweighed=sum(1 for key in old if key in new and old[key][0] != new[key][0]),
            gained_usd=usd(gained),
            lost_usd=usd(lost),
            gained_unpriced=sum(1 for _, money in gained.values() if money is None),
            lost_unpriced=sum(1 for _, money in lost.values() if money is None),
            before_usd=usd(old),
            after_usd=usd(new),
        )
    return tallies


def usd(breaks: Mapping[Break, tuple[str, Decimal | None]]) -> Decimal:
    return sum((money for _, money in breaks.values() if money is not None), Decimal(0))


def test_it_says_what_the_closes_then_give(tmp_path: Path) -> None:
    file = tmp_path / "proposed.yaml"
    file.write_text(PROPOSED)
    lake = month.make(tmp_path / "lake")
    before = closed(lake)
    with duckdb_session(lake) as session:
        found = backtest(session, lake, parse_policies(file), month.DAYS, month.NOW)
    assert (len(found.closes), found.first_date, found.last_date) == (30, month.CLOSED[0], month.CLOSED[-1])
    other = month.make(tmp_path / "other", "SUP-002", 20 * 60)
    policies.apply(other, file, month.NOW)
    after = closed(other)
    expected = compared(before, after)
    assert {(one.supplier_id, one.anomaly_type): one for one in found.tallies} == expected
    flipped = {key[:3] for key in before.keys() ^ after.keys()}
    flips = {name: sum(1 for key in flipped if key[1] == name) for name in {key[1] for key in flipped}}
    assert {one.supplier_id: one.flips for one in found.suppliers if one.flips} == flips
    # It was a test: every kind of change is there, also over midnight.
    assert all(sum(getattr(one, name) for one in expected.values()) > 9 for name in ("gained", "lost", "reweighed"))
    assert expected["SUP-002", "MISSING_SUPPLIER"].gained > 0
