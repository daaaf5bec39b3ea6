"""`reco status`: does the law hold, how far behind is the stream, what is open, what was closed."""

import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from jobs.cli import lake_state, stream_state
from jobs.cli.stack import services_said
from jobs.cli.supervisor import read_state
from jobs.common.alerting import read_alerts
from jobs.common.errors import FAILED, UserError
from jobs.common.law import Count, Law, measure, settled
from jobs.common.options import AsJson, Debug, SettingsFile
from jobs.common.output import print_json, print_table, say, shown
from jobs.common.polling import read_polled
from jobs.common.progress_file import missing
from jobs.common.settings import Settings, load_settings

app = typer.Typer()

_PAUSE = 2.0
_OF_POLL = ("supplier", "running", "circuit", "last_success_at", "next_at", "published", "unchanged", "refused_kept")
_OF_SINK = ("sink", "sent", "failures", "failing_since", "next_try_at")
#: Broken records that are named one by one.
_SHOWN = 10


@app.command(epilog="Example: reco status --json")
def command(
    wait: Annotated[
        float, typer.Option(help="Seconds given to a micro-batch in flight before the law is broken.", min=0)
    ] = 15,
    settings_file: SettingsFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show the law (bronze = heartbeats + events + quarantined), lag, last times, open exceptions and closes.

    Exit code 1 where the law is broken.
    """
    settings = load_settings(settings_file)
    law = settled_law(settings, wait)
    report = build_report(settings, law)
    if as_json:
        print_json(report)
    else:
        _print(settings, report, law)
    if law is not None and not law.holds:
        raise typer.Exit(FAILED)


def settled_law(settings: Settings, wait: float) -> Law | None:
    """The law's state, where a breach counts only if it lasts; None without bronze. `wait` is in seconds."""
    law = measure(settings)
    deadline = time.monotonic() + wait
    while law is not None and not law.holds and time.monotonic() < deadline:
        time.sleep(min(_PAUSE, max(deadline - time.monotonic(), 0)))
        again = measure(settings)
        law = settled(law, again) if again is not None else law
    return law


def build_report(settings: Settings, law: Law | None) -> dict[str, Any]:
    """Everything `reco status --json` prints; null where a table is absent or no broker answers."""
    try:
        lags, trouble = [vars(lag) for lag in lake_state.lags(settings, law)], None
    except UserError as error:
        lags, trouble = None, str(error)
    closes = lake_state.last_closes(settings)
    return {
        "at": datetime.now(UTC),
        "lake": settings.lake.root,
        "law": None if law is None else {"holds": law.holds, "partitions": [_partition(count) for count in law.counts]},
        "broken": [] if law is None else law.broken.head(_SHOWN).to_dicts(),
        "lag": lags,
        "broker_error": trouble,
        "sides": [vars(side) for side in lake_state.sides(settings, law)],
        "quarantine": lake_state.quarantine(settings),
        "queries": stream_state.queries(settings),
        "stream": stream_state.verdicts(settings),
        "stream_last_hour": stream_state.last_hour(settings),
        "stream_exceptions": stream_state.exceptions(settings),
        "open_exceptions": lake_state.open_exceptions(settings),
        "polled": read_polled(settings),
        "alerts": read_alerts(settings),
        "stack": read_state(settings.local.home),
        "last_closes": closes,
        "drift": stream_state.drift(settings, [row["reco_date"] for row in closes or []]),
    }


def _partition(count: Count) -> dict[str, Any]:
    return {**vars(count), "holds": count.holds}


def _print(settings: Settings, report: dict[str, Any], law: Law | None) -> None:
    if law is None:
        say(f"The lake {settings.lake.root} has no bronze/activity_raw yet; the stream makes it: reco stream")
    else:
        columns = ["topic", "partition", "bronze", "heartbeats", "events", "quarantined", "law"]
        rows = [
            [c.topic, c.partition, c.bronze, c.heartbeats, c.events, c.quarantined, _verdict(c)] for c in law.counts
        ]
        print_table("bronze = heartbeats + events + quarantined", columns, rows)
        for row in report["broken"]:
            say(f"  {row['topic']}-{row['partition']}-{row['offset']}: {row['why']}")
    if report["lag"] is None:
        say(f"Lag unknown: {report['broker_error']}")
    else:
        _section("Lag", report["lag"], "The raw topics do not exist yet.")
    _section("Last heard", report["sides"], "")
    reasons = report["quarantine"]
    _section("Quarantine by reason", reasons and [{"reason": r, "records": n} for r, n in reasons.items()], "Nothing.")
    _queries(report["queries"])
    _section("The stream's verdicts", report["stream"] and [report["stream"]], "")
    hour = report["stream_last_hour"]
    _section(
        "The stream's last hour by supplier", hour and [{**row, "broken": _breaks(row)} for row in hour], "Nothing."
    )
    _section("The stream's exceptions", report["stream_exceptions"], "None.")
    _polled(report["polled"])
    _alerts(report["alerts"])
    if report["stack"]:
        say(*services_said(report["stack"]))
    _section("Open exceptions of the closes", report["open_exceptions"], "None.")
    _section("Last closes", report["last_closes"], "None.")
    _section("The stream's verdicts beside these closes, by cause of the drift", report["drift"], "Nothing.")


def _breaks(row: dict[str, Any]) -> str:
    return ", ".join(
        f"{one['anomaly_type']} {shown(one['open'])}"
        + (f" + {shown(one['pending'])} pending" if one["pending"] else "")
        for one in row["broken"]
    )


def _queries(told: list[dict[str, Any]]) -> None:
    """How far the stream's queries are, in two tables, and aloud what must not be."""
    if not told:
        say("The stream's queries: not there yet; they tell how far they are once they run: reco stream")
        return
    of_group = ("group",) if any(row["group"] is not None for row in told) else ()
    columns = (
        "query",
        *of_group,
        "state",
        "told_at",
        "batch",
        "batch_ended_at",
        "batch_seconds",
        "rows_dropped_by_watermark",
    )
    _section("The stream's queries", [{name: row[name] for name in columns} for row in told], "")
    behind = (*of_group, "watermark", "watermark_lag_seconds", "state_rows", "state_memory_bytes", "state_disk_bytes")
    matched = [{name: row[name] for name in behind} for row in told if row["query"] == "match"]
    _section("The stream's watermark, its lag behind the newest heartbeat, and state", matched, "match never ran.")
    say(*[f"{sentence}; see docs/sizing.md" for sentence in missing(told, datetime.now(UTC)).values()])
    for row in told:
        if row["why"]:
            say(f"THE QUERY {row['query']} FAILED: {row['why']}")
        if row["rows_dropped_by_watermark"]:
            rows = shown(row["rows_dropped_by_watermark"])
            say(f"ROWS DROPPED BY THE WATERMARK: {rows} of {row['query']}; there must be none: see docs/operations.md")


def _polled(told: list[dict[str, Any]]) -> None:
    """How far the suppliers' APIs are polled, and aloud what does not go on; nothing where none is polled."""
    if told:
        rows = [{name: row.get(name) for name in _OF_POLL} for row in told]
        _section("The suppliers' APIs by their last poll", rows, "")
    for row in told:
        if row["why"]:
            say(f"THE POLL OF {row['supplier']!a} FAILED: {row['why']}")
        if row["refused_kept"]:
            count = shown(row["refused_kept"])
            say(f"RECORDS THAT THE BROKER DID NOT TAKE: {count} of {row['supplier']!a}; see docs/poll.md")


def _alerts(told: dict[str, Any] | None) -> None:
    """What the alerting service tells whom, and aloud who does not hear it; nothing where it never ran here."""
    if told is None:
        return
    largest = [{**row, "told": ", ".join(row["told"])} for row in told["largest"]]
    _section(f"Alerts, as told at {shown(told['told_at'])}: the largest incidents", largest, "None.")
    _section("Sinks of the alerts", [{name: row[name] for name in _OF_SINK} for row in told["sinks"]], "")
    for row in told["sinks"]:
        if row["why"]:
            stand_in = f"; {row['fallback']} stands in" if row["fallback"] else ""
            say(f"ALERTS ARE NOT TAKEN: {row['why']}, since {shown(row['failing_since'])}{stand_in}")
    if told["lake"]:
        say(f"THE ALERTS CANNOT READ THE LAKE: {told['lake']}")


def _verdict(count: Count) -> str:
    if not count.holds:
        return f"BROKEN by {shown(count.broken)}"
    return f"holds, {shown(count.in_flight)} in flight" if count.in_flight else "holds"


def _section(title: str, rows: list[dict[str, Any]] | None, empty: str) -> None:
    if rows is None:
        say(f"{title}: the table is not there yet.")
    elif not rows:
        say(f"{title}: {empty}")
    else:
        print_table(title, [name.replace("_", " ") for name in rows[0]], [list(row.values()) for row in rows])
