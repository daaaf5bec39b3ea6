"""What `reco status` looks up of the stream's verdicts: how far, how fast, what is open; without a JVM."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import polars as pl

from jobs.common.lake import open_table, scan
from jobs.common.progress_file import read_all
from jobs.common.settings import Settings

#: The part of the last day's verdicts that came within so many seconds of the newest event's publication.
_SHARES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
#: Suppliers of the last hour that are shown.
_SUPPLIERS = 10
_OF_HOUR = ["supplier_id", "verdicts", "matched", "broken", "amount_at_risk_usd", "unpriced"]
_DELAYS = ["delay_p50_ms", "delay_p99_ms"]


def queries(settings: Settings) -> list[dict[str, Any]]:
    """What each query told last of itself (`read_all`); none where none ever ran."""
    return read_all(settings)


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


def last_hour(settings: Settings) -> list[dict[str, Any]] | None:
    """The newest hour of gold/hourly_summary: the suppliers with most money at risk; None where the table is absent.

    `hour` is its beginning in UTC, `broken` the breaks by anomaly type, each OPEN or PENDING.
    """
    table = open_table(settings, "hourly_summary")
    if table is None:
        return None
    rows = scan(table)
    newest = rows.select(pl.col("verdict_date").max()).collect().item()
    if newest is None:
        return []
    of_day = rows.filter(pl.col("verdict_date") == newest)
    of_hour = of_day.filter(pl.col("verdict_hour") == pl.col("verdict_hour").max())
    most = of_hour.sort("amount_at_risk_usd", "supplier_id", descending=[True, False]).head(_SUPPLIERS)
    found = most.select("verdict_date", "verdict_hour", *_OF_HOUR, *_DELAYS).collect().to_dicts()
    return [
        {"hour": datetime.combine(row.pop("verdict_date"), time(row.pop("verdict_hour"), tzinfo=UTC)), **row}
        for row in found
    ]


def drift(settings: Settings, days: Sequence[date]) -> list[dict[str, Any]] | None:
    """How the stream's verdicts held against the closes of those days, by cause; None where the table is absent.

    Verdicts of all suppliers, and of the supplier that has most of them; the newest day first.
    """
    table = open_table(settings, "verdict_drift")
    if table is None:
        return None
    verdicts = pl.col("verdicts")
    by_supplier = (
        scan(table)
        .filter(pl.col("reco_date").is_in(pl.Series(days, dtype=pl.Date).implode()))
        .sort("verdicts", "supplier_id", descending=[True, False])
    )
    by_cause = by_supplier.group_by("reco_date", "cause", maintain_order=True).agg(
        verdicts.sum(), pl.col("supplier_id").first().alias("most_of"), verdicts.first().alias("its_verdicts")
    )
    return by_cause.sort("reco_date", "verdicts", "cause", descending=[True, True, False]).collect().to_dicts()
