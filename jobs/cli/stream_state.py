"""What `reco status` looks up of the stream's verdicts: how far, how fast, what is open; without a JVM."""

from decimal import Decimal
from typing import Any

import polars as pl

from jobs.common.lake import open_table, scan
from jobs.common.progress_file import QUERIES, read_progress
from jobs.common.settings import Settings

#: The part of the last day's verdicts that came within so many seconds of the newest event's publication.
_SHARES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}


def queries(settings: Settings) -> list[dict[str, Any]]:
    """What each query told last of itself (`read_progress`); none where none ever ran."""
    found = [read_progress(settings, query) for query in QUERIES]
    return [told for told in found if told is not None]


def verdicts(settings: Settings) -> dict[str, Any] | None:
    """Watermark, time of the last verdict, and of its day: count and seconds from publication to verdict.

    None where the table is absent or empty.
    """
    table = open_table(settings, "nrt_results")
    if table is None:
        return None
    rows = scan(table)
    last = rows.select(pl.col("verdict_date").max()).collect().item()
    if last is None:
        return None
    lag = (pl.col("verdict_at") - pl.col("published_at")).dt.total_milliseconds() / 1000
    shares = [lag.quantile(share, "nearest").round(3).alias(f"lag_seconds_{name}") for name, share in _SHARES.items()]
    of_day = rows.filter(pl.col("verdict_date") == last)
    times = [pl.col("watermark").max(), pl.col("verdict_at").max().alias("last_verdict")]
    return of_day.select(*times, pl.len().alias("verdicts_of_its_day"), *shares).collect().to_dicts()[0]


def exceptions(settings: Settings) -> list[dict[str, Any]] | None:
    """The stream's unresolved exceptions by anomaly type: open, pending, money at risk; None where absent.

    `held`: how many of them a FEED_SILENT exception explains; its money at risk is that of those it holds.
    """
    table = open_table(settings, "nrt_exceptions")
    if table is None:
        return None
    state, risk = pl.col("state"), pl.col("amount_at_risk_usd")
    found = (
        scan(table)
        .filter(state != "RESOLVED")
        .group_by("anomaly_type")
        .agg(
            (state == "OPEN").sum().alias("open"),
            (state == "PENDING").sum().alias("pending"),
            pl.col("held_by").is_not_null().sum().alias("held"),
            risk.null_count().alias("unpriced"),
            risk.drop_nulls().alias("amounts"),
        )
        .sort("anomaly_type")
        .collect()
    )
    # Summed here, exactly, however many there are.
    return [
        {
            **{key: row[key] for key in ("anomaly_type", "open", "pending", "held", "unpriced")},
            "amount_at_risk_usd": sum(row["amounts"], Decimal(0)),
        }
        for row in found.to_dicts()
    ]
