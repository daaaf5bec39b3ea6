"""`reco daily`: the close of one or more dates."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, NamedTuple

import typer

from jobs.common import log
from jobs.common.days import utc_day
from jobs.common.engines import Session
from jobs.common.engines.choice import EngineName, EngineOption, Work, session_for
from jobs.common.errors import BREAKS_FOUND, DONE, FAILED, UserError
from jobs.common.lake import open_table
from jobs.common.options import AsJson, Debug, SettingsFile
from jobs.common.output import print_json, print_table, say
from jobs.common.ownership import claim
from jobs.common.places import require_writable_lake
from jobs.common.settings import Settings, load_settings
from jobs.common.stale_mark import closes_version, looked_from, note_looked
from jobs.daily import checks, inputs, revisions
from jobs.daily.close import Report, close_day
from jobs.daily.expired import ExpiredError
from reco_rules.money import MAX_RATE_AGE_DAYS
from reco_rules.vocabulary import Severity
from schemas.tables import TABLES


def command(
    dates: Annotated[
        list[str] | None, typer.Option("--date", metavar="D", help="A UTC day to close, or yesterday; repeatable.")
    ] = None,
    stale: Annotated[
        bool, typer.Option("--stale", help="Close again the closed dates that late events changed.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would change; write nothing.")] = False,
    provisional: Annotated[bool, typer.Option("--provisional", help="Allow a day that is not over yet.")] = False,
    fail_on: Annotated[
        Severity | None, typer.Option("--fail-on", help="Exit with 3 where a break is at least this severe.")
    ] = None,
    engine: EngineOption = None,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Write tables that another application owned; it must have stopped.")
    ] = False,
    settings: SettingsFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Close dates: the final verdict on every key, its anomalies, and the life of every exception.

    Example: reco daily --date 2026-03-09 --fail-on CRITICAL
    """
    log.configure(debug=debug)
    now = datetime.now(UTC)
    days = wanted_dates(dates or [], stale, provisional, now)
    chosen = load_settings(settings)
    if not dry_run:
        require_writable_lake(chosen)
        claim(chosen, [name for name, table in TABLES.items() if table.owner == "close"], take_over=take_over)
    reports: list[Report] = []
    try:
        with checks.loaded_ahead():
            reports.extend(run(chosen, days, now, provisional=provisional, dry_run=dry_run, engine=engine))
    except BaseException:
        if reports:  # days that were closed before the one that failed
            show(chosen, reports, as_json)
        raise
    show(chosen, reports, as_json)
    return exit_code(reports, fail_on)


def run(
    settings: Settings,
    days: Sequence[date],
    now: datetime,
    *,
    provisional: bool = False,
    dry_run: bool = False,
    engine: EngineName | None = None,
) -> Iterator[Report]:
    """Close each day, or where none is given every stale one, oldest first; each is reported once it is closed.

    A stale day that is not over yet is left to a later look, unless `provisional`. UserError at the end where stale
    days cannot be closed again.
    """
    logger = log.get_logger(__name__)
    with session_for("reco-daily", settings, engine, _work(days)) as session:
        look = None if days else _look(session, settings, None if provisional else now.date())
        chosen = sorted(set(days)) if look is None else look.dates
        # One look at the inputs for all days of a run: they are closed over the same events, policies and rates.
        source, expired = inputs.newest(session, settings) if chosen else None, list[ExpiredError]()
        for number, day in enumerate(chosen, start=1):
            logger.info("closing", reco_date=day.isoformat(), number=number, of=len(chosen), dry_run=dry_run)
            early = day >= now.date()
            try:
                report = close_day(session, settings, day, now, source=source, provisional=early, dry_run=dry_run)
            except ExpiredError as error:
                if look is None:
                    raise
                expired.append(error)  # the other days can be closed
                continue
            event = "would close" if dry_run else "closed"
            logger.info(event, close_id=report.close_id, facts=report.facts, anomalies=report.anomalies)
            yield report
        if look is not None and look.silver_version is not None and not dry_run:
            note_looked(settings, look.silver_version, look.closes)
        if expired:  # told once: the next look goes by what comes after this one
            raise UserError(" ".join(map(str, expired)), FAILED)


class _Look(NamedTuple):
    """What `--stale` found: the dates to close, and what can be noted once they are closed."""

    dates: list[date]
    silver_version: int | None
    closes: int | None


def _look(session: Session, settings: Settings, today: date | None) -> _Look:
    """Look for stale dates before `today`. The versions are those from before it, as others may write meanwhile."""
    closes, silver = closes_version(settings), revisions.silver_version(session, settings)
    since = looked_from(settings)
    stale = revisions.stale_dates(session, settings, since)
    left = [day for day in stale if today is not None and day >= today]
    if silver is not None and left:  # they are still to be found by the next look
        silver = min(silver, *[since[day] for day in left])
    return _Look([day for day in stale if day not in left], silver, closes)


def _work(days: Sequence[date]) -> Work:
    asked = " ".join(f"--date {day}" for day in days) or "--stale"
    return Work(f"reco daily {asked}", days)


def wanted_dates(texts: Sequence[str], stale: bool, provisional: bool, now: datetime) -> list[date]:
    """The dates asked for; none for `--stale`. UserError for what is no date, not over yet, or neither or both."""
    if stale == bool(texts):
        raise UserError("Say which days to close: --date YYYY-MM-DD (once or more) or --stale; one of the two.")
    # Schedulers that can only name the day of the run say yesterday.
    days = [now.date() - timedelta(days=1) if text == "yesterday" else utc_day(text) for text in texts]
    for day in days:
        over = datetime.combine(day + timedelta(days=1), datetime.min.time(), UTC)
        if now < over and not provisional:
            raise UserError(
                f"{day} is not over before {over:%Y-%m-%d %H:%M} UTC: close it after that, or say --provisional for a "
                "first look that a later close replaces."
            )
    return days


def exit_code(reports: Sequence[Report], fail_on: Severity | None) -> int:
    """3 where a break is at least as severe as `fail_on`, else 0."""
    if fail_on is None:
        return DONE
    order = list(Severity)
    counting = order[: order.index(fail_on) + 1]
    found = any(report.severities.get(severity.value) for report in reports for severity in counting)
    return BREAKS_FOUND if found else DONE


def show(settings: Settings, reports: Sequence[Report], as_json: bool) -> None:
    """Print what was closed: a JSON document, or a table and a sentence for whatever needs a look."""
    if as_json:
        print_json([asdict(report) for report in reports])
        return
    if not reports:
        if open_table(settings, "closes") is None:
            say(f"Nothing was closed yet under {settings.lake.root}, so no date is stale.")
        else:
            say("No closed date that is over is stale: nothing arrived for one since its last close.")
        return
    outcomes = ["MATCHED", "MISMATCHED", "MISSING_SUPPLIER", "MISSING_AGODA"]
    rows = [
        [
            r.close_id,
            r.facts,
            *[r.outcomes.get(o, 0) for o in outcomes],
            r.anomalies,
            r.amount_at_risk_usd,
            r.content_hash[:12],
        ]
        for r in reports
    ]
    columns = ["close", "facts", *outcomes, "anomalies", "at risk USD", "hash"]
    print_table("Would close" if reports[0].dry_run else "Closed", columns, rows)
    for report in reports:
        say(*sentences(report))


def sentences(report: Report) -> list[str]:
    """What a reader should know of one close besides its numbers."""
    lines: list[str] = []
    day = report.reco_date
    if not report.facts:
        lines.append(f"{day}: no events; closed as an empty day.")
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(report.anomaly_counts.items()))
    if kinds:
        lines.append(f"{day}: {kinds}.")
    if report.changed_facts is not None:
        lines.append(_change_sentence(report))
    if report.unpriced:
        lines.append(f"{day}: {report.unpriced} breaks could not be priced: {_rates_sentence(report)}.")
    return lines


def _change_sentence(report: Report) -> str:
    changes = ", ".join(f"{count} {kind.lower()}" for kind, count in sorted(report.changes.items())) or "nothing"
    moved = "" if report.moved_usd is None else f"; money at risk moved by {report.moved_usd:+f} USD"
    verb = "would change" if report.dry_run else "changed"
    return f"{report.reco_date}: revision {report.revision} {verb} {changes} of {report.facts} facts{moved}."


def _rates_sentence(report: Report) -> str:
    if report.newest_rate is None:
        return "there are no FX rates; load some with `reco fx load FILE` and close again"
    if (report.reco_date - report.newest_rate).days > MAX_RATE_AGE_DAYS:
        return (
            f"the newest FX rate is of {report.newest_rate}, older than {MAX_RATE_AGE_DAYS} days; load newer ones with "
            "`reco fx load FILE` and close again"
        )
    return "their currencies have no rate of the last seven days; load some with `reco fx load FILE` and close again"
