"""The service against a real broker: what it keeps, who leads, what a kill repeats, and a flood."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import Producer

from jobs.alerts.routes import read_routes
from jobs.alerts.service import Leader
from jobs.alerts.store import NotLeaderError, Store, ask_acknowledgement, ensure_topic
from jobs.cli.broker import Broker
from jobs.common.alerting import read_alerts
from jobs.common.errors import UserError
from jobs.common.settings import Settings, load_settings
from tests.alerts.support import FakeHttp, Request, change, make_topic, routes_of, send, wait_for

SKEW = "event times 25200.000 s apart, 900 s allowed"


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHttp]:
    monkeypatch.setenv("HOOK_SECRET", "s3cret")
    server = FakeHttp()
    yield server
    server.close()


@pytest.fixture
def place(tmp_path: Path, broker: Broker, hook: FakeHttp) -> Settings:
    """Settings, topics and routes of the test's own; routes go to `hook`."""
    name = tmp_path.name.replace("_", "-")
    data = {
        "kafka": {"bootstrap_servers": broker.bootstrap_servers},
        "lake": {"root": str(tmp_path / "lake")},
        "topics": {"results": f"{name}.results"},
        "alerts": {
            "routes": str(tmp_path / "alerts.yaml"),
            "topic": f"{name}.state",
            "group": name,
            "folder": str(tmp_path / "alerts"),
        },
    }
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(data))
    make_topic(broker.bootstrap_servers, f"{name}.results", 3)
    write_routes(tmp_path, hook)
    settings = load_settings(tmp_path / "settings.yaml")
    ensure_topic(settings)
    return settings


def write_routes(folder: Path, hook: FakeHttp, **parts: Any) -> None:
    group = {"wait": "1s", "interval": "1s", "repeat": "1h"}
    sink = {"kind": "webhook", "url": hook.url, "secret": "env:HOOK_SECRET", "timeout": "5s"}
    routes_of(folder, **{"group": group, "sinks": {"hook": sink}, **parts})


def start(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "jobs.cli.main", "alerts", "--settings", str(folder / "settings.yaml"), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ})


def end(*processes: subprocess.Popen[bytes]) -> None:
    for process in processes:
        process.kill()
        process.communicate()


def told(hook: FakeHttp) -> list[dict[str, Any]]:
    return [request.json for request in hook.requests]


def test_once_tells_what_is_there_and_nothing_twice(
    place: Settings, tmp_path: Path, broker: Broker, hook: FakeHttp
) -> None:
    changes = [change(f"P-{n}", explanation=SKEW) for n in range(40)]
    unreadable = [b"{", b'{"kind":"EXCEPTION"}', b'{"kind":"VERDICT"}', b"[]"]
    send(broker.bootstrap_servers, place.topics.results, [*changes, *changes, *unreadable])
    first = start(tmp_path, "--once", "--json")
    out, _ = first.communicate(timeout=90)
    assert first.returncode == 0
    assert json.loads(out)["sent"] == {"hook": 1}
    assert [one["title"] for one in told(hook)] == ["SUP-007: 40 activities, all 7 h apart: time zone?"]
    second = start(tmp_path, "--once", "--json")
    out, _ = second.communicate(timeout=90)
    assert (second.returncode, json.loads(out)["sent"]) == (0, {"hook": 0})
    status = read_alerts(place)
    assert status is not None
    assert (status["open"], status["incidents"], status["sinks"][0]["why"]) == (40, 1, None)


def test_a_kill_loses_nothing_repeats_at_most_one_and_another_takes_over(
    place: Settings, tmp_path: Path, broker: Broker, hook: FakeHttp
) -> None:
    """Killed while the sink holds a message: the second instance tells the rest within 30 s of the kill."""
    ids = iter(range(1000))
    hold = [True]

    def slow(_request: Request) -> tuple[int, dict[str, str], bytes]:
        if next(ids) >= 2:
            while hold[0]:
                time.sleep(0.02)
        return 200, {}, b"{}"

    hook.answer = slow
    write_routes(tmp_path, hook, flood=50)
    leading = start(tmp_path)
    standby: list[subprocess.Popen[bytes]] = []
    try:
        wait_for(lambda: read_alerts(place) is not None, 60, "leader")
        standby.append(start(tmp_path))
        send(broker.bootstrap_servers, place.topics.results, [change(f"A-{n}", supplier=f"S-{n}") for n in range(6)])
        wait_for(lambda: next(ids) >= 3 if len(hook.requests) == 2 else False, 60, "third message on its way")
        os.kill(leading.pid, signal.SIGKILL)
        killed, hold[0] = time.monotonic(), False
        suppliers = {f"S-{n}" for n in range(6)}
        wait_for(lambda: {s for one in told(hook) for s in one["suppliers"]} == suppliers, 60, "all told")
        assert time.monotonic() - killed < 30
        # Until it has noted the last one too.
        wait_for(lambda: all(one["told"] for one in (read_alerts(place) or {})["largest"]), 30, "all noted")
        counts = Counter(request.headers["idempotency-key"] for request in hook.requests)
        assert len(counts) == 6
        assert sum(counts.values()) <= 7
    finally:
        end(leading, *standby)


def test_a_flood_of_100_000_is_a_handful_of_messages(
    place: Settings, tmp_path: Path, broker: Broker, hook: FakeHttp
) -> None:
    """Read, grouped, noted and told in well under a minute, and loaded again whole."""
    count = 100_000 if os.environ.get("RECO_TEST_FLOOD") else 20_000
    changes = [
        change(f"F-{n}", "PRICE_MISMATCH", f"SUP-{n % 200:03}", explanation="", amount="2.50") for n in range(count)
    ]
    send(broker.bootstrap_servers, place.topics.results, changes)
    write_routes(tmp_path, hook)
    routes = routes_of(
        tmp_path,
        group={"wait": "1s", "interval": "1s"},
        sinks={"hook": {"kind": "webhook", "url": hook.url, "secret": "env:HOOK_SECRET"}},
    )
    began = time.monotonic()
    leader = lead(place, routes)
    while not (leader.results.is_caught_up and hook.requests and leader.is_done):
        leader.step(0.05)
        assert time.monotonic() - began < 60
    print(f"{count} breaks: {time.monotonic() - began:.1f} s, {len(hook.requests)} messages")
    assert len(hook.requests) <= 6
    assert told(hook)[-1]["breaks"] == count
    assert told(hook)[-1]["amountAtRiskUsd"] == f"{count * 5 // 2}"
    leader.close()
    leader._store.close()
    again = lead(place, routes)
    assert len(again.state.breaks) == count
    again.close()
    again._store.close()


def lead(settings: Settings, routes: Any) -> Leader:
    store = Store(settings)
    assert store.wait(30)
    return Leader(settings, routes, store)


def test_who_is_shut_out_writes_no_more(place: Settings, tmp_path: Path, broker: Broker, hook: FakeHttp) -> None:
    """A leader that was only away, not dead, finds out when it wants to write, and has sent nothing."""
    old = lead(place, routes_of(tmp_path))
    usurper = Producer({"bootstrap.servers": broker.bootstrap_servers, "transactional.id": place.alerts.group})
    usurper.init_transactions(30)
    send(broker.bootstrap_servers, place.topics.results, [change("A")])

    def is_shut_out() -> bool:
        try:
            old.step(0.1)
        except NotLeaderError:
            return True
        return False

    wait_for(is_shut_out, 30, "end of leading")
    assert old.desk.sent == {"hook": 0}
    old.close()
    old._store.close()


def test_an_acknowledgement_reaches_the_leader(place: Settings, broker: Broker, hook: FakeHttp) -> None:
    leader = lead(place, read_routes(place.alerts.routes))
    send(broker.bootstrap_servers, place.topics.results, [change("A")])
    wait_for(lambda: _stepped(leader) and len(hook.requests) == 1, 30, "message")
    for incident in (told(hook)[0]["id"], "no-such-incident"):
        ask_acknowledgement(place, incident, "Ann")
    wait_for(lambda: _stepped(leader) and len(hook.requests) == 2, 30, "second message")
    assert told(hook)[1]["action"] == "acknowledge"
    leader.close()
    leader._store.close()
    again = lead(place, read_routes(place.alerts.routes))
    assert [one.acknowledged_by for one in again.state.incidents.values()] == ["Ann"]
    assert again.state.asked == {}
    again.close()
    again._store.close()


def _stepped(leader: Leader) -> bool:
    leader.step(0.05)
    return True


def test_a_topic_of_another_shape_is_refused(place: Settings, broker: Broker) -> None:
    name = f"{place.alerts.topic}.wide"
    make_topic(broker.bootstrap_servers, name, 2)
    wrong = place.model_copy(update={"alerts": place.alerts.model_copy(update={"topic": name})})
    with pytest.raises(UserError, match="more than one partition"):
        ensure_topic(wrong)
