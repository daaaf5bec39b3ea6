"""`reco poll` as it is typed: exit codes, several suppliers, one at a time, signals, memory, what is told of it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from typer.testing import CliRunner
from werkzeug import Response

from jobs.cli import status
from jobs.cli.main import main
from jobs.common import log
from jobs.common.errors import UserError
from jobs.common.polling import file_of, read_polled
from jobs.ingest.polling.config import read_supplier
from jobs.ingest.polling.main import _broker_is_there, run
from jobs.ingest.polling.state import locked
from jobs.ingest.publisher import Outgoing, Publisher, Refused
from tests.ingest.polling.servers import endless, server
from tests.ingest.polling.support import Rig, row
from tests.scrape import free_port, scrape
from tests.streaming.feed import wait_for

FEED = {"kind": "cursor", "param": "after", "next": "next"}
SINCE = {"kind": "updated_since", "param": "since", "updated": "at"}


@pytest.fixture
def typed(rig: Rig, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs `reco poll` here: exit code, stdout, stderr."""

    def run_it(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(["poll", "--settings", str(rig.settings_file()), *words])
        told = capsys.readouterr()
        return int(str(end.value.code)), told.out, told.err

    return run_it


def test_history_is_published_as_of_its_changes(
    rig: Rig, httpserver: HTTPServer, typed: Callable[..., tuple[int, str, str]]
) -> None:
    items = [row(1, at="2026-03-09T10:00:00.123Z"), row(2, at="2099-01-01T00:00:00Z"), row(3)]
    items.append(row(4, at="0001-01-01T00:00:00Z"))
    httpserver.expect_request("/x").respond_with_json({"items": items})
    rig.file(httpserver.url_for("/x"), "OLD", paging=SINCE)
    before = time.time() - 1
    assert typed("--once", "--backfill")[0] == 0
    stamps = {json.loads(record.value)["n"]: record.stamp for record in rig.published()}
    assert stamps[1] == 1773050400123
    # A time that is still to come, or none, is no time of a record; nor is .NET's word for none.
    assert all(before < stamps[number] / 1000 <= time.time() for number in (2, 3, 4))


def test_history_without_times_is_refused(rig: Rig, typed: Callable[..., tuple[int, str, str]]) -> None:
    rig.file("http://127.0.0.1:1/x", "FEED", paging=FEED)
    code, _, err = typed("--once", "--backfill")
    assert code == 2
    assert "--backfill: the items of 'FEED' bear no time" in err


def test_each_supplier_is_polled_and_those_that_failed_are_named(
    rig: Rig, httpserver: HTTPServer, typed: Callable[..., tuple[int, str, str]]
) -> None:
    httpserver.expect_request("/x").respond_with_json({"items": [row(1), row(2)]})
    httpserver.expect_request("/bad").respond_with_data("", 403)
    rig.file(httpserver.url_for("/x"), "GOOD")
    rig.file(httpserver.url_for("/bad"), "BAD")
    code, out, err = typed("--once")
    assert code == 1
    assert "'BAD' FAILED: http" in out
    assert '"event": "poll failed"' in err
    assert rig.numbers() == [1, 2]
    code, out, _ = typed("--once", "--supplier", "GOOD", "--json")
    assert code == 0
    (told,) = json.loads(out)
    assert (told["supplier"], told["is_end"], told["why"]) == ("GOOD", True, None)
    assert told["tally"] == {"pages": 1, "published": 2, "unchanged": 0, "refused": 0}


def test_wrong_usage(rig: Rig, typed: Callable[..., tuple[int, str, str]]) -> None:
    code, _, err = typed("--once")
    assert (code, "There is no supplier's file" in err) == (2, True)
    rig.file("http://127.0.0.1:1/x", itms="y")
    code, _, err = typed("--once")
    assert (code, "SUP-1.yaml:1: itms: unknown key; did you mean items?" in err) == (2, True)
    rig.file("http://127.0.0.1:1/x")
    code, _, err = typed("--once", "--supplier", "NOBODY")
    assert (code, "describes the supplier 'NOBODY'" in err) == (2, True)
    assert rig.settings.topics.supplier_raw
    rig.settings = rig.settings.model_copy(
        update={"topics": rig.settings.topics.model_copy(update={"supplier_raw": "nowhere"})}
    )
    code, _, err = typed("--once")
    assert (code, "There is no topic nowhere" in err) == (2, True)


@pytest.mark.parametrize(
    ("paging", "to", "code", "said"),
    [
        (FEED, "start", 0, "goes on from start"),
        (FEED, "cursor:c9", 0, "goes on from cursor:c9"),
        (FEED, "2026-03-01T00:00:00Z", 2, "is read by cursor; give start, or cursor:VALUE"),
        (SINCE, "2026-03-01T00:00:00Z", 0, "goes on from 2026"),
        (SINCE, "yesterday", 2, "give a time with its offset"),
        (SINCE, "2999-01-01T00:00:00Z", 2, "lies in the future"),
        ({"kind": "page"}, "start", 2, "is read whole in each poll"),
    ],
)
def test_the_place_can_be_set(
    rig: Rig, typed: Callable[..., tuple[int, str, str]], paging: Any, to: str, code: int, said: str
) -> None:
    rig.file("http://127.0.0.1:1/x", paging=paging)
    found, out, err = typed("--supplier", "SUP-1", "--reset-to", to)
    assert found == code
    assert said in out + err
    if code == 0:
        _, out, _ = typed("--supplier", "SUP-1", "--reset-to", to, "--json")
        assert json.loads(out) == {"supplier": "SUP-1", "goes_on_from": to}
    else:
        assert not file_of(Path(rig.settings.poll.state), "SUP-1", ".json").exists()
    assert typed("--reset-to", "start")[0] == 2


def test_it_goes_on_from_the_place_that_was_set(
    rig: Rig, httpserver: HTTPServer, typed: Callable[..., tuple[int, str, str]]
) -> None:
    httpserver.expect_request("/f", query_string={"after": "c9"}).respond_with_json({"items": [row(1)], "next": None})
    rig.file(httpserver.url_for("/f"), paging=FEED)
    file_of(Path(rig.settings.poll.state), "SUP-1", ".json").parent.mkdir()
    file_of(Path(rig.settings.poll.state), "SUP-1", ".json").write_text("damaged")
    assert typed("--once")[0] == 1
    assert typed("--supplier", "SUP-1", "--reset-to", "cursor:c9")[0] == 0
    assert typed("--once")[0] == 0
    assert rig.numbers() == [1]
    httpserver.expect_request("/s", query_string={"since": "2026-02-28T23:55:00.000Z"}).respond_with_json({"items": []})
    rig.file(httpserver.url_for("/s"), "SUP-2", paging=SINCE)
    assert typed("--supplier", "SUP-2", "--reset-to", "2026-03-01T07:00:00+07:00")[0] == 0
    assert typed("--once", "--supplier", "SUP-2")[0] == 0


def test_a_supplier_is_polled_by_one_process_at_a_time(
    rig: Rig, typed: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.ingest.polling.state._LOCK_SECONDS", 0.1)
    rig.file("http://127.0.0.1:1/x")
    with locked(Path(rig.settings.poll.state), "SUP-1"):
        code, _, err = typed("--once")
    assert (code, "'SUP-1' is being polled already" in err) == (2, True)


@pytest.mark.parametrize("name", ["a/b", "..", "", "SUP 1", "ร้าน" * 30, "x" * 128, "a.b"])
def test_any_supplier_has_a_file_of_its_own(tmp_path: Path, name: str) -> None:
    file = file_of(tmp_path, name, ".json")
    assert file.parent == tmp_path
    file.write_text("")
    others = ["a%2Fb", "SUP+1", "ร้าน" * 29, "x" * 127, "a%2Eb"]
    assert file not in [file_of(tmp_path, other, ".json") for other in others if other != name]


def test_a_slow_and_a_broken_supplier_hold_nobody_up_and_all_is_told(rig: Rig, httpserver: HTTPServer) -> None:
    rows = [row(1)]
    httpserver.expect_request("/x").respond_with_handler(lambda _: _json({"items": rows}))
    httpserver.expect_request("/bad").respond_with_data("<html>")
    port = free_port()
    with server(endless(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n", 0.1)) as slow:
        for url, name in ((httpserver.url_for("/x"), "GOOD"), (httpserver.url_for("/bad"), "BAD"), (slow, "SLOW")):
            rig.file(url, name, every="1s")
        with _child(rig, RECO_POLL__METRICS_PORT=str(port)) as child:
            wait_for(lambda: len(rig.published()) == 1, 60, "record")
            wait_for(lambda: _circuits(rig).get("BAD") == "OPEN", 120, "open circuit")
            rows.append(row(2))
            wait_for(lambda: len(rig.published()) == 2, 60, "second record")
            measured = scrape(port)
            assert measured['reco_poll_suppliers{circuit="OPEN"}'] == 1
            assert measured['reco_poll_suppliers{circuit="CLOSED"}'] == 2
            assert measured['reco_poll_records_total{kind="PUBLISHED"}'] == 2
            assert measured['reco_poll_records_total{kind="UNCHANGED"}'] >= 1
            assert measured["reco_poll_oldest_success_timestamp_seconds"] > 1e9
            by_name = {told["supplier"]: told for told in read_polled(rig.settings)}
            assert all(told["running"] for told in by_name.values())
            assert isinstance(by_name["GOOD"]["last_success_at"], datetime)
            child.send_signal(signal.SIGTERM)
            assert child.wait(20) == 0
    assert not any(told["running"] for told in read_polled(rig.settings))
    shown = CliRunner().invoke(status.app, ["--settings", str(rig.settings_file()), "--wait", "0"])
    assert "THE POLL OF 'BAD' FAILED: Its answer is not JSON at byte 0" in shown.stdout
    assert "The suppliers' APIs by their last poll" in shown.stdout
    read = CliRunner().invoke(status.app, ["--settings", str(rig.settings_file()), "--wait", "0", "--json"])
    assert {told["supplier"]: told["circuit"] for told in json.loads(read.stdout)["polled"]}["BAD"] == "OPEN"


def test_what_was_told_and_cannot_be_read_is_named(rig: Rig) -> None:
    file = file_of(Path(rig.settings.poll.state), "SUP-1", ".status")
    file.parent.mkdir()
    file.write_text("{")
    with pytest.raises(UserError, match=r"SUP-1\.status cannot be read"):
        read_polled(rig.settings)


def test_an_endless_answer_is_refused_in_little_memory(rig: Rig) -> None:
    piece = b"8000\r\n" + b'{"activityId":"x"},'.ljust(0x8000) + b"\r\n"
    head = b'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nb\r\n{"items": [\r\n'
    # 500 MB, if anybody would read so far; the largest answer that is read at all is 32 MB.
    with server(endless(head, piece, 0, 500 * 2**20 // 0x8000)) as url:
        rig.file(url, max_bytes="32MB")
        with _child(rig, "--once") as child:
            peak = _peak_kib(child)
    assert child.returncode == 1
    assert "larger than max_bytes" in read_polled(rig.settings)[0]["why"]
    assert peak < 300 * 1024, f"{peak} KiB"


def test_the_largest_answer_is_published_in_bounded_memory(rig: Rig) -> None:
    filler = "x" * 40_000
    rows = [row(number, text=filler) for number in range(800)]
    body = json.dumps({"items": rows}).encode()
    assert len(body) > 30 * 2**20
    head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    with server(lambda connection: connection.sendall(head + body)) as url:
        rig.file(url, max_bytes="32MB")
        with _child(rig, "--once") as child:
            peak = _peak_kib(child)
    assert child.returncode == 0
    assert rig.numbers() == list(range(800))
    assert peak < 300 * 1024, f"{peak} KiB"


def test_a_fault_of_ours_with_one_supplier_leaves_the_others_alone(
    rig: Rig, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    httpserver.expect_request("/x").respond_with_json({"items": [row(1)]})
    monkeypatch.setattr("jobs.ingest.polling.poller.poll", lambda _: 1 / 0)
    poller = rig.poller(httpserver.url_for("/x"))
    assert "The poller failed: ZeroDivisionError" in str(poller.poll_once().why)
    monkeypatch.undo()
    assert poller.poll_once().why is None


def test_while_the_broker_is_away_it_waits_and_its_place_does_not_move(
    rig: Rig, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    httpserver.expect_request("/x").respond_with_json({"items": [row(1)], "next": "c1"})
    api = read_supplier(rig.file(httpserver.url_for("/x"), paging=FEED))
    away = rig.settings.model_copy(
        update={"kafka": rig.settings.kafka.model_copy(update={"bootstrap_servers": "127.0.0.1:1"})}
    )
    is_publishing = threading.Event()

    class Watched(Publisher):
        def publish(self, records: Sequence[Outgoing], meanwhile: Callable[[], None] | None = None) -> list[Refused]:
            is_publishing.set()
            return super().publish(records, meanwhile)

    monkeypatch.setattr("jobs.ingest.polling.deliver.Publisher", Watched)
    thread = threading.Thread(target=run, args=(away, [api], rig.stop))
    thread.start()
    assert is_publishing.wait(60)
    rig.stop.set()
    thread.join(20)
    assert not thread.is_alive()
    assert len(httpserver.log) == 1
    assert not file_of(Path(rig.settings.poll.state), "SUP-1", ".json").exists()


def test_a_broker_that_is_not_there_yet_is_waited_for(
    rig: Rig, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.ingest.polling.main._PATIENCE_SECONDS", 0.2)
    away = rig.settings.model_copy(
        update={"kafka": rig.settings.kafka.model_copy(update={"bootstrap_servers": "127.0.0.1:1"})}
    )
    log.configure(as_json=True)
    said: list[str] = []
    found: list[bool] = []

    def tried_thrice() -> bool:
        said.append(capsys.readouterr().err)
        return "".join(said).count('"waiting"') >= 3

    thread = threading.Thread(target=lambda: found.append(_broker_is_there(away, rig.stop)))
    thread.start()
    try:
        wait_for(tried_thrice, 60, "waiting")
    finally:
        rig.stop.set()
        thread.join(20)
    assert found == [False]
    assert "no Kafka broker answers at 127.0.0.1:1" in "".join(said)


def _json(value: Any) -> Any:
    return Response(json.dumps(value))


def _circuits(rig: Rig) -> dict[str, str]:
    return {told["supplier"]: told["circuit"] for told in read_polled(rig.settings)}


def _child(rig: Rig, *words: str, **more: str) -> "subprocess.Popen[bytes]":
    log = Path(rig.settings.poll.state).parent / "poll.log"
    command = [sys.executable, "-m", "jobs.cli.main", "poll", "--settings", str(rig.settings_file()), *words]
    with log.open("ab") as out:
        return subprocess.Popen(command, env={**os.environ, **more}, stdout=out, stderr=out)


def _peak_kib(child: "subprocess.Popen[bytes]") -> int:
    """The most memory it had resident, once it has ended; what `wait4` tells has the memory of us who forked it."""
    peak = 0
    while child.poll() is None:
        with suppress(OSError):
            lines = Path(f"/proc/{child.pid}/status").read_text().splitlines()
            peak = max(peak, *(int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)
        time.sleep(0.02)
    return peak
