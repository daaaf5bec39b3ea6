"""A group that moves from one broker to another: a fault that a single broker shows at its start only."""

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from jobs.common import kafka_reach
from jobs.common.errors import FAILED
from jobs.common.kafka import BrokerAwayError
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


def test_a_broker_that_is_away_is_a_failure_that_may_pass_and_says_apart_what_is_and_what_to_do() -> None:
    settings = Settings.model_validate({"kafka": {"bootstrap_servers": "127.0.0.1:1"}})
    with pytest.raises(BrokerAwayError) as caught:
        kafka_reach.partitions(settings, {"t": ()}, seconds=0.5)
    error = caught.value
    assert error.exit_code == FAILED
    assert error.fact.startswith("no Kafka broker answers at 127.0.0.1:1 (")
    assert error.fact.endswith("Connection refused)")
    assert error.remedy == "start one with `reco up`, or set kafka.bootstrap_servers."
    assert str(error) == f"N{error.fact[1:]}: {error.remedy}"


def _answering(monkeypatch: pytest.MonkeyPatch, answer: Callable[[], Any]) -> None:
    monkeypatch.setattr(kafka_reach, "_ask", lambda *_: answer())
