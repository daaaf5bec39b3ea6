"""Publishes records so that they are known to be on the broker: an idempotent producer that waits for every answer."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from jobs.common import kafka
from jobs.common.settings import Settings

_POLL_SECONDS = 0.1
_SAY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to be sent: with a key to the partition that a Java producer would choose, or to the one named."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int = -1


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

    def publish(self, records: Sequence[Outgoing]) -> list[Refused]:
        """Send all and wait until the broker has confirmed each; returns those it refuses for good.

        Records never time out: one that were sent again after its successors would change their order. Raises
        GivenUpError where `stop` said so first, KafkaException where the client can go on no more.
        """
        waited = _Waiting(len(records))
        for index, record in enumerate(records):
            self._produce(record, waited.answer(index), waited)
        while waited.open:
            self._producer.poll(_POLL_SECONDS)
            self._look(waited)
        return sorted(waited.refused, key=lambda refused: refused.index)

    def _produce(
        self, record: Outgoing, answer: Callable[[KafkaError | None, Message], None], waited: "_Waiting"
    ) -> None:
        place: dict[str, Any] = {"partition": record.partition} if record.partition >= 0 else {}
        headers: list[tuple[str, str | bytes | None]] = list(record.headers)
        while True:
            try:
                self._producer.produce(
                    record.topic, record.value, record.key, on_delivery=answer, headers=headers, **place
                )
            except BufferError:
                self._producer.poll(_POLL_SECONDS)
                self._look(waited)
            except KafkaException as error:  # refused before it was sent: too large
                answer(error.args[0], None)  # type: ignore[arg-type]
                return
            else:
                return

    def _look(self, waited: "_Waiting") -> None:
        """Stop where asked to, and say now and then that the broker keeps us waiting."""
        if waited.fatal is not None:
            raise KafkaException(waited.fatal)
        if self._stop():
            # Left in the queue they could go out later, behind what a successor sends.
            self._producer.purge()
            raise GivenUpError
        if waited.is_time():
            self._waiting(waited.seconds)


class _Waiting:
    """What is still without an answer."""

    def __init__(self, records: int) -> None:
        self.open, self.refused = records, list[Refused]()
        self.fatal: KafkaError | None = None
        self._since = self._said = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._since

    def answer(self, index: int) -> Callable[[KafkaError | None, Message], None]:
        def take(error: KafkaError | None, _message: Message) -> None:
            self.open -= 1
            self._since = time.monotonic()
            if error is not None and error.fatal():
                self.fatal = error
            elif error is not None:
                self.refused.append(Refused(index, error.str(), error.code()))

        return take

    def is_time(self) -> bool:
        now = time.monotonic()
        if now - max(self._since, self._said) < _SAY_SECONDS:
            return False
        self._said = now
        return True


_OPTIONS = {
    "acks": "all",
    "enable.idempotence": True,
    "message.timeout.ms": 0,
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
