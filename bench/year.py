"""`python -m bench.year`: the close and the console over a maintained year of small days, beside a lake of one day.

Both lakes (bench/year_lake.py) get the same days more, which are closed in turn, and each has a console that is asked
in turn. Processor time (user and system) is what counts: seconds by the clock depend on what else the machine does.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import httpx
import polars as pl

from bench.console import PORT, _served, _ticks, _users, _worked
from bench.engines import measured
from bench.year_lake import add_day, day_of, grow, over
from jobs.common.engines.choice import EngineName, session_for
from jobs.common.lake import open_table, scan
from jobs.common.settings import Console, Lake, Settings
from jobs.daily.close import close_day

PAGES = (
    "/", "/exceptions", "/exceptions?sort=severity", "/exceptions?sort=since&order=asc", "/exceptions?q=00",
    "/exceptions?supplier=SUP-007", "/closes", "/closes/{close}", "/quarantine", "/suppliers", "/suppliers/SUP-007",
    "/system",
)  # fmt: skip
#: Consoles that are started for each lake.
STARTS = 2
RESULTS = Path(__file__).parent / "results" / "year.json"
Found = dict[str, dict[str, list[float]]]


def main() -> None:
    """Grow both lakes, measure, print the table and keep it."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="reco-year-", dir=options.folder) as scratch:
        lakes = {
            1: _at(Path(scratch) / "day"),
            options.days: _at(Path(options.lake or scratch) / "year"),
        }
        for days, settings in lakes.items():
            if open_table(settings, "closes") is None:
                grow(settings, days, options.activities)
        known = {days: _closes_of(settings) for days, settings in lakes.items()}
        found = closes(lakes, known, options.activities, options.rounds, options.engines) if options.rounds else {}
        _keep(found, options)
        if options.pages:
            _keep(found | consoles(lakes, Path(scratch), options.pages), options)


def _at(root: Path) -> Settings:
    return Settings(lake=Lake(root=str(root / "lake")))


def _closes_of(settings: Settings) -> int:
    table = open_table(settings, "closes")
    assert table is not None
    return int(scan(table).select(pl.len()).collect().item())


def _last_close(settings: Settings) -> str:
    table = open_table(settings, "closes")
    assert table is not None
    return str(scan(table).sort("reco_date", "revision").select(pl.col("close_id").last()).collect().item())


def closes(
    lakes: dict[int, Settings], known: dict[int, int], activities: int, rounds: int, engines: Sequence[str]
) -> Found:
    """Processor seconds of closes of further days: within a process that has made some, and of whole processes."""
    found: Found = defaultdict(lambda: defaultdict(list))
    for number in range(rounds + 2):
        for days, settings in lakes.items():
            place = known[days]
            add_day(settings, place, activities)
            started = time.process_time()
            with session_for("year", settings, EngineName.DUCKDB) as session:
                close_day(session, settings, day_of(place), over(place))
            if number >= 2:  # the first two warm up
                _note(found, str(days), "close, DuckDB, in a process that runs", time.process_time() - started)
            known[days] += 1
    for engine in engines:
        command = [sys.executable, "-m", "jobs.cli.main", "daily", "--engine", engine, "--json", "--date"]
        for _ in range(rounds):
            for days, settings in lakes.items():
                add_day(settings, known[days], activities)
                taken, _ = measured([*command, str(day_of(known[days]))], settings.lake.root)
                _note(found, str(days), f"close, {engine}, as a whole process", taken.cpu)
                known[days] += 1
    return found


def consoles(lakes: dict[int, Settings], folder: Path, rounds: int) -> Found:
    """Processor seconds until a console answers, of each page when it is asked for first, and later."""
    found: Found = defaultdict(lambda: defaultdict(list))
    for number in range(STARTS):
        for days, settings in lakes.items():
            last = _last_close(settings)
            there = folder / f"console-{days}-{number}"
            there.mkdir()
            users = Console(users_file=there / "users.yaml", audit_file=there / "audit", port=PORT)
            told = settings.model_copy(update={"console": users})
            asyncio.run(_asked(told, there, last, rounds, partial(_note, found, str(days))))
    return found


async def _asked(settings: Settings, folder: Path, last: str, rounds: int, note: Callable[[str, float], None]) -> None:
    token, url = _users(settings)[0], f"http://127.0.0.1:{PORT}"
    started = time.monotonic()
    with _served(settings, folder) as process:
        try:
            headers = {"Authorization": f"Bearer {token}"}
            async with httpx.AsyncClient(base_url=url, timeout=120, headers=headers) as client:
                while True:
                    assert time.monotonic() < started + 900  # as busy as the machine may be
                    try:
                        await client.get("/sign-in")
                        break
                    except httpx.TransportError:
                        await asyncio.sleep(0.05)
                note("console, until it answers", _ticks(process.pid))
                for number in range(rounds + 1):
                    for page in PAGES:
                        before = _worked(process.pid)
                        answer = await client.get(page.format(close=last))
                        assert answer.status_code == 200, f"{page}: {answer.text[:300]}"
                        if number:
                            note(f"console, {page}", _worked(process.pid) - before)
                    if not number:
                        note("console, until it answers and has shown each page once", _ticks(process.pid))
        finally:
            process.terminate()


def _note(found: Found, days: str, what: str, seconds: float) -> None:
    found[what][days].append(round(seconds, 4))


def _keep(found: Found, options: argparse.Namespace) -> None:
    one, year = "1", str(options.days)
    lines = [f"| processor time | one day | {year} days | × |", "|---|---:|---:|---:|"]
    for what, taken in found.items():
        young, old = (statistics.median(taken[days]) for days in (one, year))
        lines.append(f"| {what} | {1000 * young:,.0f} ms | {1000 * old:,.0f} ms | {old / young:.2f} |")
    print("\n".join(lines))
    kept = (
        json.loads(RESULTS.read_text())["seconds"] if RESULTS.exists() else {}
    )  # what is measured now replaces its own
    told = {"activities a day": options.activities, "load": os.getloadavg()[0], "seconds": kept | found}
    RESULTS.write_text(json.dumps(told, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--activities", type=int, default=200, help="a day and side")
    parser.add_argument("--rounds", type=int, default=9, help="closes of each kind over each lake; 0 for none")
    parser.add_argument("--pages", type=int, default=15, help="times that each page is asked for; 0 for none")
    parser.add_argument("--engines", nargs="*", default=["duckdb"], choices=["duckdb", "spark"], help="whole processes")
    parser.add_argument("--lake", default=None, help="a folder where the year is kept for the next time")
    parser.add_argument("--folder", default=None, help="where the scratch data goes")
    return parser.parse_args()


if __name__ == "__main__":
    main()
