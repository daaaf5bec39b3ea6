"""Quarantined records go to their raw topic again, as they came, by whom may."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Consumer, TopicPartition

from jobs.cli.broker import Broker
from jobs.common.kafka import create_topics
from jobs.common.settings import Kafka, Settings, Topics
from jobs.console import redrive
from tests.cli.lake_rows import put
from tests.console.conftest import Ask, asking, make_users, serving, settings_of, sign_in
from tests.console.lake import AT, OURS, THEIRS, raw

TOPIC = "redrive.supplier.raw"
VALUE = b'{"supplierId": "SUP-OURS", "x": 1}'


def record(
    offset: int, value: bytes | None = VALUE, reason: str = "MISSING_FIELD:version", **more: Any
) -> dict[str, Any]:
    return {**raw("SUPPLIER", offset, value or b""), "topic": TOPIC, "value": value, "reasons": [reason], **more}


def quarantined(folder: Path) -> Settings:
    """A lake of which little but quarantine is there."""
    made = settings_of(folder).model_copy(update={"topics": Topics(supplier_raw=TOPIC)})
    theirs = b'{"supplierId": "SUP-THEIRS"}'
    headers = [{"key": "id", "value": b"given"}, {"key": "redriven", "value": b"before"}]
    put(made, "quarantine", [
        record(8), record(9, headers=headers), record(10, theirs), record(11, None),
        record(12, topic="another.topic"),
    ])  # fmt: skip
    return made


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return quarantined(tmp_path)


def sent_to(servers: str) -> list[Any]:
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "redrive", "fetch.wait.max.ms": 20})
    try:
        consumer.assign([TopicPartition(TOPIC, 0, 0)])
        return list(consumer.consume(2, timeout=30))
    finally:
        consumer.close()


def test_records_are_sent_as_they_came(settings: Settings, broker: Broker) -> None:
    told = settings.model_copy(update={"kafka": Kafka(bootstrap_servers=broker.bootstrap_servers)})
    create_topics(broker.bootstrap_servers, told)
    tokens = make_users(told)
    with serving(told) as url, asking(url, tokens) as ask:
        places = [f"{TOPIC}/0@{offset}" for offset in (8, 9)]
        done = ask("olga", "POST", "/api/v1/quarantine/redrive", json={"places": places})
        assert (done.status_code, done.json()) == (200, {"sent": 2})
        assert ask("ann", "GET", "/api/v1/audit").json()[0]["records"] == 2
    records = {dict(one.headers())["redriven"]: one for one in sent_to(broker.bootstrap_servers)}
    first, second = (records[place.encode()] for place in places)
    assert (first.key(), first.value(), first.partition()) == (b"k", VALUE, 0)
    assert first.timestamp()[1] == int(AT.timestamp() * 1000)
    # By its place, as the stream names an event that has no id: so twice is a redelivery.
    assert dict(first.headers())["id"] == f"{TOPIC}-0-8".encode()
    assert second.headers() == [("id", b"given"), ("redriven", places[1].encode())]


@pytest.mark.parametrize(
    ("name", "asked", "status", "says"),
    [
        ("vera", {"supplier": OURS}, 403, "viewer"),
        ("olga", {"supplier": THEIRS}, 409, "no such record"),
        ("olga", {"places": [f"{TOPIC}/0@10"]}, 409, "not for you"),
        ("ann", {"places": [f"{TOPIC}/0@11"]}, 409, "no content"),
        ("ann", {"places": ["another.topic/0@12"]}, 409, "no raw topic"),
        ("ann", {"reason": "NONE_SUCH"}, 409, "no such record"),
        ("ann", {}, 409, "Say which"),
    ],
)
def test_what_may_not_be_sent_is_not(refusing: Ask, name: str, asked: dict[str, Any], status: int, says: str) -> None:
    refused = refusing(name, "POST", "/api/v1/quarantine/redrive", json=asked)
    assert (refused.status_code, says in refused.json()["detail"]) == (status, True), refused.text


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    settings = quarantined(tmp_path_factory.mktemp("redrive"))
    tokens = make_users(settings)
    with serving(settings) as url, asking(url, tokens) as ask:
        yield ask


def test_a_broker_that_does_not_answer_is_named_and_the_form_needs_its_token(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redrive, "_SECONDS", 1)
    told = settings.model_copy(update={"kafka": Kafka(bootstrap_servers="127.0.0.1:1")})
    make_users(told)
    with serving(told) as url, httpx.Client(timeout=60, base_url=url) as client:
        sign_in(client, "olga")
        assert "Send all 3 again" in client.get(f"/quarantine?supplier={OURS}").text
        assert "Send all" not in client.get("/quarantine").text
        form = {"place": f"{TOPIC}/0@8"}
        assert client.post("/quarantine/redrive", data=form).status_code == 403
        csrf = client.get("/api/v1/me").json()["csrf"]
        failed = client.post("/quarantine/redrive", data={**form, "csrf": csrf})
        assert (failed.status_code, "1 of 1 records could not be sent" in failed.text) == (503, True)
