"""`reco generate`: a seeded workload of both sides, sent to the raw topics, with its truth in a file."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from jobs.common.errors import UserError
from jobs.common.fx import current_rates
from jobs.common.log import get_logger
from jobs.common.policies import DEFAULTS, Policy, current_policies
from jobs.common.settings import Settings, load_settings
from jobs.ingest import truth
from jobs.ingest.events import SECOND, Limits, Rates, midnight_ms
from jobs.ingest.produce import Sender
from jobs.ingest.ways import PUSHED, Ways
from jobs.ingest.workload import Spec, Workload

#: Time between two log lines where there is no terminal.
_LOG_SECONDS = 10.0


def limits_of(policy: Policy) -> Limits:
    """What of a policy the truth depends on."""
    return Limits(
        grace_ms=policy.grace * SECOND,
        skew_ms=policy.allowed_skew * SECOND,
        delay_ms=policy.max_delay * SECOND,
        abs_tol=policy.abs_tol_usd,
        pct_tol=policy.pct_tol,
    )


def spec_in_force(
    settings: Settings, events: int, seed: int, days: int, start: date | None, suppliers: int, now: datetime
) -> Spec:
    """What to generate under the policies and rates that the lake holds now.

    events: both sides together, but for the few that cases add; start: by default so that the last day is yesterday.
    Raises UserError where the days are not over yet.
    """
    first = start or now.date() - timedelta(days=days)
    last = first + timedelta(days=days - 1)
    if last >= now.date():
        raise UserError(f"--start {first} with --days {days} ends on {last}, which is not over yet; start earlier.")
    activities = events // (2 * days)
    if activities < 1:
        raise UserError(f"--events {events} is too few for {days} days of two sides; give at least {2 * days}.")
    _version, policies = current_policies(settings)
    return Spec(
        start=first,
        days=days,
        activities=activities,
        suppliers=suppliers,
        seed=seed,
        limits={name: limits_of(policy) for name, policy in policies.items() if name is not None},
        default_limits=limits_of(policies[DEFAULTS]),
        rates=_rates(settings),
        until_ms=int(now.timestamp() * SECOND),
    )


def _rates(settings: Settings) -> Rates:
    by_currency: dict[str, dict[date, Decimal]] = {}
    for row in current_rates(settings).iter_rows(named=True):
        by_currency.setdefault(row["currency"], {})[row["rate_date"]] = row["usd_per_unit"]
    return Rates(by_currency)


def run(settings: Settings, spec: Spec, rate: int, truth_file: Path | None, ways: Ways = PUSHED) -> dict[str, Any]:
    """Generates, sends, and says on every partition up to when; returns the summary of what was planted."""
    sender = Sender(settings)
    if truth_file is not None:
        truth.claim(truth_file)  # before a record is sent: what was sent cannot be taken back, nor told without it
    workload = Workload(spec, ways.record_of)
    with _progress(2 * spec.activities * spec.days) as progress:
        sender.send(ways.to_push(workload.records()), rate, progress)
    end = workload.planned.last_published_ms // SECOND * SECOND + SECOND
    until = max(end, midnight_ms(spec.start + timedelta(days=spec.days)))
    summary = truth.summary(workload, sender.heartbeats(until), until)
    sender.finish()
    if truth_file is not None:
        truth.write(truth_file, workload, summary)
    return summary


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, a log line now and then elsewhere."""
    console = Console(stderr=True)
    if console.is_terminal:
        with Progress(console=console) as bar:
            task = bar.add_task("Producing", total=total)
            yield lambda done: bar.update(task, completed=min(done, total))
        return
    log, last = get_logger("generate"), [time.monotonic()]

    def line(done: int) -> None:
        if time.monotonic() - last[0] >= _LOG_SECONDS:
            last[0] = time.monotonic()
            log.info("producing", records=done, expected=total)

    yield line


def command(
    events: Annotated[int, typer.Option(help="Events of both sides and all days together, about.", min=1)] = 300_000,
    seed: Annotated[int, typer.Option(help="The same seed and start give the same workload.")] = 7,
    rate: Annotated[int, typer.Option(help="Records a second at most; 0 is as fast as possible.", min=0)] = 0,
    days: Annotated[int, typer.Option(help="How many days.", min=1, max=366)] = 3,
    start: Annotated[
        datetime | None,
        typer.Option(help="First day, UTC; by default yesterday is the last.", formats=["%Y-%m-%d"]),
    ] = None,
    suppliers: Annotated[int, typer.Option(help="How many suppliers, sizes by Zipf.", min=1, max=999)] = 30,
    truth: Annotated[Path | None, typer.Option(help="Write what the closes must find to this JSON file.")] = None,
    settings_file: Annotated[
        Path | None,
        typer.Option("--settings", metavar="FILE", help="Settings file; by default conf/local.yaml."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document for machines.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error came from.")] = False,
) -> None:
    """Send a seeded workload of both sides to the raw topics, with every kind of break and of poison planted in it.

    Policies and FX rates are those in force in the lake: apply and load them first.

    Example: reco generate --events 300000 --days 3 --seed 7 --rate 5000 --truth truth.json
    """
    known = load_settings(settings_file)
    spec = spec_in_force(known, events, seed, days, start.date() if start else None, suppliers, datetime.now(UTC))
    planted = run(known, spec, rate, truth)
    if as_json:
        typer.echo(json.dumps(planted))
        return
    last = spec.start + timedelta(days=days - 1)
    typer.echo(
        f"Sent {sum(planted['records'].values()):,} records and {planted['heartbeats']} heartbeats "
        f"for {spec.start} to {last}: {planted['activities']:,} activities, "
        f"{sum(planted['anomalies'].values()):,} breaks and {planted['poison']:,} poisoned records planted."
    )
    if truth:
        typer.echo(f"The truth is in {truth}.")
