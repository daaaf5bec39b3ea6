"""A group that moves from one broker to another: a fault that a single broker shows at its start only."""

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from jobs.common import kafka_reach
from jobs.common.settings import Settings


@pytest.mark.parametrize("code", [KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_LOAD_IN_PROGRESS])
def test_a_group_that_moves_is_asked_for_again(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    answers: list[Any] = [{}, {"g": KafkaError(code)}, {"g": KafkaError(KafkaError.GROUP_ID_NOT_FOUND)}]
    _answering(monkeypatch, lambda: answers.pop(0))
    assert kafka_reach.partitions(Settings(), {}, group="g") == {}
    assert answers == []


def test_a_group_that_moves_for_long_is_left_to_its_first_use_and_another_fault_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _answering(monkeypatch, lambda: {"g": KafkaError(KafkaError.NOT_COORDINATOR)})
    assert kafka_reach.partitions(Settings(), {}, group="g", seconds=0.1) == {}
    _answering(monkeypatch, lambda: {"g": KafkaError(KafkaError.INVALID_REQUEST)})
    with pytest.raises(KafkaException):
        kafka_reach.partitions(Settings(), {}, group="g", seconds=0.1)


def _answering(monkeypatch: pytest.MonkeyPatch, answer: Callable[[], Any]) -> None:
    monkeypatch.setattr(kafka_reach, "_ask", lambda *_: answer())
