"""`reco demo`: the main job, whole, on this machine, held against a truth that was planted beforehand."""

import shutil
import time
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from jobs.cli import demo_clocks, demo_console, demo_live, demo_report, demo_road
from jobs.cli.broker import Broker, refuse_security
from jobs.cli.demo_steps import Memory, Steps, ended_by_signals
from jobs.common import fx, policies
from jobs.common.engines.choice import EngineName
from jobs.common.engines.choice import chosen as engine_of_command
from jobs.common.errors import FAILED, UserError
from jobs.common.kafka import create_topics
from jobs.common.lake_root import place_of
from jobs.common.options import AsJson, Debug, SettingsFile
from jobs.common.output import print_json
from jobs.common.settings import Kafka, Lake, Settings, load_settings

#: A Thursday for which ECB rates are known: with three days, Saturday's rates are carried from Friday.
START = date(2026, 10, 15)
POLICIES = Path(__file__).with_name("demo-policies.yaml")
#: For so long further explanations are begun.
EXPLAIN_SECONDS = 30
#: Records that a micro-batch takes of the workload, which is there much faster than it ever comes in life.
BATCH = 110_000
POLL_SECONDS = 0.2
EARLIEST = datetime.fromtimestamp(0, UTC)
#: Marks a folder as the demo's own, which it may empty.
MARK = ".reco-demo"


def command(
    home: Annotated[Path, typer.Option(help="Folder for broker and lake; emptied first.")] = demo_console.HOME,
    activities: Annotated[int, typer.Option(help="Activities a day.", min=100, max=5_000_000)] = 50_000,
    days: Annotated[int, typer.Option(help="How many days.", min=1, max=10)] = 3,
    suppliers: Annotated[int, typer.Option(help="How many suppliers; one of them is polled.", min=4, max=999)] = 30,
    seed: Annotated[int, typer.Option(help="The same seed gives the same workload.")] = 7,
    match: Annotated[
        bool, typer.Option("--match/--no-match", help="Let the stream judge too, and show both clocks.")
    ] = True,
    keep: Annotated[bool, typer.Option("--keep/--no-keep", help="Leave the folder to be looked at.")] = True,
    console: Annotated[
        bool, typer.Option("--console", help="Leave the console running on the lake, with a user made for it.")
    ] = False,
    settings_file: SettingsFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Run everything on real parts, from an outbox and a polled API over Kafka and the stream's verdicts to the closes.

    Checks that they found what was planted, and nothing else.

    Exit code 1 where the closes found anything else than was planted, or a record was lost.

    Example: reco demo --activities 5000 --home /tmp/reco-demo
    """
    if console:
        demo_console.require(keep=keep)
    home = home.absolute()
    known = load_settings(settings_file)
    refuse_security(known)
    settings = settings_of(known, home)
    screen = Console(stderr=as_json, emoji=False, markup=False)
    _empty(home)
    dates = [START + timedelta(days=number) for number in range(days)]
    started = time.monotonic()
    try:
        with ended_by_signals(), Memory() as memory, Broker(home, settings.local.broker_port) as broker:
            workload = [str(2 * activities * days), str(suppliers), str(seed), f"{START}", str(days)]
            report = _run(broker, settings, settings_file, dates, workload, screen, match)
        report |= {"seconds": round(time.monotonic() - started, 1), "peak_bytes": memory.peak}
    except KeyboardInterrupt:
        raise UserError("The demo was interrupted; everything it had started has ended.", 130) from None
    file = demo_console.write_settings(settings)
    left = demo_console.leave_running(file, home) if console else None
    if as_json:
        print_json(report | demo_console.as_report(left))
    else:
        demo_report.show(report, START)
    if not keep:
        shutil.rmtree(home)
    elif not as_json:
        demo_report.show_where(settings)
        demo_console.show(file, left)
    if not report["right"]:
        raise typer.Exit(FAILED)


def settings_of(known: Settings, home: Path, bootstrap: str = "") -> Settings:
    """The given settings, with lake and broker in the demo's folder. UserError where no lake can be there."""
    root = place_of("--home", str(home / "lake"))
    changes: dict[str, Any] = {
        "lake": Lake(root=root),
        "kafka": Kafka(bootstrap_servers=bootstrap or known.kafka.bootstrap_servers),
        "stream": known.stream.model_copy(update={"checkpoint_root": f"{root}/_checkpoints"}),
        "local": known.local.model_copy(update={"home": home}),
    }
    return known.model_copy(update=changes)


def environment_of(settings: Settings) -> dict[str, str]:
    """The same for child processes."""
    return {
        "RECO_LAKE__ROOT": settings.lake.root,
        "RECO_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "RECO_KAFKA__OPTIONS": "{}",
        "RECO_STREAM__CHECKPOINT_ROOT": settings.stream.checkpoint_root,
        "RECO_STREAM__MAX_OFFSETS_PER_TRIGGER": str(BATCH),
        **demo_road.environment_of(settings.local.home),
        "RECO_LOCAL__HOME": str(settings.local.home),
    }


def _run(
    broker: Broker,
    known: Settings,
    file: Path | None,
    dates: list[date],
    workload: list[str],
    console: Console,
    match: bool,
) -> dict[str, Any]:
    """Every step up to the report."""
    home = broker.home
    settings = settings_of(known, home, broker.bootstrap_servers)
    given = ["--settings", str(file)] if file else []
    with Steps(home / "logs", environment_of(settings), console) as steps:
        _prepare(steps, settings, dates)
        truth = home / "truth.json"
        told = _send(steps, settings, workload, truth, given, console, match)
        with steps.step(f"Close of {len(dates)} days"):
            # As a user's command, whose engine is what fits this machine.
            steps.child("daily", "jobs.cli.main", "daily", *(p for day in dates for p in ("--date", f"{day}")), *given)
        with steps.step("Found beside planted"):
            report = demo_report.build(settings, truth, dates)
            report["ways"], report["no_outbox"] = demo_road.build(settings, told, truth, dates), told["why"]
            report["right"] = report["right"] and all(way["arrived"] for way in report["ways"])
            report["clocks"] = demo_clocks.build(settings, dates[-1]) if match else []
        with steps.step("Three explanations"):
            report["explanations"] = _explain(steps, settings, demo_report.worth_explaining(settings, dates), given)
    return report | {"steps": steps.seconds}


def _prepare(steps: Steps, settings: Settings, dates: list[date]) -> None:
    """Topics, policies and rates."""
    rates, now = settings.local.home / "ecb.csv", datetime.now(UTC)
    with steps.step("Topics, policies and ECB rates"):
        create_topics(settings.kafka.bootstrap_servers, settings)
        policies.apply(settings, POLICIES, now)
        # A refund of the last day is paid on the next one: its rates are needed too.
        steps.child("ecb", "jobs.ingest.ecb", f"{dates[0]}", f"{dates[-1] + timedelta(days=1)}", str(rates))
        fx.load(settings, rates, now)


def _send(
    steps: Steps, settings: Settings, workload: list[str], truth: Path, given: list[str], console: Console, match: bool
) -> dict[str, Any]:
    """The workload by all ways in to Kafka, and by the stream into the lake; what the shop says of itself."""
    with ExitStack() as stack:
        with steps.step("An outbox in PostgreSQL, a supplier's API"):
            road = stack.enter_context(demo_road.opened(steps, settings, given, workload, truth))
        if road.why:
            console.print(f"  There is no outbox, {road.why}; AGODA pushes all.", highlight=False)
        if match:
            with steps.step("Relayed, polled and pushed to Kafka, judged", draws=True):
                _judge_as_it_comes(steps, settings, road, given, console)
        else:
            with steps.step("Relayed, polled and pushed to Kafka"):
                road.walk(lambda: None)
    if not match:
        with steps.step("Streaming job: Kafka to bronze and silver"):
            steps.spark("normalise", "stream", "--available-now", "--only", "normalise", *given)
    return road.told


def _judge_as_it_comes(
    steps: Steps, settings: Settings, road: demo_road.Road, given: list[str], console: Console
) -> None:
    """Both queries run while the workload is sent, until they have judged up to its last heartbeat."""
    with (
        demo_live.Verdicts(settings, console) as verdicts,
        steps.spark_runs("stream", "stream", *given) as check,
    ):

        def meanwhile() -> None:
            check()
            verdicts.show()

        until = datetime.fromisoformat(road.walk(meanwhile)["published_until"])
        while (demo_live.reached(settings) or EARLIEST) < until:
            meanwhile()
            time.sleep(POLL_SECONDS)
        steps.ask_spark_to_stop()


def _explain(steps: Steps, settings: Settings, chosen: list[dict[str, Any]], given: list[str]) -> list[dict[str, Any]]:
    """Each break as `reco explain` works it out, or on a slow machine as its close says it in one sentence."""
    # Where a session of Spark runs a command takes Spark by itself; DuckDB is done there before it has its first plan.
    engine, _ = engine_of_command(settings, EngineName(settings.daily.engine), None)
    until = time.monotonic() + EXPLAIN_SECONDS
    explained = []
    for number, row in enumerate(chosen):
        text = _sentence(row)
        if number == 0 or time.monotonic() < until:
            words = [row["supplier_id"], row["activity_id"], "--date", f"{row['reco_date']}", "--engine", engine]
            text = steps.spark(f"explain-{number}", "explain", *words, *given)
        explained.append({**row, "text": text.strip("\n")})
    return explained


def _sentence(row: dict[str, Any]) -> str:
    key = f"{row['supplier_id']} {row['activity_id']} on {row['reco_date']}"
    return f"{key}: {row['anomaly_type']}, {row['severity']}: {row['explanation']}; `reco explain` says more."


def _empty(home: Path) -> None:
    """Makes the folder, or empties it where an earlier demo made it. Raises UserError where it is somebody else's."""
    try:
        if home.exists() and any(home.iterdir()):
            if not (home / MARK).exists():
                raise UserError(f"{home} is not empty and no demo made it: give an empty or new folder with --home.")
            demo_console.stop_left(home)
            shutil.rmtree(home)
        home.mkdir(parents=True, exist_ok=True)
        (home / MARK).touch()
    except OSError as error:
        raise UserError(f"Cannot use {home} ({error.strerror}): give another folder with --home.") from error
