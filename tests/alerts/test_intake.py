"""What comes on the topic of results, as anybody might put it there: taken whole or not at all."""

import json
from typing import Any

import pytest

from jobs.alerts.intake import read_change
from tests.alerts.support import change, message_of

GOOD = json.loads(message_of(change("A")))
HOSTILE: list[tuple[str, Any]] = [
    ("activityId", 5),
    ("activityId", "x" * 129),
    ("activityId", "\ud800"),
    ("supplierId", ["SUP"]),
    ("supplierId", ""),
    ("supplierId", "x" * 129),
    ("exceptionId", "x" * 257),
    ("anomalyType", "PRICE\r\nBcc: x@evil.example"),
    ("state", "HELD"),
    ("state", "open"),
    ("heldBy", 1),
    ("severity", {}),
    ("explanation", 7),
    ("amountAtRiskUsd", "NaN"),
    ("amountAtRiskUsd", float("nan")),
    ("amountAtRiskUsd", float("inf")),
    ("amountAtRiskUsd", "ten"),
    ("amountAtRiskUsd", True),
    ("amountAtRiskUsd", {}),
    ("amountAtRiskUsd", "1e999999"),
]


@pytest.mark.parametrize(("name", "value"), HOSTILE, ids=repr)
def test_a_message_out_of_shape_is_refused_without_its_text(name: str, value: Any) -> None:
    """Any of these, taken, would end the service at each start, since it is read again."""
    with pytest.raises(ValueError, match=name) as refused:
        read_change(json.dumps({**GOOD, name: value}).encode())
    assert len(str(refused.value)) < 200
    assert "evil" not in str(refused.value)


@pytest.mark.parametrize(
    "value", [None, b"", b"{", b"[]", b"7", b"\xff\xfe", b"[" * 100_000, b'{"kind":"EXCEPTION"}', b'{"kind":"?"}']
)
def test_what_is_no_message_is_refused(value: bytes | None) -> None:
    with pytest.raises((ValueError, RecursionError)):
        read_change(value)


def test_a_verdict_is_none_of_our_business_and_new_words_are() -> None:
    assert read_change(b'{"kind":"VERDICT"}') is None
    new = read_change(
        json.dumps({**GOOD, "anomalyType": "SOMETHING_NEW", "severity": "APOCALYPTIC", "extra": 1}).encode()
    )
    assert new is not None
    # A severity that no route knows would be told to nobody.
    assert (new.kind, new.severity) == ("SOMETHING_NEW", "HIGH")
    assert str(new.amount) == "10.0"
