"""What the broker refuses, or we of the broker, is one sentence after a try or two; never a storm of tries."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest
import trustme
from confluent_kafka.admin import AclOperation, ResourceType  # type: ignore[attr-defined]

from jobs.cli.main import main
from jobs.ingest.heartbeats import BrokerAwayError, Partitions
from jobs.ingest.stopping import Stopping, Waits
from tests.alerts.support import routes_of
from tests.secure.broker import SecureBroker
from tests.secure.conftest import Make

READ, WRITE = AclOperation.READ, AclOperation.WRITE
#: A client that did not give up would make five to twenty a second.
TRIES = 8
HEARTBEAT = ("heartbeat", "--side", "supplier", "--once")
REFUSALS: dict[str, tuple[str, dict[str, Any], int, list[str]]] = {
    "wrong password": (
        "secure",
        {"password": "env:WRONG_PASSWORD"},
        2,
        ["does not let the user", "SCRAM-SHA-512", "invalid credentials", "env:WRONG_PASSWORD"],
    ),
    "expired certificate": ("expired", {}, 1, ["The certificate of the Kafka broker at", "has expired"]),
    "unknown CA": ("secure", {"ca_file": "OTHER"}, 2, ["signed by nobody whom we trust", "kafka.security.ca_file"]),
    "TLS where there is none": ("plain", {}, 1, ["no Kafka broker answers at", "is kafka.security right?"]),
    "no TLS where there is some": (
        "secure",
        {"protocol": "PLAINTEXT", "username": None, "password": None, "ca_file": None},
        1,
        ["no Kafka broker answers at", "is kafka.security right?"],
    ),
    "no certificate of ours": (
        "mutual",
        {"protocol": "SSL", "username": None, "password": None},
        2,
        ["does not take our certificate", "kafka.security.certificate_file"],
    ),
}


def refused(capsys: pytest.CaptureFixture[str], folder: Path, *words: str) -> tuple[int, str]:
    """Exit code, and the one sentence on stderr."""
    with pytest.raises(SystemExit) as ended:
        main([*words, "--settings", str(folder / "settings.yaml")])
    err = capsys.readouterr().err
    assert len(err.strip().splitlines()) == 1, err
    assert isinstance(ended.value.code, int)
    return ended.value.code, err


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.long) if " TLS " in f" {case} " else case for case in REFUSALS]
)
def test_a_refusal_is_one_sentence_and_no_storm(
    case: str,
    make: Make,
    secure: SecureBroker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    listener, security, code, words = REFUSALS[case]
    monkeypatch.setenv("WRONG_PASSWORD", "hunter2-wrong")
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    told = {key: str(tmp_path / "other.pem") if value == "OTHER" else value for key, value in security.items()}
    settings = make(listener=listener, **told)
    before, began = secure.failed_attempts(), time.monotonic()
    found, sentence = refused(capsys, tmp_path, *HEARTBEAT)
    assert found == code
    assert [word for word in [*words, settings.kafka.bootstrap_servers] if word not in sentence] == []
    assert "hunter2-wrong" not in sentence
    assert secure.failed_attempts() - before <= TRIES
    assert time.monotonic() - began < 30


def test_a_missing_acl_is_named_before_anything_is_read_or_sent(
    make: Make, secure: SecureBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = make("stream", "alerts")
    user, topics = settings.kafka.security.username, settings.topics
    routes_of(tmp_path)
    wanted = {
        ("stream", "--available-now"): (READ, ResourceType.TOPIC, topics.agoda_raw),
        ("stream", "--only", "match"): (WRITE, ResourceType.TOPIC, topics.results),
        ("alerts", "--ack", "I-1", "--by", "eva"): (READ, ResourceType.GROUP, settings.alerts.group),
    }
    for words, (operation, kind, name) in wanted.items():
        secure.forbid(user, (kind, name, operation))
        code, sentence = refused(capsys, tmp_path, *words)
        assert code == 1
        parts = (settings.kafka.bootstrap_servers, repr(user), operation.name, name, "ACLs", "docs/security.md")
        assert [part for part in parts if part not in sentence] == []
        secure.allow(user, (kind, name, operation))
    assert not (tmp_path / "lake").exists()
    code, sentence = refused(capsys, tmp_path, *HEARTBEAT)
    assert (code, f"WRITE the topic {topics.supplier_raw}" in sentence) == (1, True)


def test_what_is_taken_away_later_is_waited_for_without_knocking_all_the_time(
    make: Make, secure: SecureBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = make("heartbeat --side supplier")
    stopping, stopped = Stopping(), threading.Timer(2.5, lambda: stopping.ask())
    partitions = Partitions(settings)
    assert partitions.of(settings.topics.supplier_raw) == settings.topics.partitions
    secure.add_user(settings.kafka.security.username, "another-one")
    before = secure.failed_attempts()
    stopped.start()
    waits, tries = Waits(stopping.sleep), 0
    while not stopping.asked:
        with pytest.raises(BrokerAwayError, match="does not let the user"):
            partitions.of(settings.topics.supplier_raw)
        tries += 1
        waits.grow()
    assert tries <= 5
    assert tries <= secure.failed_attempts() - before <= 2 * tries
