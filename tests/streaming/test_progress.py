"""A query that fails says why, everywhere; one that is started again goes on counting."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import structlog
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from jobs.cli.main import main
from jobs.common import log, tables
from jobs.common.errors import UserError
from jobs.common.metrics import REGISTRY
from jobs.common.progress_file import progress_file, read_progress
from jobs.common.settings import Lake, Settings
from jobs.streaming.progress import Watch, why
from jobs.streaming.stopping import Stopping

_SPARKS = "[STREAM_FAILED] Query [id = 1-2, runId = 3-4] terminated with exception: "
_PYTHONS = "An exception was raised by the Python Proxy. Return Message: Traceback (most recent call last):\n"
_JAVAS = "py4j.protocol.Py4JJavaError: An error occurred while calling o86.collectToPython.\n: "
_FRAME = '  File "settle.py", line 1, in settle\n    raise\n    ^^^^^\n'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"{_SPARKS}Job aborted. SQLSTATE: 1\n=== Streaming Query ===", "Job aborted. SQLSTATE: 1"),
        (f"{_SPARKS}{_PYTHONS}{_FRAME}ValueError: no\nmore\n\n=== Streaming Query ===", "ValueError: no"),
        (f"{_PYTHONS}{_FRAME}pyspark.errors.captured.AnalysisException: [X] y.", "AnalysisException: [X] y"),
        (f"{_PYTHONS}{_FRAME}jobs.common.errors.UserError: Do this.", "Do this"),
        (f"{_PYTHONS}{_FRAME}KeyError: 'a'\n\nDuring this:\n\n{_PYTHONS}{_FRAME}OSError: last", "OSError: last"),
        (
            f"{_PYTHONS}{_FRAME}{_JAVAS}java.lang.ArithmeticException: long overflow\n\tat a.B(B.java:1)\nCaused by: d",
            "ArithmeticException: long overflow",
        ),
        (f"{_PYTHONS}{_FRAME}ValueError: password=hunter2", "ValueError: password=[hidden]"),
        ("", "RuntimeError"),
    ],
)
def test_the_reason_is_the_error_that_was_raised(text: str, reason: str) -> None:
    assert why(RuntimeError(text)) == reason


def test_a_failure_is_told_everywhere_and_counting_goes_on(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    structlog.reset_defaults()
    log.configure(as_json=True)
    settings = Settings(lake=Lake(root=str(tmp_path)))
    watch = Watch(spark, settings)

    def broken(_rows: DataFrame, _batch: int) -> None:
        raise ValueError("broken here")

    with pytest.raises(UserError, match=r"^The query match failed: ValueError: broken here\. Started again") as caught:
        Stopping(watch).wait([_start(spark, settings, broken)])
    assert caught.value.exit_code == 1
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    failed = [(line["query"], line["batch"], line["why"]) for line in lines if line["event"] == "query failed"]
    assert failed == [("match", 0, "ValueError: broken here")]
    assert REGISTRY.value("reco_query_running", query="match") == 0
    told = read_progress(settings, "match")
    assert told is not None
    assert (told["state"], told["why"], told["batch"]) == ("FAILED", "ValueError: broken here", None)

    file = progress_file(settings, "match")
    dropped = {**json.loads(tables.read_text(spark, file)), "rows_dropped_by_watermark": 3}
    tables.write_text(spark, file, json.dumps(dropped) + "\n")
    stopping = Stopping(watch)
    stopping.wait([_start(spark, settings, lambda _rows, _batch: None)])
    stopping.give_back()
    told = read_progress(settings, "match")
    assert told is not None
    assert (told["state"], told["why"], told["rows_dropped_by_watermark"]) == ("ENDED", None, 3)
    assert told["batch"] >= 0


@pytest.mark.parametrize("is_stopped", [False, True])
def test_what_a_run_did_is_one_document_at_its_end(
    spark: SparkSession,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    is_stopped: bool,
) -> None:
    monkeypatch.setenv("RECO_LAKE__ROOT", str(tmp_path))
    for name in ("claim", "stream_rights", "topic_partitions", "HourlySummary"):
        monkeypatch.setattr(f"jobs.streaming.main.{name}", lambda *_, **_more: SimpleNamespace(finish=lambda _: None))
    monkeypatch.setattr("jobs.streaming.main.spark_session", lambda *_: spark)

    def start(spark: SparkSession, settings: Settings, *_: object, **_more: object) -> StreamingQuery:
        query = _start(spark, settings, lambda _rows, _batch: None)
        if is_stopped:
            query.awaitTermination()
            os.kill(os.getpid(), signal.SIGTERM)
        return query

    monkeypatch.setattr("jobs.streaming.main.start_match", start)
    REGISTRY.add("reco_query_batches_total", 7, query="match")  # of an earlier run in this process
    with pytest.raises(SystemExit, match="0"):
        main(["stream", "--available-now", "--only", "match", "--json"])
    [told] = json.loads(capsys.readouterr().out)["queries"]
    assert (told["query"], type(told["rows"])) == ("match", int)
    assert 1 <= told["batches"] < 7


def _start(spark: SparkSession, settings: Settings, batch: Callable[[DataFrame, int], None]) -> StreamingQuery:
    writer = spark.readStream.format("rate").load().writeStream.queryName("match").foreachBatch(batch)
    checkpoint = f"{settings.stream.checkpoint_root}/match"
    return writer.option("checkpointLocation", checkpoint).trigger(availableNow=True).start()
