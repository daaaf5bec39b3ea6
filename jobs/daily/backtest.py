"""`reco policies backtest`: what a proposed policies file would have said of the last closes."""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import typer
from pyspark.sql import Row

from jobs.common import log, policies
from jobs.common.engines import Session, engine_of
from jobs.common.engines.choice import EngineOption, Work, session_for
from jobs.common.errors import BREAKS_FOUND, DONE, UserError
from jobs.common.kept import Kept
from jobs.common.options import AsJson, Debug, SettingsFile
from jobs.common.output import print_json
from jobs.common.policies import PolicyFile
from jobs.common.settings import Settings, load_settings
from jobs.daily import backtest_text, inputs
from jobs.daily.backtest_result import Backtest, as_dict, by_supplier, passed_limits, unseen
from jobs.daily.backtest_store import save
from jobs.daily.inputs import Pins
from jobs.daily.replay import inputs_there, pins_of
from jobs.daily.whatif import DayResult, compare, proposed_inputs
from reco_rules.engine import F

_OF_CLOSE = ("close_id", "reco_date", "revision", "anomaly_counts")


def command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The proposed policies file.")],
    days: Annotated[int, typer.Option("--days", metavar="N", min=1, help="The last N closed dates.")] = 7,
    max_lost_usd: Annotated[
        str | None, typer.Option(metavar="USD", help="Exit with 3 where lost breaks have more money at risk.")
    ] = None,
    max_flips: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Exit with 3 where more keys gain or lose a break.")
    ] = None,
    keep: Annotated[bool, typer.Option("--save", help="Keep the result in gold/policy_backtests.")] = False,
    name: Annotated[str | None, typer.Option(help="What the result calls FILE; its path unless given.")] = None,
    engine: EngineOption = None,
    settings: SettingsFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Judge the last closes anew by FILE and say which breaks it would lose and gain; nothing is applied or written.

    Lost: a break that the close's own policies report and FILE would not. Gained: one that FILE would report and they
    do not. Exit code 3 where --max-lost-usd or --max-flips is passed.

    Example: reco policies backtest conf/policies.yaml --days 7 --max-lost-usd 1000
    """
    log.configure(debug=debug)
    limit = None if max_lost_usd is None else _dollars(max_lost_usd)
    chosen = load_settings(settings)
    proposed = policies.checked(chosen, file)
    with session_for("reco-backtest", chosen, engine, Work(f"reco policies backtest {file}")) as session:
        found = backtest(session, chosen, proposed, days, datetime.now(UTC))
    found = replace(found, file=name or found.file)
    over = passed_limits(found, limit, max_flips)
    gated = limit is not None or max_flips is not None
    tell(chosen, found, over, gated=gated, keep=keep, as_json=as_json)
    return BREAKS_FOUND if over else DONE


def tell(settings: Settings, found: Backtest, over: list[str], *, gated: bool, keep: bool, as_json: bool) -> None:
    """Save the result where that is asked for, and print it; `over`: what `passed_limits` says."""
    saved = False
    try:
        if keep:
            save(settings, found)
            saved = True
    finally:  # minutes of work are not lost to a table that cannot be written
        if as_json:
            print_json({**as_dict(found), "saved": saved, "limits_passed": over})
        else:
            backtest_text.show(found, over, saved, gated)


def backtest(session: Session, settings: Settings, file: PolicyFile, days: int, now: datetime) -> Backtest:
    """Over the newest close of each of the last `days` closed dates. UserError where there is none, or one's inputs
    are gone: a gate must not pass because a day could not be looked at.
    """
    closes = last_closes(session, settings, days)
    logger = log.get_logger(__name__)
    results: list[DayResult] = []
    notes = [f"Only {len(closes)} days are closed, not {days}."] if len(closes) < days else []
    for number, close in enumerate(closes, start=1):
        logger.info("backtesting", close_id=close["close_id"], number=number, of=len(closes))
        results.append(_one_close(session, settings, close, file, now))
        notes += _unlike_recorded(close, results[-1])
    newest = max(closes, key=lambda close: close["reco_date"])
    before = policies.policies_of(settings, newest["policy_version"])
    suppliers = by_supplier(results, before, file.policies)
    return Backtest(
        backtest_id=f"{now:%Y%m%dT%H%M%SZ}-{file.file_hash[:8]}",
        ran_at=now,
        file=str(file.path),
        file_hash=file.file_hash,
        closes=[close["close_id"] for close in closes],
        first_date=min(close["reco_date"] for close in closes),
        last_date=newest["reco_date"],
        policy_versions=sorted({close["policy_version"] for close in closes}),
        suppliers=suppliers,
        notes=[*notes, *unseen(suppliers)],
    )


def last_closes(session: Session, settings: Settings, days: int) -> list[Row]:
    """Rows of `gold/closes`, oldest date first: the newest revision of the last `days` dates that were closed whole."""
    engine, path = engine_of(session), settings.table_path("closes")
    rows = engine.read(path).where(~F.col("provisional")) if engine.exists(path) else None
    known = [] if rows is None else rows.select(*_OF_CLOSE, *Pins.__dataclass_fields__).collect()
    if not known:
        raise UserError(
            f"There is no close under {settings.lake.root} to test a policy on (provisional ones do not count): close "
            "days with `reco daily --date D` first, or set lake.root to the lake you mean."
        )
    newest: dict[date, Row] = {}
    for row in known:
        other = newest.get(row["reco_date"])
        if other is None or other["revision"] < row["revision"]:
            newest[row["reco_date"]] = row
    return [newest[day] for day in sorted(newest)[-days:]]


def _dollars(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal(-1)
    if not value.is_finite() or value < 0:
        raise UserError(f"--max-lost-usd {text} is no amount: write US dollars like 1000 or 99.50.")
    return value


def _one_close(session: Session, settings: Settings, close: Row, file: PolicyFile, now: datetime) -> DayResult:
    pins = pins_of(close)
    before = policies.policies_of(settings, pins.policy_version)
    with inputs_there(session, close["close_id"], pins, ", or leave it out with a smaller --days"), Kept() as kept:
        source = inputs.load(session, settings, pins)
        return compare(source, proposed_inputs(source, before, file, now), close["reco_date"], kept)


def _unlike_recorded(close: Row, result: DayResult) -> list[str]:
    """The old side is judged anew too; where that is not what was recorded, another code closed the day."""
    counts: dict[str, int] = {}
    for tally in result.tallies:
        if tally.before:
            counts[tally.anomaly_type] = counts.get(tally.anomaly_type, 0) + tally.before
    recorded = {kind: count for kind, count in (close["anomaly_counts"] or {}).items() if count}
    if counts == recorded:
        return []
    sentence = (
        f"{close['close_id']} recorded other breaks than its own policies give now; it was closed by version "
        f"{close['code_version']}, this is {inputs.code_version()}: see `reco replay {close['close_id']}`."
    )
    return [sentence]
