"""Of a lake that is old, a page opens the files of the days that it shows: what the others hold costs it nothing."""

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import write_deltalake

from jobs.common.arrow import polars_schema
from jobs.common.settings import Settings
from schemas.tables import TABLES
from tests.cli.lake_rows import put
from tests.console.conftest import Ask, asking, make_users, serving, settings_of
from tests.console.lake import OURS, close_row

LAST, DAYS = date(2026, 3, 9), 100


def aged(settings: Settings) -> None:
    """So many closed days with the stream's verdicts beside them, a file each."""
    days = [LAST - timedelta(days=number) for number in range(DAYS)]
    ended = close_row()["finished_at"]
    told = [{"close_id": f"{day}-r1", "reco_date": day, "finished_at": ended - (LAST - day)} for day in days]
    put(settings, "closes", [close_row() | one for one in told])
    said: dict[str, dict[str, Any]] = {
        "verdict_drift": {"cause": "AGREES", "verdicts": 7},
        "close_changes": {"change": "ADDED"},
        "anomalies": {"anomaly_type": "PRICE_MISMATCH", "severity": "HIGH", "amount_at_risk_usd": Decimal(5)},
    }
    for name, more in said.items():
        described = TABLES[name]
        rows = [{"reco_date": day, "supplier_id": OURS, "close_id": f"{day}-r1", **more} for day in days]
        frame = pl.DataFrame(rows, schema=polars_schema(described.schema), orient="row")
        write_deltalake(settings.table_path(name), frame, partition_by=list(described.partition_by))


def lose(settings: Settings, name: str, kept: set[date]) -> None:
    """Remove the files of all other days, so that who opens one of them fails."""
    for folder in Path(settings.table_path(name)).glob("reco_date=*"):
        if date.fromisoformat(folder.name.partition("=")[2]) not in kept:
            for file in folder.iterdir():
                file.unlink()


def test_pages_of_closes_open_only_the_days_that_they_show(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    aged(settings)
    tokens = make_users(settings)
    old = LAST - timedelta(days=40)
    newest = {LAST - timedelta(days=number) for number in range(7)}
    with serving(settings) as url, asking(url, tokens) as ask:
        lose(settings, "verdict_drift", newest | {old})
        lose(settings, "close_changes", {old})
        page = ask("ann", "GET", f"/closes/{old}-r1")
        assert page.status_code == 200, page.text
        told = ask("ann", "GET", f"/api/v1/closes/{old}-r1").json()
        assert [row["verdicts"] for row in told["drift"]] == [7]
        assert [row["change"] for row in told["changes"]] == ["ADDED"]
        overview = ask("ann", "GET", "/")
        assert overview.status_code == 200, overview.text
        assert (overview.text.count('<tr data-day="'), overview.text.count(f'data-day="{LAST}"')) == (90, 1)
        assert len(ask("ann", "GET", "/api/v1/overview").json()["over_time"]) == DAYS
        assert _days(ask, "/closes") == 50
        assert _days(ask, "/closes?page=2") == _days(ask, "/closes?page=99") == DAYS - 50
        assert f"/closes/{LAST}-r1" in ask("ann", "GET", "/closes?page=-1").text


def _days(ask: Ask, path: str) -> int:
    return ask("ann", "GET", path).text.count('<a href="/closes/')
