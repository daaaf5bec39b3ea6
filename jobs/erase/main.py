"""`reco erase`: one person's payloads taken out of bronze and quarantine; what was made of them stays."""

import getpass
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

from jobs.common import log
from jobs.common.errors import USAGE, UserError
from jobs.common.lake import append_version, open_table, read
from jobs.common.options import AsJson, Debug, SettingsFile
from jobs.common.output import print_json, print_table, say
from jobs.common.privacy import PSEUDONYM, Privacy, key_bytes, pseudonym, split
from jobs.common.settings import Settings, load_settings
from jobs.erase import tables
from jobs.erase.wanted import Selector, Wanted

_REQUEST = re.compile(r"[A-Za-z0-9._/-]{1,64}")
#: Shorter values are in many records that are nobody's.
_SHORTEST = 4


@dataclass(frozen=True)
class Report:
    """What a run did, or with `dry_run` would do; `*_records`: erased by it, `*_total`: bear the request's mark."""

    request: str
    dry_run: bool
    bronze_records: int
    quarantine_records: int
    bronze_total: int
    quarantine_total: int
    files_gone_after: datetime | None


def command(
    activity: Annotated[
        list[str] | None, typer.Argument(metavar="[SUPPLIER ACTIVITY]...", help="supplierId and activityId, in pairs.")
    ] = None,
    request: Annotated[
        str, typer.Option("--request", metavar="ID", help="The request's number where requests are kept; no name.")
    ] = "",
    value_file: Annotated[
        Path | None, typer.Option("--value-file", metavar="FILE", help="What to look for: a value a line, as text.")
    ] = None,
    field: Annotated[
        list[str] | None,
        typer.Option("--field", metavar="PATH", help="Look there alone, like guest.email; repeatable."),
    ] = None,
    person: Annotated[
        list[str] | None, typer.Option("--person", metavar="HASH", help="A pseudonym, masked:…; repeatable.")
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why, in words without a name.")] = "asked by the person",
    listed: Annotated[bool, typer.Option("--list", help="Show what was erased until now; nothing else.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be erased; change nothing.")] = False,
    settings: SettingsFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Erase one person's payloads from bronze and quarantine; verdicts, totals and closes stay as they are.

    Jobs may run meanwhile. Run again, it completes what was broken off, and finds nothing else to do.

    Example: reco erase --request DSR-17 --field guest.email --value-file value.txt --dry-run
    """
    log.configure(debug=debug)
    chosen = load_settings(settings)
    if listed:
        _show_list(chosen, as_json)
        return
    if not _REQUEST.fullmatch(request):
        raise UserError(
            "--request must name the request, like DSR-17: letters, digits and ._/- alone, 64 at most; it stays in the "
            "lake, so no name and no address."
        )
    wanted = wanted_of(chosen.privacy, activity or [], value_file, field or [], person or [])
    told = sorted(text for text in wanted.texts if text in request or text in reason)
    if told:
        raise UserError(
            "--request or --reason holds what is to be erased, and both stay in the lake: say it otherwise."
        )
    report = erase(chosen, wanted, request, reason, _user(), datetime.now(UTC), dry_run=dry_run)
    if as_json:
        print_json(asdict(report))
    else:
        _show(report)


def _user() -> str:
    """Who asks, by name, or by number in a container whose image does not know it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def wanted_of(
    privacy: Privacy, activity: Sequence[str], value_file: Path | None, fields: Sequence[str], person: Sequence[str]
) -> Wanted:
    """What the arguments ask for. UserError where they ask for nothing, or for several things at once."""
    if sum(map(bool, (activity, value_file, person))) != 1:
        raise UserError("Say what to erase in one way: SUPPLIER ACTIVITY, --value-file FILE, or --person HASH.", USAGE)
    if fields and value_file is None:
        raise UserError("--field says where the values of --value-file are; give that too.")
    if activity:
        if len(activity) % 2:
            raise UserError("Activities are named in pairs: SUPPLIER ACTIVITY, like SUP-001 BK-1.")
        pairs = frozenset(zip(activity[::2], activity[1::2], strict=True))
        keys = {name: frozenset({name, *_pseudonyms(privacy, name)}) for _, name in pairs}
        return Wanted(Selector.ACTIVITY, activities=pairs, keys=keys)
    if person:
        wrong = [one for one in person if not re.fullmatch(PSEUDONYM, one)]
        if wrong:
            raise UserError("--person is a pseudonym as bronze holds it: masked:KEY:64 hexadecimal digits.")
        return Wanted(Selector.PERSON, frozenset(person))
    assert value_file is not None
    if any(not all(split(path)) for path in fields):
        raise UserError("--field is a path of names, like guest.email.")
    values = _values(value_file)
    texts = frozenset({*values, *(one for value in values for one in _pseudonyms(privacy, value))})
    return Wanted(Selector.FIELD if fields else Selector.ANYWHERE, texts, tuple(sorted(set(fields))))


def erase(
    settings: Settings, wanted: Wanted, request: str, reason: str, user: str, now: datetime, *, dry_run: bool = False
) -> Report:
    """Erase what is wanted, noted in gold/erasures before and after.

    UserError where a table cannot be written, and where the lake has neither: nothing was looked at then.

    Broken off anywhere, it is completed by the same call: what bears a mark is not looked for again, and the last note
    is made of the marks themselves.
    """
    if all(open_table(settings, name) is None for name in tables.NAMES):
        raise UserError(
            f"There is neither bronze nor quarantine under {settings.lake.root}: nothing was looked at and nothing "
            "noted; set lake.root to the lake you mean."
        )
    places = tables.find(settings, wanted)
    bronze, quarantine = counts = [tables.left(settings, name, places).height for name in tables.NAMES]
    totals = [tables.marked(settings, name, request) for name in tables.NAMES]
    hours = timedelta(hours=settings.maintenance.vacuum_hours)
    if dry_run:
        return Report(request, dry_run, bronze, quarantine, totals[0], totals[1], None)
    note: dict[str, Any] = {"request": request, "erased_by": user, "reason": reason, "selector": wanted.selector.value}
    note |= {"fields": list(wanted.fields)}
    if any(counts):
        _note(settings, note | {"state": "BEGUN", "at": now}, counts, [None, None])
    versions: list[int | None] = []
    # Twice, for what a job's commit may have taken away meanwhile; with nothing left it only looks.
    for _ in range(2):
        versions = [tables.erase(settings, name, places, wanted, request, now) for name in tables.NAMES]
    totals = [tables.marked(settings, name, request) for name in tables.NAMES]
    done = datetime.now(UTC)
    if any(counts) or _last_total(settings, request) != totals:
        _note(settings, note | {"state": "DONE", "at": done}, totals, versions)
    gone = done + hours if any(counts) else None
    return Report(request, dry_run, bronze, quarantine, totals[0], totals[1], gone)


def _note(settings: Settings, note: dict[str, Any], counts: Sequence[int], versions: Sequence[int | None]) -> None:
    table = open_table(settings, "erasures")
    row = dict(zip(("bronze_records", "quarantine_records"), counts, strict=True))
    row_versions = dict(zip(("bronze_version", "quarantine_version"), versions, strict=True))
    append_version(settings, "erasures", [{**note, **row, **row_versions}], table.version() + 1 if table else 1, table)


def _last_total(settings: Settings, request: str) -> list[int] | None:
    """What the last note of the request's end says; None where it was not done, or begun again since."""
    rows = read(open_table(settings, "erasures"), "erasures").filter(pl.col("request") == request).sort("at")
    last = rows.tail(1).to_dicts()
    if not last or last[0]["state"] != "DONE":
        return None
    return [last[0]["bronze_records"], last[0]["quarantine_records"]]


def _pseudonyms(privacy: Privacy, value: str) -> list[str]:
    """What stands for a value, by each key of the settings."""
    return [pseudonym(name, key_bytes(privacy, name), value) for name in sorted(privacy.keys)]


def _values(file: Path) -> list[str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UserError(f"--value-file {file} cannot be read: {why}.") from error
    values = [line.strip() for line in lines if line.strip()]
    if not values:
        raise UserError(f"--value-file {file} is empty: write what is to be found, a value a line.")
    if short := [number for number, value in enumerate(values, 1) if len(value) < _SHORTEST]:
        raise UserError(
            f"--value-file {file}: value {short[0]} is shorter than {_SHORTEST} letters: it would be in many."
        )
    return values


def _show(report: Report) -> None:
    verb = "would be erased" if report.dry_run else "erased"
    say(
        f"Request {report.request}: {report.bronze_records:,} records of bronze and {report.quarantine_records:,} of "
        f"quarantine {verb}; {report.bronze_total:,} and {report.quarantine_total:,} bear its mark."
    )
    if report.files_gone_after is not None:
        say(
            f"Files of before go with the first `reco maintain` after {report.files_gone_after:%Y-%m-%d %H:%M}Z; "
            "topics, backups and the suppliers' outboxes keep theirs: docs/privacy.md."
        )


def _show_list(settings: Settings, as_json: bool) -> None:
    rows = read(open_table(settings, "erasures"), "erasures").sort("at").to_dicts()
    if as_json:
        print_json(rows)
        return
    columns = ["request", "state", "at", "erased_by", "reason", "selector", "bronze_records", "quarantine_records"]
    print_table("Erasures", columns, [[row[name] for name in columns] for row in rows])
