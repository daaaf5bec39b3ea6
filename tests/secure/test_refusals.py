"""What the broker refuses, or we of the broker, is one sentence after a try or two; never a storm of tries."""

import time
from pathlib import Path
from typing import Any

import pytest
import trustme

from jobs.cli.main import main
from tests.secure.broker import SecureBroker
from tests.secure.conftest import Make

#: A client that refused to give up would make ten a second.
TRIES = 4
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
    "TLS where there is none": ("plain", {}, 2, ["No Kafka broker answers at", "kafka.security"]),
    "no TLS where there is some": (
        "secure",
        {"protocol": "PLAINTEXT", "username": None, "password": None, "ca_file": None},
        2,
        ["No Kafka broker answers at", "kafka.security"],
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


@pytest.mark.parametrize("case", REFUSALS)
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
