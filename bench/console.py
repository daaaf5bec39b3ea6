"""`python -m bench.console`: each page's p50 and p95 with many users at once on a million exceptions, and the memory.

Users ask by token, each page in turn from a place of their own, so that at every moment they look at different pages;
between two pages each waits, as people read. Half of them see all suppliers, half see 40 of 200.
"""

import argparse
import asyncio
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

import httpx
import polars as pl
from deltalake import write_deltalake

from jobs.common.settings import Console, Lake, Settings
from jobs.console.users import Role, User, add_token, add_user
from tests.cli.lake_rows import put
from tests.console.lake import OURS, streamed
from tests.console.million import PAGES, SOME, a_million, large_lake

PORT = 28_089
RESULTS = Path(__file__).parent / "results" / "console.md"
#: Times that each page is asked for alone, to see what it costs.
ALONE = 5
_ALL = "all"


def main() -> None:
    """Make the lake, serve it, warm it, ask."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="reco-bench-", dir=options.folder) as folder:
        settings = _settings(Path(options.lake or folder), Path(folder))
        if not options.lake or not Path(settings.lake.root).exists():
            large_lake(settings)
        tokens = _users(settings)
        with _served(settings, Path(folder)) as console:
            try:
                load = os.getloadavg()[0]
                seconds, work = asyncio.run(_measure(settings, tokens, options, console.pid))
                text = _text(seconds, work, console.pid, options, load)
            finally:
                console.terminate()
    print(text)
    RESULTS.write_text(text)


def _settings(lake: Path, folder: Path) -> Settings:
    console = Console(users_file=folder / "users.yaml", audit_file=folder / "audit.jsonl", port=PORT)
    return Settings(lake=Lake(root=str(lake / "lake")), console=console)


def _users(settings: Settings) -> list[str]:
    path = settings.console.users_file
    for name, suppliers in (("all", None), ("some", SOME)):
        add_user(path, User(name=name, role=Role.ADMIN, suppliers=suppliers), "a long password")
    return [add_token(path, name, name) for name in ("all", "some")]


def _served(settings: Settings, folder: Path) -> "subprocess.Popen[bytes]":
    file, console = folder / "settings.yaml", settings.console
    files = {"users_file": str(console.users_file), "audit_file": str(console.audit_file), "port": PORT}
    file.write_text(json.dumps({"lake": {"root": settings.lake.root}, "console": files}))
    command = [sys.executable, "-m", "jobs.cli.main", "console", "--settings", str(file)]
    with (folder / "console.log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


async def _measure(
    settings: Settings, tokens: list[str], options: argparse.Namespace, pid: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds of each answer, and the console's own CPU seconds, which others on the machine do not change."""
    seconds: dict[str, list[float]] = defaultdict(list)
    work: dict[str, list[float]] = defaultdict(list)
    limits = httpx.Limits(max_connections=options.users, max_keepalive_connections=options.users)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{PORT}", timeout=120, limits=limits) as client:
        await _answers(client)

        async def ask(token: str, page: str) -> float:
            started = time.perf_counter()
            answer = await client.get(page, headers={"Authorization": f"Bearer {token}"})
            # Whoever is limited to suppliers is refused the system's page, and this one exception.
            assert answer.status_code == 200 or (token == tokens[1] and answer.status_code in (403, 404)), answer.text
            return time.perf_counter() - started

        async def user(number: int) -> None:
            token, patience = tokens[number % 2], random.Random(number)
            for step in range(options.rounds * len(PAGES)):
                page = PAGES[(step + number * 3) % len(PAGES)]
                seconds[page].append(await ask(token, page))
                await asyncio.sleep(options.think * patience.uniform(0.5, 1.5))

        for number in range(1 + ALONE):  # what is kept in memory is read with the first page that needs it
            for page in PAGES:
                for token in tokens:
                    before = _worked(pid)
                    await ask(token, page)
                    if number:
                        work[page].append(_worked(pid) - before)
        writers = [
            asyncio.create_task(_stream(settings, options.every)),
            asyncio.create_task(_close(settings, options.close)),
        ]
        before = _ticks(pid)
        await asyncio.gather(*(user(number) for number in range(options.users)))
        work[_ALL].append(_ticks(pid) - before)
        for writer in writers:
            writer.cancel()
    return seconds, work


async def _stream(settings: Settings, every: float) -> None:
    """Somebody writes an exception of the stream every so many seconds, as its micro-batches do."""
    number = 0
    while every:
        await asyncio.sleep(every)
        row = streamed(OURS, f"BK-bench-{time.time_ns()}-{number}", "STATUS_MISMATCH")
        await asyncio.to_thread(put, settings, "nrt_exceptions", [row])
        number += 1


async def _close(settings: Settings, after: float) -> None:
    """Once, everything is closed again: all exceptions are written anew, and none is as it was."""
    if after:
        await asyncio.sleep(after)
        rows = a_million().with_columns(severity=pl.lit("HIGH"))
        await asyncio.to_thread(write_deltalake, settings.table_path("exceptions"), rows, mode="overwrite")


def _worked(pid: int) -> float:
    """CPU seconds of the process's threads so far."""
    worked = 0
    for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            worked += int(thread.read_text().split()[0])
    return worked / 1e9


def _ticks(pid: int) -> float:
    """The same to the hundredth of a second, with that of threads that have ended."""
    told = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")


async def _answers(client: httpx.AsyncClient) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            await client.get("/sign-in")
        except httpx.TransportError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        else:
            return


def _text(
    seconds: dict[str, list[float]], work: dict[str, list[float]], pid: int, options: argparse.Namespace, load: float
) -> str:
    """A table of the pages, and what all of them took."""
    whole = statistics.quantiles([one for taken in seconds.values() for one in taken], n=100)
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    asked = (
        f"{options.users} users at once on {os.cpu_count()} cores, {options.think} s between two pages of one, a write "
        f"of the stream every {options.every} s; the machine's load before was {load:.1f}."
    )
    took = (
        f"All {sum(map(len, seconds.values())):,} answers: p50 {1000 * whole[49]:.0f} ms, "
        f"p95 {1000 * whole[94]:.0f} ms; {work[_ALL][0]:.1f} s CPU of the console while all asked; its peak memory "
        f"{int(peak.group(1)) / 2**20 if peak else float('nan'):.2f} GiB."
    )
    lines = [asked, "", took, "", "| page | p50 ms | p95 ms | CPU ms |", "|---|---:|---:|---:|"]
    for page, taken in seconds.items():
        cut = statistics.quantiles(taken, n=100)
        mean = statistics.mean(work[page])
        lines.append(f"| `{page[:60]}` | {1000 * cut[49]:.0f} | {1000 * cut[94]:.0f} | {1000 * mean:.0f} |")
    return "\n".join(lines) + "\n"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=20, help="at once")
    parser.add_argument("--think", type=float, default=1.0, help="seconds that each looks at a page; 0 for none")
    parser.add_argument("--rounds", type=int, default=5, help="times that each asks for every page")
    parser.add_argument(
        "--every", type=float, default=10.0, help="seconds between two writes of the stream; 0 for none"
    )
    parser.add_argument(
        "--close", type=float, default=0.0, help="seconds until all exceptions are written anew; 0 never"
    )
    parser.add_argument("--lake", default=None, help="a folder where the lake is kept for the next time")
    parser.add_argument("--folder", default=None, help="where the scratch data goes")
    return parser.parse_args()


if __name__ == "__main__":
    main()
