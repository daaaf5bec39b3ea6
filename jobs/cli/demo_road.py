"""The demo's last part: today's bookings on the whole road, from two databases' outboxes and a polled API."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from jobs.cli.demo_steps import Steps
from jobs.common.errors import FAILED, UserError
from jobs.common.lake import open_table, scan
from jobs.common.settings import Settings

ACTIVITIES = 200
#: What the ids of today's bookings begin with.
MARK = "LIVE-"
PATIENCE_SECONDS = 120
_POLL_SECONDS = 0.2
_KEY = ("supplier_id", "activity_id")


def environment_of(home: Path) -> dict[str, str]:
    """Where relay and poller find what the shop says of itself."""
    return {
        "RECO_OUTBOX__DSN": f"file:{home}/shop/dsn",
        "RECO_OUTBOX__SIDES": '["agoda", "supplier"]',
        "RECO_POLL__FOLDER": f"{home}/shop/suppliers",
        "RECO_POLL__STATE": f"{home}/poll",
    }


def send(steps: Steps, settings: Settings, given: list[str], meanwhile: Callable[[], None]) -> dict[str, Any]:
    """Both sides' rows through relay and poller into the running stream, until it has judged all pairs.

    What the shop says it has made, and how long the stream took for it. `meanwhile` is called again and again.
    """
    folder = settings.local.home / "shop"
    folder.mkdir()
    with steps.beside("shop", "jobs.ingest.shop", str(folder), str(ACTIVITIES)) as told:
        shop: dict[str, Any] = json.loads(told)
        relayed = json.loads(steps.reco("relay", "--until-empty", "--json", *given, meanwhile=meanwhile))
        polled = json.loads(steps.reco("poll", "--once", "--json", *given, meanwhile=meanwhile))
        sent = time.monotonic()
        pairs = shop["activities"] - sum(_is_missing(kind) for *_, kind in shop["breaks"])
        while (judged := _of_today(settings, "nrt_results", _KEY).unique().height) < pairs:
            meanwhile()
            if time.monotonic() - sent > PATIENCE_SECONDS:
                raise UserError(
                    f"Of {pairs} pairs sent the stream has judged {judged} after {PATIENCE_SECONDS} s.", FAILED
                )
            time.sleep(_POLL_SECONDS)
    counts = {"relayed": relayed["published"], "polled": sum(one["tally"]["published"] for one in polled)}
    return shop | counts | {"seconds_to_verdicts": round(time.monotonic() - sent, 1)}


def close(steps: Steps, settings: Settings, given: list[str], shop: dict[str, Any]) -> dict[str, Any]:
    """A provisional close of today; planted beside found.

    `right`: the close found exactly the breaks that were planted, and the stream all those of pairs.
    """
    dates = [part for day in shop["dates"] for part in ("--date", day)]
    steps.spark("today", "daily", "--provisional", *dates, *given)
    planted = {tuple(row) for row in shop["breaks"]}
    closed, streamed = _breaks(settings, "anomalies"), _breaks(settings, "nrt_exceptions")
    return {
        **{name: shop[name] for name in ("activities", "relayed", "polled", "seconds_to_verdicts")},
        "planted": len(planted),
        "found_by_the_close": len(closed & planted),
        "found_by_the_stream": len(streamed & planted),
        "right": closed == planted and streamed == {row for row in planted if not _is_missing(row[2])},
    }


def _is_missing(kind: str) -> bool:
    return kind.startswith("MISSING")


def _breaks(settings: Settings, table: str) -> set[tuple[str, ...]]:
    return set(_of_today(settings, table, (*_KEY, "anomaly_type")).iter_rows())


def _of_today(settings: Settings, name: str, columns: Sequence[str]) -> pl.DataFrame:
    table = open_table(settings, name)
    assert table is not None, f"the stream and the close make {name}"
    return scan(table).filter(pl.col("activity_id").str.starts_with(MARK)).select(columns).collect()
