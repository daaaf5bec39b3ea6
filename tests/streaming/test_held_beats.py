"""Whether a partition has more than was read of it decides which heartbeats wait (the rest: test_normalise)."""

from concurrent.futures import Future
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException

from jobs.streaming.held_beats import _is_beyond


@pytest.mark.parametrize(("end", "is_beyond"), [(5, False), (6, True), (4, False)])
def test_what_was_read_is_compared_with_the_end(end: int, is_beyond: bool) -> None:
    told: Future[SimpleNamespace] = Future()
    told.set_result(SimpleNamespace(offset=end))
    assert _is_beyond(told, 4) is is_beyond


@pytest.mark.parametrize("error", [KafkaException(KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION)), TimeoutError()])
def test_a_broker_that_does_not_tell_ends_no_query(error: Exception) -> None:
    """A partition looks for another leader while brokers are restarted in turn: what may be unread counts as unread."""
    told: Future[SimpleNamespace] = Future()
    told.set_exception(error)
    assert _is_beyond(told, 4)
