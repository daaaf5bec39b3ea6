"""One authoritative run of the daily job for one date."""

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from pyspark.sql import DataFrame, Row

from jobs.common.engines import Session, engine_of
from jobs.common.engines.digest import HASH_SUMS
from jobs.common.kept import Kept
from jobs.common.settings import Settings
from jobs.daily import exceptions, inputs, revisions, totals, verdicts
from jobs.daily.alone import publishing_alone
from jobs.daily.checks import require_expectations
from jobs.daily.drift import keep_drift
from jobs.daily.expired import require_kept
from jobs.daily.inputs import Inputs
from jobs.daily.revisions import LastClose
from reco_rules.anomalies import anomalies_of
from reco_rules.engine import F
from reco_rules.vocabulary import KEY
from schemas.gold import CONTROL_TOTAL
from schemas.tables import TABLES


@dataclass
class Report:
    """What a close did, or with `dry_run` would do."""

    reco_date: date
    close_id: str
    revision: int
    facts: int = 0
    anomalies: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    anomaly_counts: dict[str, int] = field(default_factory=dict)
    severities: dict[str, int] = field(default_factory=dict)
    amount_at_risk_usd: Decimal = Decimal(0)
    changes: dict[str, int] = field(default_factory=dict)
    changed_facts: int | None = None
    moved_usd: Decimal | None = None
    content_hash: str = ""
    unpriced: int = 0
    newest_rate: date | None = None
    dry_run: bool = False


@dataclass(frozen=True)
class Judged:
    """A day's verdicts, computed and checked, not yet written."""

    inputs: Inputs
    rates: DataFrame
    facts: DataFrame
    profile: totals.Profile


def close_day(
    session: Session,
    settings: Settings,
    day: date,
    started_at: datetime,
    *,
    source: Inputs | None = None,
    provisional: bool = False,
    dry_run: bool = False,
) -> Report:
    """Close `day` (or with `dry_run` say what that would change). UserError where it does not balance.

    `source`: pinned inputs; the newest where none are given.
    """
    earlier = revisions.last_closes(session, settings).get(day)
    source = source or inputs.newest(session, settings)
    require_kept(settings, day, source.pins.history_days, earlier)
    with Kept() as kept:
        judged = judge_day(session, source, day, kept)
        totals.require_balance(day, judged.profile.totals)
        require_expectations(settings, day, judged.inputs, judged.profile, write_docs=not dry_run)
        broken = kept.rows(anomalies_from(judged))
        changed = _changes(session, settings, day, judged, earlier, kept)
        report = _report(day, earlier, judged, broken, changed, dry_run)
        if not dry_run:
            with publishing_alone(session, settings, day):
                revisions.require_last(session, settings, day, earlier)
                _publish(session, settings, judged, broken, changed, report)
                revisions.require_last(session, settings, day, earlier)
                _record(session, settings, judged, report, started_at, provisional)
            keep_drift(session, settings, day, judged.inputs, report.close_id)
        return report


def judge_day(session: Session, source: Inputs, day: date, kept: Kept) -> Judged:
    """Judge every key of the day and count what came in and what went out."""
    rates = engine_of(session).held(source.rates(day))
    sides = verdicts.with_earlier_versions(source, verdicts.sides_of(source, day, kept), day, kept)
    came_in = kept.rows(verdicts.priced(sides, rates))
    facts = kept.settled(verdicts.facts_of(source, came_in, day))
    return Judged(source, rates, facts, totals.profile(came_in, facts))


def anomalies_from(judged: Judged) -> DataFrame:
    """Rows of `gold/anomalies` but for `close_id`."""
    found = anomalies_of(judged.facts.where(F.size("anomaly_types") > 0), F.broadcast(judged.rates))
    engine = engine_of(found.sparkSession)
    return engine.conformed(found.withColumn("close_id", F.lit(None)), "anomalies").drop("close_id")


def anomaly_totals(anomalies: DataFrame) -> list[Row]:
    """One row a type and severity: count, dollars, hash sums."""
    return (
        engine_of(anomalies.sparkSession)
        .with_digest(anomalies, "anomalies")
        .groupBy("anomaly_type", "severity")
        .agg(
            F.count(F.lit(1)).alias("count"),
            F.coalesce(F.sum("amount_at_risk_usd"), F.lit(0)).alias("usd"),
            F.sum(F.col("amount_at_risk_usd").isNull().cast("int")).alias("unpriced"),
            *totals.hash_sums(F.col("digest")),
        )
        .collect()
    )


def count_anomalies(report: Report, profile: totals.Profile, rows: list[Row]) -> None:
    """Put the anomalies' counts, money and the content hash of both tables into the report."""
    for row in sorted(rows, key=lambda row: (row["anomaly_type"], row["severity"])):
        kind, severity = row["anomaly_type"], row["severity"]
        report.anomaly_counts[kind] = report.anomaly_counts.get(kind, 0) + row["count"]
        report.severities[severity] = report.severities.get(severity, 0) + row["count"]
        report.amount_at_risk_usd += Decimal(row["usd"])
        report.unpriced += row["unpriced"]
    report.anomalies = sum(report.anomaly_counts.values())
    sums = [sum((int(row[name]) for row in rows), 0) for name in HASH_SUMS]
    report.content_hash = totals.content_hash([(profile.facts_hash,), ("anomalies", report.anomalies, *sums)])


def _changes(
    session: Session, settings: Settings, day: date, judged: Judged, earlier: LastClose | None, kept: Kept
) -> DataFrame | None:
    if earlier is None:
        return None
    return kept(revisions.changes(revisions.facts_of(session, settings, day, earlier), judged.facts))


def _report(
    day: date, earlier: LastClose | None, judged: Judged, broken: DataFrame, changed: DataFrame | None, dry_run: bool
) -> Report:
    """Everything that is counted."""
    revision = 1 if earlier is None else earlier.revision + 1
    report = Report(
        reco_date=day,
        close_id=f"{day.isoformat()}-r{revision}",
        revision=revision,
        facts=judged.profile.facts,
        outcomes=dict(sorted(judged.profile.outcomes.items())),
        dry_run=dry_run,
    )
    count_anomalies(report, judged.profile, anomaly_totals(broken))
    totals.require_room(day, "all breaks", report.amount_at_risk_usd)
    if report.unpriced:
        newest = judged.inputs.fx.agg(F.max("rate_date")).head()
        report.newest_rate = newest[0] if newest is not None else None
    if changed is not None:
        report.changes = {row["change"]: row["count"] for row in changed.groupBy("change").count().collect()}
        report.changed_facts = sum(report.changes.values())
    if earlier is not None:
        report.moved_usd = report.amount_at_risk_usd - earlier.amount_at_risk_usd
    return report


def _publish(
    session: Session,
    settings: Settings,
    judged: Judged,
    broken: DataFrame,
    changed: DataFrame | None,
    report: Report,
) -> None:
    day, close_id = report.reco_date, report.close_id
    _replace(session, settings, "reconciliation_facts", day, judged.facts, close_id)
    _replace(session, settings, "anomalies", day, broken, close_id)
    exceptions.keep_lives(session, settings, day, broken, judged.facts.select(*KEY), close_id)
    if changed is not None:
        numbered = changed.withColumn("revision", F.lit(report.revision))
        # Of this revision only, in place of what an attempt that was stopped may have left.
        _replace(session, settings, "close_changes", day, numbered, close_id, f" AND close_id = '{close_id}'")


def _replace(
    session: Session, settings: Settings, name: str, day: date, rows: DataFrame, close_id: str, only: str = ""
) -> None:
    engine = engine_of(session)
    path = engine.ensure_table(settings, name)
    numbered = rows.withColumn("close_id", F.lit(close_id))
    engine.replace(numbered, name, path, f"reco_date = '{day.isoformat()}'{only}", close_id)


def _record(
    session: Session, settings: Settings, judged: Judged, report: Report, started_at: datetime, provisional: bool
) -> None:
    engine = engine_of(session)
    path = engine.ensure_table(settings, "closes")
    pins, names = judged.inputs.pins, [f.name for f in CONTROL_TOTAL.fields]
    row = {
        **{name: getattr(report, name) for name in ("close_id", "reco_date", "revision", "facts", "anomalies")},
        **{name: getattr(report, name) for name in ("outcomes", "anomaly_counts", "amount_at_risk_usd")},
        **{name: getattr(report, name) for name in ("content_hash", "changed_facts", "moved_usd")},
        **{name: getattr(pins, name) for name in pins.__dataclass_fields__},
        "provisional": provisional,
        "engine": engine.name,
        "started_at": started_at,
        "finished_at": datetime.now(started_at.tzinfo),
        "control_totals": [tuple(getattr(total, name) for name in names) for total in judged.profile.totals],
    }
    schema = TABLES["closes"].schema
    rows = engine.local_rows([tuple(row[field.name] for field in schema.fields)], schema)
    engine.append(rows, "closes", path)
