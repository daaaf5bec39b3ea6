"""Whether a partition has more than was read of it decides which heartbeats wait (the rest: test_normalise)."""

from concurrent.futures import Future
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException

from jobs.common.settings import Settings, Stream
from jobs.streaming.held_beats import HeldBeats, _is_beyond


@pytest.mark.parametrize(("end", "is_beyond"), [(5, False), (6, True), (4, False)])
def test_what_was_read_is_compared_with_the_end(end: int, is_beyond: bool) -> None:
    told: Future[SimpleNamespace] = Future()
    told.set_result(SimpleNamespace(offset=end))
    assert _is_beyond(told, 4) is is_beyond


@pytest.mark.parametrize(
    ("offsets", "may"),
    [
        ({("t", 0): (0, 983)}, True),
        ({("t", 0): (0, 982)}, False),
        ({("t", 0): (10, 993)}, True),
        ({}, False),
        # The topic had two partitions when the process began, and has ten now.
        ({("t", 9): (0, 919)}, True),
        ({("t", 9): (0, 918)}, False),
    ],
)
def test_a_batch_that_may_leave_records_unread_is_told_by_its_offsets(
    offsets: dict[tuple[str, int], tuple[int, int]], may: bool
) -> None:
    beats = HeldBeats(Settings(stream=Stream(max_offsets_per_trigger=1000)), {"t": 2})
    assert beats._may_leave_some(offsets) is may


@pytest.mark.parametrize("error", [KafkaException(KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION)), TimeoutError()])
def test_a_broker_that_does_not_tell_ends_no_query(error: Exception) -> None:
    """A partition looks for another leader while brokers are restarted in turn: what may be unread counts as unread."""
    told: Future[SimpleNamespace] = Future()
    told.set_exception(error)
    assert _is_beyond(told, 4)
