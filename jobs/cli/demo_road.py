"""The demo's last part: today's bookings on the whole road, from two databases' outboxes and a polled API."""

import json
import time
from pathlib import Path
from typing import Any

import polars as pl

from jobs.cli.demo_steps import Steps
from jobs.common.errors import FAILED, UserError
from jobs.common.lake import open_table, read
from jobs.common.settings import Settings

ACTIVITIES = 200
PATIENCE_SECONDS = 120
_POLL_SECONDS = 0.2
_KEY = ("supplier_id", "activity_id")


def environment_of(home: Path) -> dict[str, str]:
    """Where relay and poller find what the shop says of itself."""
    return {
        "RECO_OUTBOX__DSN": f"file:{home}/shop/dsn",
        "RECO_POLL__FOLDER": f"{home}/shop/suppliers",
        "RECO_POLL__STATE": f"{home}/poll",
    }


def walk(steps: Steps, settings: Settings, given: list[str]) -> dict[str, Any]:
    """Both sides' rows through relay, poller, stream and a provisional close; planted beside found.

    `right`: the close found exactly the breaks that were planted, and the stream all those of pairs.
    """
    folder = settings.local.home / "shop"
    folder.mkdir()
    with (
        steps.beside("shop", "jobs.ingest.shop", str(folder), str(ACTIVITIES)) as told,
        steps.spark_runs("road", "stream", *given) as check,
    ):
        shop = json.loads(told)
        relayed = json.loads(steps.reco("relay", "--until-empty", "--json", *given))
        polled = json.loads(steps.reco("poll", "--once", "--json", *given))
        sent = time.monotonic()
        missing = {tuple(key) for *key, kind in shop["breaks"] if kind.startswith("MISSING")}
        pairs = shop["activities"] - len(missing)
        while (judged := _judged(settings)) < pairs:
            check()
            if time.monotonic() - sent > PATIENCE_SECONDS:
                raise UserError(
                    f"Of {pairs} pairs sent the stream has judged {judged} after {PATIENCE_SECONDS} s.", FAILED
                )
            time.sleep(_POLL_SECONDS)
        seconds = time.monotonic() - sent
        steps.ask_spark_to_stop()
    dates = [part for day in shop["dates"] for part in ("--date", day)]
    steps.spark("today", "daily", "--provisional", *dates, *given)
    planted = {tuple(row) for row in shop["breaks"]}
    closed, streamed = _breaks(settings, "anomalies"), _breaks(settings, "nrt_exceptions")
    return {
        "activities": shop["activities"],
        "outbox_rows": shop["in_outbox"],
        "relayed": relayed["published"],
        "polled": sum(supplier["tally"]["published"] for supplier in polled),
        "seconds_to_verdicts": round(seconds, 1),
        "planted": len(planted),
        "found_by_the_close": len(closed & planted),
        "found_by_the_stream": len(streamed & planted),
        "right": closed == planted and streamed == {row for row in planted if row[:2] not in missing},
    }


def _judged(settings: Settings) -> int:
    """How many of today's keys the stream has given a verdict on."""
    results = read(open_table(settings, "nrt_results"), "nrt_results")
    return results.filter(_is_of_today()).select(_KEY).unique().height


def _breaks(settings: Settings, table: str) -> set[tuple[str, ...]]:
    rows = read(open_table(settings, table), table).filter(_is_of_today())
    return set(rows.select(*_KEY, "anomaly_type").iter_rows())


def _is_of_today() -> pl.Expr:
    return pl.col("activity_id").str.starts_with("LIVE-")
