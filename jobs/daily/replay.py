"""`reco replay`: run a past close again from its pinned inputs and compare what comes out with what was recorded."""

import re
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from types import FrameType
from typing import Annotated

import typer
from pyspark.sql import DataFrame, Row

from jobs.common import log, replay_scratch
from jobs.common.command import one_line
from jobs.common.engines import Session, engine_of
from jobs.common.engines.choice import EngineOption, Work, session_for
from jobs.common.errors import DONE, FAILED, UserError
from jobs.common.kept import Kept
from jobs.common.options import AsJson, Debug, SettingsFile
from jobs.common.output import print_json, print_table, say
from jobs.common.places import require_writable_lake
from jobs.common.settings import Settings, load_settings
from jobs.daily import inputs
from jobs.daily.close import Report, anomalies_from, anomaly_totals, count_anomalies, judge_day
from jobs.daily.inputs import Pins
from reco_rules.engine import F

_GONE = re.compile(
    r"time travel|VERSION_NOT_FOUND|VERSION_NOT_CONTIGUOUS|FILE_NOT_EXIST|FileNotFound|does not exist|"
    r"not available|No files found|reconstruct|PATH_NOT_FOUND|MISSING_DELTA_TABLE|at version \d+ cannot be read",
    re.IGNORECASE,
)
_SHOWN_IDS = 10


@dataclass(frozen=True)
class Replay:
    """What was recorded beside what came out."""

    close_id: str
    reco_date: date
    recorded_hash: str
    replayed_hash: str
    recorded_counts: dict[str, int]
    replayed_counts: dict[str, int]
    recorded_code: str
    this_code: str
    kept: str | None

    @property
    def equal(self) -> bool:
        """Whether both hashes are one."""
        return self.recorded_hash == self.replayed_hash

    def differences(self) -> dict[str, tuple[int, int]]:
        """Recorded and replayed count of every outcome and anomaly type in which they differ."""
        names = sorted({*self.recorded_counts, *self.replayed_counts})
        both = {name: (self.recorded_counts.get(name, 0), self.replayed_counts.get(name, 0)) for name in names}
        return {name: pair for name, pair in both.items() if pair[0] != pair[1]}


def command(
    close_id: Annotated[str, typer.Argument(metavar="CLOSE_ID", help="As `reco daily` printed it.")],
    keep: Annotated[bool, typer.Option("--keep", help="Leave the replayed tables in the lake, and say where.")] = False,
    engine: EngineOption = None,
    settings: SettingsFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Run a past close again from its pinned inputs, beside the lake's tables, and compare the hashes.

    Exit code 0 where they are equal, 1 where they differ.

    Example: reco replay 2026-03-09-r1
    """
    log.configure(debug=debug)
    chosen = load_settings(settings)
    require_writable_lake(chosen)  # the scratch folder lies in it
    work = Work(f"reco replay {close_id}", _days(close_id))
    with _ended_in_order(), session_for("reco-replay", chosen, engine, work) as session:
        found = replay(session, chosen, close_id, keep=keep)
    show(found, as_json)
    return DONE if found.equal else FAILED


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """SIGTERM is like Ctrl-C: the scratch folder goes too."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def replay(session: Session, settings: Settings, close_id: str, *, keep: bool = False) -> Replay:
    """Rebuild the close in a scratch folder of the lake. UserError where it is unknown or its inputs are gone."""
    engine = engine_of(session)
    row = recorded_close(session, settings, close_id)
    pins = pins_of(row)
    root = settings.lake.root
    if settings.is_local_lake:
        replay_scratch.sweep(root)
    scratch = replay_scratch.kept(root, close_id) if keep else replay_scratch.of_process(root, close_id)
    try:
        with inputs_there(session, close_id, pins):
            report = _rebuild(session, settings, row["reco_date"], pins, scratch)
    finally:
        if not keep:
            engine.delete(scratch)
    return Replay(
        close_id=close_id,
        reco_date=row["reco_date"],
        recorded_hash=row["content_hash"],
        replayed_hash=report.content_hash,
        recorded_counts=_counts(row["outcomes"], row["anomaly_counts"]),
        replayed_counts=_counts(report.outcomes, report.anomaly_counts),
        recorded_code=pins.code_version,
        this_code=inputs.code_version(),
        kept=scratch if keep else None,
    )


def recorded_close(session: Session, settings: Settings, close_id: str) -> Row:
    """The row of `gold/closes`; UserError that lists the last ids where there is none."""
    engine, path = engine_of(session), settings.table_path("closes")
    if not engine.exists(path):
        raise UserError(f"There is no close {close_id}: nothing was closed yet; see `reco daily --help`.")
    closes = engine.read(path)
    row = closes.where(F.col("close_id") == close_id).head()
    if row is None:
        newest = closes.orderBy(F.col("reco_date").desc(), F.col("revision").desc()).select("close_id")
        known = ", ".join(found[0] for found in newest.limit(_SHOWN_IDS).collect())
        raise UserError(f"There is no close {close_id} in {path}; the last ones are {known}.")
    return row


def pins_of(close: Row) -> Pins:
    """What a row of `gold/closes` says that the close read."""
    return Pins(**{name: close[name] for name in Pins.__dataclass_fields__})


@contextmanager
def inputs_there(session: Session, close_id: str, pins: Pins, otherwise: str = "") -> Iterator[None]:
    """Pinned inputs that cannot be read any more become a UserError that names them; `otherwise`: one more way out."""
    try:
        yield
    except engine_of(session).errors as error:
        if _GONE.search(str(error)):
            raise UserError(_gone_sentence(close_id, pins, error, otherwise), FAILED) from error
        raise


def _rebuild(session: Session, settings: Settings, day: date, pins: Pins, scratch: str) -> Report:
    with Kept() as kept:
        judged = judge_day(session, inputs.load(session, settings, pins), day, kept)
        report = Report(day, "", 0, facts=judged.profile.facts, outcomes=judged.profile.outcomes)
        _written(session, judged.facts, "reconciliation_facts", scratch)
        anomalies = _written(session, anomalies_from(judged), "anomalies", scratch)
        count_anomalies(report, judged.profile, anomaly_totals(anomalies))
        return report


def _written(session: Session, rows: DataFrame, name: str, scratch: str) -> DataFrame:
    engine, path = engine_of(session), f"{scratch}/{name}"
    engine.overwrite(rows.withColumn("close_id", F.lit("")), name, path)
    return engine.read(path)


def _counts(outcomes: Mapping[str, int] | None, kinds: Mapping[str, int] | None) -> dict[str, int]:
    # Two outcomes are named like the anomaly type that stands on them.
    return {
        **{f"outcome {name}": count for name, count in sorted((outcomes or {}).items())},
        **{f"anomaly {name}": count for name, count in sorted((kinds or {}).items())},
    }


def _gone_sentence(close_id: str, pins: Pins, error: Exception, otherwise: str) -> str:
    return (
        f"Close {close_id} cannot be replayed: its inputs (silver/activity at version {pins.silver_version}, "
        f"ref/policies at {pins.policies_table_version}, ref/fx_rates at {pins.fx_table_version}) are no longer all "
        f"there ({one_line(error, 160)}). VACUUM with a short retention, or another table in their place, does that; "
        f"restore the files from a backup to replay it{otherwise}."
    )


def _days(close_id: str) -> list[date]:
    """The day that the id names; none where it is no id of ours."""
    try:
        return [date.fromisoformat(close_id[:10])]
    except ValueError:
        return []


def show(found: Replay, as_json: bool) -> None:
    """Print both hashes and whatever differs."""
    if as_json:
        print_json(
            {**asdict(found), "equal": found.equal, "differences": found.differences(), "says": sentences(found)}
        )
        return
    rows = [("recorded", found.recorded_hash), ("replayed", found.replayed_hash)]
    print_table(f"Close {found.close_id}", ["", "content hash"], rows)
    differences = found.differences()
    if differences:
        print_table("Counts that differ", ["", "recorded", "replayed"], [(n, *both) for n, both in differences.items()])
    say(*sentences(found))


def sentences(found: Replay) -> list[str]:
    """What a reader should know besides the hashes."""
    counts = ", ".join(f"{name} {count}" for name, count in found.replayed_counts.items()) or "no events"
    if found.equal:
        lines = [f"Equal: the same inputs give the same facts and anomalies ({counts})."]
    elif found.differences():
        lines = [f"Different: what comes out now is not what was recorded ({counts})."]
    else:
        lines = [f"Different: the counts agree ({counts}), but the contents of the rows do not."]
    if found.recorded_code != found.this_code:
        lines.append(f"Note: it was closed by version {found.recorded_code} and replayed by {found.this_code}.")
    if found.kept:
        lines.append(f"The replayed tables are kept under {found.kept}; remove that folder when done.")
    return lines
