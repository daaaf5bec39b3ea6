"""Publishes records so that they are known to be on the broker: an idempotent producer that waits for every answer."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from jobs.common import kafka
from jobs.common.settings import Settings

_POLL_SECONDS = 0.1
_SAY_SECONDS = 5.0


class Outgoing(NamedTuple):
    """A record to be sent: with a key to the partition that a Java producer would choose, or to the one named.

    `stamp`: its time, milliseconds since 1970; 0 for the time at which it is sent.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int = -1
    stamp: int = 0


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that the broker will never take as it is: its place in what was given, why, and the client's code."""

    index: int
    reason: str
    code: int = 0


class GivenUpError(Exception):
    """Waiting for the broker was given up; what was not confirmed by then may be there or not."""


class Publisher:
    """One producer; records of one partition arrive in their order, each at least once.

    `waiting` is called every 5 s while the broker does not answer, with the seconds waited so far. `stop` is asked all
    the time; once it says True, unconfirmed records are given up.
    """

    def __init__(
        self, settings: Settings, waiting: Callable[[float], None], stop: Callable[[], bool], **options: Any
    ) -> None:
        self._waiting, self._stop = waiting, stop
        self._producer = Producer({**_OPTIONS, **options, **kafka.client_options(settings)})

    def publish(self, records: Sequence[Outgoing], meanwhile: Callable[[], None] | None = None) -> list[Refused]:
        """Send all and wait until the broker has confirmed each; returns those it refuses for good.

        `meanwhile` is called once all are on their way; what it raises ends the waiting.

        Records never time out: one that were sent again after its successors would change their order. Raises
        GivenUpError where `stop` said so first, KafkaException where the client can go on no more.
        """
        waited = _Waiting()
        produce = self._producer.produce
        for index, (topic, key, value, headers, partition, stamp) in enumerate(records):
            place: dict[str, Any] = {"partition": partition} if partition >= 0 else {}
            if stamp:
                place["timestamp"] = stamp
            refuse = partial(waited.refuse, index)
            while True:
                try:
                    produce(topic, value, key, on_delivery=refuse, headers=list(headers), **place)
                except BufferError:
                    self._producer.poll(_POLL_SECONDS)
                    self._look(waited, len(self._producer))
                except KafkaException as error:  # refused before it was sent: too large
                    refuse(error.args[0], None)
                    break
                else:
                    break
        if meanwhile is not None:
            try:
                meanwhile()
            except BaseException:
                self._producer.purge()
                raise
        # Only refusals call back, so all that were not refused are confirmed once nothing is on its way any more.
        while left := self._producer.flush(_POLL_SECONDS):
            self._look(waited, left)
        self._look(waited, 0)
        return sorted(waited.refused, key=lambda refused: refused.index)

    def _look(self, waited: "_Waiting", left: int) -> None:
        """Stop where asked to, and say now and then that the broker keeps us waiting for the `left` records."""
        if waited.fatal is not None:
            raise KafkaException(waited.fatal)
        if left and self._stop():
            # Left in the queue they could go out later, behind what a successor sends.
            self._producer.purge()
            raise GivenUpError
        if waited.is_time(left):
            self._waiting(waited.seconds)


class _Waiting:
    """What was refused, and since when the broker has not answered."""

    def __init__(self) -> None:
        self.refused = list[Refused]()
        self.fatal: KafkaError | None = None
        self._left = 0
        self._since = self._said = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._since

    def refuse(self, index: int, error: KafkaError | None, _message: Message | None) -> None:
        if error is not None and error.fatal():
            self.fatal = error
        elif error is not None:
            self.refused.append(Refused(index, error.str(), error.code()))

    def is_time(self, left: int) -> bool:
        """Whether to say again that so many are without an answer; any answer begins the waiting anew."""
        now = time.monotonic()
        if left != self._left:
            self._left, self._since = left, now
        if not left or now - max(self._since, self._said) < _SAY_SECONDS:
            return False
        self._said = now
        return True


_OPTIONS = {
    "acks": "all",
    "enable.idempotence": True,
    "message.timeout.ms": 0,
    "delivery.report.only.error": True,
    "compression.type": "lz4",
    "linger.ms": 5,
    "queue.buffering.max.messages": 100_000,
    # With its frame a larger one would be over the broker's own default; here it is refused alone, not with its batch.
    "message.max.bytes": 1_048_000,
    # The partitioner of Kafka's own clients: a key lies where a Java producer would put it.
    "partitioner": "murmur2_random",
    # Troubles are told by `waiting` and by what is raised, not printed by the client one by one.
    "log_level": 0,
    "error_cb": lambda _error: None,
}
