"""What a supplier's own pairs say: read from silver and the last closes, without a JVM."""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

import polars as pl

from jobs.common.days import days_before
from jobs.common.errors import FAILED, UserError
from jobs.common.lake import open_table, scan
from jobs.common.policies import Policy
from jobs.common.settings import Settings

MILLION = 1_000_000


@dataclass(frozen=True)
class Pair:
    """A fact of which both sides are there. Skew in milliseconds; amount and difference in millionths of a dollar."""

    skew: int | None
    amount: int | None
    difference: int | None


@dataclass(frozen=True)
class Seen:
    """One supplier over the closed days `first` to `last`.

    `waits`: how long the later side of an event was published after the other, milliseconds. `missing_usd`: what
    facts whose other side is missing come to, US dollars.
    """

    first: date
    last: date
    waits: list[int]
    pairs: list[Pair]
    missing: int
    missing_usd: Decimal

    @property
    def days(self) -> int:
        """From the first to the last, both included."""
        return (self.last - self.first).days + 1


def read(settings: Settings, supplier: str, policy: Policy, days: int) -> Seen:
    """Over the supplier's last `days` closed days. UserError where none is closed."""
    facts = open_table(settings, "reconciliation_facts")
    silver = open_table(settings, "activity")
    of = pl.col("supplier_id") == supplier
    last = None if facts is None else scan(facts).filter(of).select(pl.col("reco_date").max()).collect().item()
    if facts is None or silver is None or last is None:
        raise UserError(
            f"No closed day under {settings.lake.root} has an activity of {supplier}: close days with `reco daily "
            "--date D` first, or see `reco policies show` for how suppliers are spelt.",
            FAILED,
        )
    first = days_before(last, days - 1)
    rows = scan(facts).filter(of & pl.col("reco_date").is_between(first, last))
    amounts = [pl.col(f"{side}_amount_usd") for side in ("agoda", "supplier")]
    judged = rows.select(
        "reco_date", "outcome", "skew_seconds", "price_diff_usd", amounts[0], pl.coalesce(amounts).alias("whole")
    ).collect()
    is_missing = pl.col("outcome").str.starts_with("MISSING_")
    missing = judged.filter(is_missing)
    paired = judged.filter(~is_missing).select("skew_seconds", "agoda_amount_usd", "price_diff_usd")
    return Seen(
        first=judged["reco_date"].min(),  # type: ignore[arg-type]
        last=last,
        waits=_waits(scan(silver), supplier, policy, first, last),
        pairs=[Pair(_whole(s, 1_000), _whole(a, MILLION), _whole(d, MILLION)) for s, a, d in paired.iter_rows()],
        missing=missing.height,
        missing_usd=sum((usd for usd in missing["whole"] if usd is not None), Decimal(0)),
    )


def _waits(silver: pl.LazyFrame, supplier: str, policy: Policy, first: date, last: date) -> list[int]:
    """Milliseconds between the first publications of the two sides of one event, paired as the stream pairs them: by
    version, or by activity type where the sides number versions independently.
    """
    slot = "version" if policy.versions == "aligned" else "activity_type"
    window = pl.col("event_date").is_between(days_before(first, 1), last + timedelta(days=1))
    published = (
        silver.filter((pl.col("supplier_id") == supplier) & window)
        .group_by("activity_id", slot, "source")
        .agg(pl.col("kafka_time").min())
    )
    sides = [published.filter(pl.col("source") == side) for side in ("AGODA", "SUPPLIER")]
    both = sides[0].join(sides[1], on=["activity_id", slot], how="inner")
    apart = (pl.col("kafka_time") - pl.col("kafka_time_right")).abs().dt.total_milliseconds()
    return both.select(apart).collect().to_series().to_list()


def _whole(value: Decimal | None, parts: int) -> int | None:
    return None if value is None else int(value * parts)
