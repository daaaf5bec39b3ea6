"""`reco maintain`: tables put in order beside the jobs that write them."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from jobs.common import log
from jobs.common.errors import UserError
from jobs.common.groups import parts_of
from jobs.common.options import AsJson, Debug, SettingsFile
from jobs.common.output import print_json, print_table, say
from jobs.common.settings import GROUPED, Settings, load_settings
from jobs.maintain.tidy import Report, tidy
from schemas.tables import TABLES


def command(
    table: Annotated[
        list[str] | None, typer.Option("--table", metavar="NAME", help="This table alone, like activity; repeatable.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; change nothing.")] = False,
    settings: SettingsFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Put small files together, bring keys together, remove old rows, logs and files, as the settings say.

    What a close is pinned to stays, and jobs may run meanwhile.

    Example: reco maintain --dry-run
    """
    log.configure(debug=debug)
    chosen = load_settings(settings)
    reports = maintain(chosen, datetime.now(UTC), table or list(TABLES), dry_run=dry_run)
    show(chosen, reports, dry_run, as_json)


def maintain(
    settings: Settings,
    now: datetime,
    names: Sequence[str] = tuple(TABLES),
    *,
    dry_run: bool = False,
    vacuum_hours: int | None = None,
) -> list[Report]:
    """Put these tables in order, as of `now`; those that are absent are left out. UserError for an unknown name.

    `vacuum_hours`: in place of the setting, where nothing else reads the lake.
    """
    unknown = [name for name in names if name not in TABLES]
    if unknown:
        raise UserError(f"--table {unknown[0]} is no table of the lake; there are {', '.join(sorted(TABLES))}.")
    parts = [(part, name) for part in parts_of(settings) for name in names if name in GROUPED]
    of_all = [(settings, name) for name in names] + parts
    found = [tidy(of, name, now, dry_run=dry_run, vacuum_hours=vacuum_hours) for of, name in of_all]
    return [report for report in found if report is not None]


def show(settings: Settings, reports: Sequence[Report], dry_run: bool, as_json: bool) -> None:
    """Print files and bytes before and after, per table."""
    if as_json:
        print_json({"dry_run": dry_run, "tables": [asdict(report) for report in reports]})
        return
    if not reports:
        say(f"There are no tables under {settings.lake.root} yet; nothing to do.")
        return
    columns = ["table", "files", "after", "bytes", "after", "stored", "after", "log files", "after", "rows expired"]
    rows = [
        [
            *[one.table, one.before.files, one.after.files, one.before.bytes, one.after.bytes],
            *[one.before.stored_bytes, one.after.stored_bytes, one.before.log_files, one.after.log_files],
            one.rows_expired,
        ]
        for one in reports
    ]
    if dry_run:
        columns = ["table", "files", "bytes", "partitions to rewrite", "files to remove", "bytes", "log files", "rows"]
        rows = [
            [
                *[one.table, one.before.files, one.before.bytes, one.partitions, one.files_removed],
                *[one.bytes_removed, one.log_files_removed, one.rows_expired],
            ]
            for one in reports
        ]
    print_table("Would be done" if dry_run else "Maintained", columns, rows)
    say(*[f"{one.table}: {note}." for one in reports for note in one.notes])
