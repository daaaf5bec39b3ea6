"""Closing a day again: what a revision changed, and which closed days late events have made stale."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from pyspark.sql import Column, DataFrame

from jobs.common.engines import Session, engine_of
from jobs.common.errors import FAILED, UserError
from jobs.common.settings import Settings
from jobs.common.stale_mark import looked_from
from jobs.daily.news import reached_by_news
from reco_rules.engine import F
from reco_rules.vocabulary import KEY, Side

_ROW = ["reco_date", *KEY]
#: So many of the newest commits of the facts are looked through for closes that came to no end.
_NOTES = 1000


@dataclass(frozen=True)
class LastClose:
    """The newest close of a date."""

    revision: int
    close_id: str
    silver_version: int
    amount_at_risk_usd: Decimal
    facts: int


def last_closes(session: Session, settings: Settings) -> dict[date, LastClose]:
    """The newest close of every closed date."""
    engine, path = engine_of(session), settings.table_path("closes")
    if not engine.exists(path):
        return {}
    newest: dict[date, LastClose] = {}
    names = ("revision", "close_id", "silver_version", "amount_at_risk_usd", "facts")
    for row in engine.read(path).select("reco_date", *names).collect():
        usd = row["amount_at_risk_usd"] or Decimal(0)
        close = LastClose(row["revision"], row["close_id"], row["silver_version"], usd, row["facts"])
        if row["reco_date"] not in newest or newest[row["reco_date"]].revision < close.revision:
            newest[row["reco_date"]] = close
    return newest


def require_last(session: Session, settings: Settings, day: date, close: LastClose | None) -> None:
    """UserError where another close of `day` than `close` is the newest now: two at once would take one number."""
    now = last_closes(session, settings).get(day)
    if now != close:
        found = now.close_id if now else "none"
        raise UserError(
            f"While {day} was being closed, another close of it was recorded ({found}); this one is not. Let one close "
            f"of a date run at a time: run `reco daily --date {day}` again.",
            FAILED,
        )


def facts_of(session: Session, settings: Settings, day: date, close: LastClose) -> DataFrame:
    """The facts of a day as a close left them, at a fixed version of the table: what a revision is compared with.

    They are what lies there, unless a revision was stopped between its facts and its record in `gold/closes`.
    """
    engine, path = engine_of(session), settings.table_path("reconciliation_facts")
    version = engine.version_of(path)
    now = engine.read(path, version).where(F.col("reco_date") == F.lit(day))
    if not close.facts:  # Spark's Delta makes no commit of such a close, so that none bears its note
        return now.where(F.lit(False))
    written_by = now.select("close_id").head()
    if written_by is not None and written_by[0] == close.close_id:
        return now
    found = engine.version_noted(path, close.close_id)
    if found is None:
        raise UserError(
            f"No commit of {path} is that of close {close.close_id}, so no revision can be compared with it; restore "
            f"the table's log, or remove that close from gold/closes to close {day} as if it were new.",
            FAILED,
        )
    return engine.read(path, found).where(F.col("reco_date") == F.lit(day))


def changes(before: DataFrame, after: DataFrame) -> DataFrame:
    """The facts that differ between two revisions of a day: rows of `gold/close_changes` but for revision and close_id.

    `before`, `after`: rows of `gold/reconciliation_facts`; only `close_id` may differ without being a change.
    """
    sides = [f"{side.prefix}_amount_usd" for side in Side]

    def of(facts: DataFrame, suffix: str) -> DataFrame:
        values = [F.col(name).alias(f"{name}_{suffix}") for name in ("outcome", "anomaly_types", *sides)]
        digested = engine_of(facts.sparkSession).with_digest(facts, "reconciliation_facts")
        return digested.select(*_ROW, F.col("digest").alias(f"digest_{suffix}"), *values)

    def moved(side: Side) -> Column:
        now, then = (F.coalesce(F.col(f"{side.prefix}_amount_usd_{s}"), F.lit(0)) for s in ("after", "before"))
        return (now - then).alias(f"{side.prefix}_moved_usd")

    joined = of(before, "before").join(of(after, "after"), on=_ROW, how="full_outer")
    change = (
        F.when(F.col("digest_before").isNull(), F.lit("ADDED"))
        .when(F.col("digest_after").isNull(), F.lit("REMOVED"))
        .otherwise(F.lit("CHANGED"))
    )
    return joined.where(~F.col("digest_before").eqNullSafe(F.col("digest_after"))).select(
        *_ROW,
        change.alias("change"),
        *["outcome_before", "outcome_after", "anomaly_types_before", "anomaly_types_after"],
        *[moved(side) for side in Side],
    )


def silver_version(session: Session, settings: Settings) -> int | None:
    """The newest version of silver/activity; None where there is none."""
    engine, path = engine_of(session), settings.table_path("activity")
    return engine.version_of(path) if engine.exists(path) else None


def stale_dates(session: Session, settings: Settings, since: Mapping[date, int] | None = None) -> list[date]:
    """Closed dates whose verdicts events that silver received since may change, oldest first.

    `since`: from which version of silver on each date is looked at; what the last close or look has not seen where
    that is left out.
    """
    since = looked_from(settings) if since is None else since
    return sorted({*_half_written(session, settings), *reached_by_news(session, settings, since)})


def _half_written(session: Session, settings: Settings) -> set[date]:
    """Closed dates whose facts a close replaced that came to no end: killed, or another was recorded before it."""
    engine, path = engine_of(session), settings.table_path("reconciliation_facts")
    closes = settings.table_path("closes")
    if not (engine.exists(path) and engine.exists(closes)):
        return set()
    recorded = {row[0]: row[1] for row in engine.read(closes).select("close_id", "reco_date").collect()}
    newest: dict[str, str] = {}
    for note in engine.notes(path, _NOTES):
        newest.setdefault(note.rpartition("-")[0], note)
    closed = {day.isoformat(): day for day in recorded.values()}
    return {closed[day] for day, note in newest.items() if day in closed and note not in recorded}
