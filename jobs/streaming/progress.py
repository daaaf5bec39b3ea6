"""How far the queries are: from Spark's progress reports into the registry, and into a file beside the checkpoints."""

import json
import re
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from py4j.protocol import Py4JError, Py4JJavaError
from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from jobs.common import tables
from jobs.common.command import one_line
from jobs.common.log import get_logger
from jobs.common.metrics import REGISTRY
from jobs.common.progress_file import EVERY, progress_file
from jobs.common.settings import Settings
from jobs.streaming.groups import see_groups, this_process
from reco_rules.vocabulary import AnomalyType, Outcome, Side

log = get_logger(__name__)

_BEATS = "reco_newest_published_timestamp_seconds"
_SPARKS = re.compile(r"^\[STREAM_FAILED\] Query \[.*?\] terminated with exception: ")
_MODULE = re.compile(r"^(?:jobs\.common\.errors\.UserError: |[a-z_]\w*\.(?:\w+\.)*)")
_DROPPED = "reco_rows_dropped_by_watermark_total"


class Watch:
    """Looks at queries, as often as it is told to.

    Asked for the reports, not called with them (StreamingQueryListener): a listener's events come when they come, the
    last of them maybe after the job's end, and what goes wrong in it is lost. Spark keeps the last 100 reports of a
    query, many more than there are micro-batches from one look to the next.
    """

    def __init__(self, spark: SparkSession, settings: Settings) -> None:
        self._spark, self._settings = spark, settings
        self._followed: dict[str, _Followed] = {}
        REGISTRY.put("reco_start_timestamp_seconds", time.time())

    def look(self, queries: Sequence[StreamingQuery]) -> None:
        """Take over what is new. What goes wrong in it is logged, and leaves the queries alone."""
        for query in queries:
            try:
                run = str(query.runId)
                if run not in self._followed:
                    self._followed[run] = _Followed(self._spark, self._settings, query)
                self._followed[run].look()
            except (Py4JError, OSError) as error:
                log.warning("progress not told", query=query.name, why=one_line(error))


class _Followed:
    """One run of a query."""

    def __init__(self, spark: SparkSession, settings: Settings, query: StreamingQuery) -> None:
        self._spark, self._settings = spark, settings
        self._query, self._name = query, str(query.name)
        self._file = progress_file(settings, self._name)
        self._told_at, self._told_state = 0.0, ""
        earlier = self._earlier()
        self._seen, self._last = -1, int(earlier.get("batch", -1))
        # Counted on from run to run; a counter of Prometheus is not.
        self._told: dict[str, Any] = {"rows_dropped_by_watermark": earlier.get("rows_dropped_by_watermark", 0)}
        _begin(self._name)

    def look(self) -> None:
        """Take over what is new."""
        is_running = self._query.isActive  # asked first: of a query that has ended, no report comes after this
        failure = None if is_running else self._query.exception()
        state = "RUNNING" if is_running else "ENDED" if failure is None else "FAILED"
        for report in reversed(list(self._new())):
            self._take(report)
        REGISTRY.put("reco_query_running", int(is_running), query=self._name)
        is_news = state != self._told_state
        if is_news and failure is not None:
            log.error("query failed", query=self._name, batch=self._last + 1, why=why(failure))
        if is_news or (is_running and time.monotonic() - self._told_at >= EVERY):
            self._tell(state, failure)

    def _new(self) -> Iterator[dict[str, Any]]:
        """Reports not taken over yet, the newest first. One without `addBatch` says that there was nothing to do."""
        reports: Any = self._query._jsq.recentProgress()
        for index in range(len(reports) - 1, -1, -1):
            if reports[index].batchId() <= self._seen:
                return
            yield json.loads(str(reports[index].json()))

    def _take(self, report: dict[str, Any]) -> None:
        of = {"query": self._name}
        began = datetime.fromisoformat(report["timestamp"])
        if "addBatch" in report["durationMs"]:
            seconds = report["durationMs"]["triggerExecution"] / 1000
            ended = began + timedelta(seconds=seconds)
            self._seen = self._last = report["batchId"]
            self._told |= {"batch": self._last, "batch_ended_at": _iso(ended), "batch_seconds": seconds}
            REGISTRY.add("reco_query_batches_total", 1, **of)
            REGISTRY.add("reco_query_input_rows_total", report["numInputRows"], **of)
            REGISTRY.observe("reco_query_batch_duration_seconds", seconds, **of)
            REGISTRY.put("reco_query_last_batch_timestamp_seconds", ended.timestamp(), **of)
            dropped = sum(store["numRowsDroppedByWatermark"] for store in report["stateOperators"])
            self._told["rows_dropped_by_watermark"] += dropped
            if report["stateOperators"]:
                REGISTRY.add(_DROPPED, dropped)
                self._take_state(report["stateOperators"])
        watermark = datetime.fromisoformat(report.get("eventTime", {}).get("watermark", "1970-01-01T00:00:00Z"))
        if watermark.timestamp() > 0:
            self._told["watermark"] = _iso(watermark)
            REGISTRY.put("reco_watermark_timestamp_seconds", watermark.timestamp())
            self._take_lag(watermark)

    def _take_state(self, stores: list[dict[str, Any]]) -> None:
        found = {
            "state_rows": sum(store["numRowsTotal"] for store in stores),
            "state_memory_bytes": sum(store["memoryUsedBytes"] for store in stores),
            "state_disk_bytes": sum(store.get("customMetrics", {}).get("rocksdbSstFileSize", 0) for store in stores),
        }
        self._told |= found
        for name, value in found.items():
            REGISTRY.put(f"reco_{name}", value)

    def _take_lag(self, watermark: datetime) -> None:
        beats = [REGISTRY.value(_BEATS, side=side.value, kind="HEARTBEAT") for side in Side]
        newest = max((beat for beat in beats if beat is not None), default=None)
        if newest is not None:
            lag = max(round(newest - watermark.timestamp(), 3), 0.0)
            REGISTRY.put("reco_watermark_lag_seconds", lag)
            self._told["watermark_lag_seconds"] = lag

    def _earlier(self) -> dict[str, Any]:
        """What an earlier run of the same checkpoint told; nothing where there was none."""
        try:
            told: dict[str, Any] = json.loads(tables.read_text(self._spark, self._file))
        except (Py4JJavaError, ValueError):
            return {}
        return told if told.get("query_id") == str(self._query.id) else {}

    def _tell(self, state: str, failure: BaseException | None) -> None:
        """Write the file; where a write is interrupted, the next one mends it."""
        self._told_at, self._told_state = time.monotonic(), state
        if self._name == "gather":
            see_groups(self._settings)
        names = {"query": self._name, "query_id": str(self._query.id), "state": state}
        reason = None if failure is None else why(failure)
        told = {**self._told, **names, "why": reason, "told_at": _iso(datetime.now(UTC))}
        told["process"] = this_process()
        tables.write_text(self._spark, self._file, json.dumps(told) + "\n")


def why(error: BaseException) -> str:
    """What a query failed of, in one line: the error that Python raised in it, where there was one, else Spark's."""
    text = str(error)
    _, python, trace = text.rpartition("Traceback (most recent call last):")
    lines = [line for line in trace.splitlines() if line[:1].strip()] if python else []
    if len(lines) > 1 and "Py4JJavaError" in lines[0] and lines[1].startswith(": "):
        # It names a call of Py4J's; what Java says of it comes after that.
        lines = [lines[1].removeprefix(": ")]
    cause = lines[0] if lines else _SPARKS.sub("", text)
    return one_line(RuntimeError(_MODULE.sub("", cause)))


def _begin(query: str) -> None:
    """Counters that have not risen yet stand at 0, so that Prometheus sees them rise."""
    REGISTRY.add("reco_query_batches_total", query=query)
    REGISTRY.add("reco_query_input_rows_total", query=query)
    if query == "match":
        REGISTRY.add(_DROPPED)
        for outcome in Outcome:
            REGISTRY.add("reco_verdicts_total", outcome=outcome.value)
        for kind in AnomalyType:
            REGISTRY.add("reco_anomalies_total", anomaly_type=kind.value)
    elif query == "normalise":
        for side in Side:
            for what in ("EVENT", "HEARTBEAT", "QUARANTINE"):
                REGISTRY.add("reco_records_total", side=side.value, kind=what)


def _iso(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
