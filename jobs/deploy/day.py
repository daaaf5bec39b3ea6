"""What a scheduler asks of one day, without a JVM: is it over, is it closed, is its close whole, what did it find."""

import sys
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

import polars as pl
import typer

from jobs.common.command import add_function, new_app, run
from jobs.common.days import utc_day
from jobs.common.errors import FAILED, UserError
from jobs.common.lake import open_table, scan
from jobs.common.options import AsJson, Debug, SettingsFile
from jobs.common.output import print_json, say
from jobs.common.progress_file import read_watermark
from jobs.common.settings import Settings, load_settings

#: The exit code for "not yet" and "no", which a scheduler takes for a reason to wait or to skip.
NO = 99
#: How far after midnight an event may belong to the day before: twice the longest grace (contract, sections 4 and 6).
AFTER_MIDNIGHT = timedelta(hours=12)

Day = Annotated[str, typer.Argument(metavar="DAY", help="A UTC day, like 2026-03-09.")]


def over(day: Day, settings: SettingsFile = None, debug: Debug = False) -> int:
    """Exit 0 once the stream has read everything that was published up to 12 hours after the day, else 99."""
    found = load_settings(settings)
    until = datetime.combine(utc_day(day, ""), datetime.min.time(), UTC) + timedelta(days=1) + AFTER_MIDNIGHT
    watermark = read_watermark(found)
    if watermark is not None and watermark >= until:
        say(f"{day} is over: the stream's watermark is {watermark:%Y-%m-%d %H:%M:%S} UTC.")
        return 0
    stands = f"is {watermark:%Y-%m-%d %H:%M:%S} UTC" if watermark else "is not told yet"
    say(f"{day} is not over: the stream's watermark {stands}, and must reach {until:%Y-%m-%d %H:%M} UTC.")
    return NO


def closed(day: Day, settings: SettingsFile = None, debug: Debug = False) -> int:
    """Exit 0 where the day has a close that is not provisional, else 99."""
    last = _last_close(load_settings(settings), utc_day(day, ""))
    if last is None:
        say(f"{day} is not closed.")
        return NO
    say(f"{day} is closed: {last['close_id']}.")
    return 0


def check(day: Day, settings: SettingsFile = None, debug: Debug = False) -> int:
    """Exit 0 where the tables hold what the day's last close says it wrote; 1, and why, where not.

    The close itself checks its expectations before it publishes, and publishes nothing where one fails.
    """
    found, wanted = load_settings(settings), utc_day(day, "")
    last = _closed(found, wanted)
    for table, name in (("facts", "reconciliation_facts"), ("anomalies", "anomalies")):
        rows = _of_day(found, name, wanted).select(pl.len()).collect().item()
        if rows != last[table]:
            raise UserError(
                f"{name} of {day} has {rows} rows and {last['close_id']} says {last[table]}: close the day again with "
                f"`reco daily --date {day}`.",
                FAILED,
            )
    say(f"{day}: {last['close_id']} is whole: {last['facts']} facts, {last['anomalies']} anomalies.")
    return 0


def digest(day: Day, settings: SettingsFile = None, as_json: AsJson = False, debug: Debug = False) -> None:
    """Say in a few words what the day's last close found; with --json for a message of your own."""
    found, wanted = load_settings(settings), utc_day(day, "")
    last = _closed(found, wanted)
    risk = pl.col("amount_at_risk_usd")
    kinds = (
        _of_day(found, "anomalies", wanted)
        .group_by("anomaly_type")
        .agg(pl.len().alias("breaks"), risk.sum(), risk.null_count().alias("unpriced"))
        .sort("amount_at_risk_usd", "anomaly_type", descending=[True, False])
        .collect()
        .to_dicts()
    )
    if as_json:
        print_json({"reco_date": wanted, "close_id": last["close_id"], "facts": last["facts"], "anomalies": kinds})
        return
    told = ", ".join(f"{one['anomaly_type']} {one['breaks']} ({_money(one)})" for one in kinds)
    say(f"{last['close_id']}: {last['facts']:,} facts; {told or 'no breaks'}.")


def _money(kind: dict[str, Any]) -> str:
    """What has no price is told beside the sum, which would pass for all of it."""
    unpriced = f", {kind['unpriced']:,} unpriced" if kind["unpriced"] else ""
    return f"{kind['amount_at_risk_usd']:,.2f} USD{unpriced}"


def _last_close(settings: Settings, day: date) -> dict[str, Any] | None:
    table = open_table(settings, "closes")
    if table is None:
        return None
    rows = scan(table).filter((pl.col("reco_date") == day) & ~pl.col("provisional"))
    found = rows.sort("revision", descending=True).head(1).collect().to_dicts()
    return found[0] if found else None


def _closed(settings: Settings, day: date) -> dict[str, Any]:
    found = _last_close(settings, day)
    if found is None:
        raise UserError(f"{day} is not closed: close it with `reco daily --date {day}`.", FAILED)
    return found


def _of_day(settings: Settings, name: str, day: date) -> pl.LazyFrame:
    table = open_table(settings, name)
    if table is None:
        raise UserError(f"The table {settings.table_path(name)} is not there: close {day} first.", FAILED)
    return scan(table).filter(pl.col("reco_date") == day)


def build() -> typer.Typer:
    """The four questions as commands."""
    app = new_app(help="What a scheduler asks of one day.", no_args_is_help=True)
    for function in (over, closed, check, digest):
        add_function(app, function, function.__name__)
    return app


if __name__ == "__main__":
    sys.exit(run(build, sys.argv[1:], "day"))
