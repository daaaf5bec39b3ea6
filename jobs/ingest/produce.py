"""Sends a workload's records to Kafka with the publish times that were planned for them."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, Message, Producer

from jobs.common import kafka
from jobs.common.errors import FAILED, UserError
from jobs.common.kafka_reach import Right, partitions
from jobs.common.settings import Settings
from jobs.ingest.events import AGODA, MINUTE, SUPPLIER, Record, iso

#: How far into the future records marked as ahead are stamped: brokers refuse more than an hour.
AHEAD_MS = 55 * MINUTE
_PATIENCE_SECONDS = 10.0
_FLUSH_SECONDS = 120.0


@dataclass
class Sender:
    """A producer for both raw topics; failures are collected while it sends and raised at the end."""

    settings: Settings
    clock: Callable[[], float] = time.time
    sent: int = 0
    _failed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        topics = self.settings.topics
        self._topics = {AGODA: topics.agoda_raw, SUPPLIER: topics.supplier_raw}
        rights = dict.fromkeys(self._topics.values(), (Right.WRITE,))
        self._partitions = partitions(self.settings, rights, seconds=_PATIENCE_SECONDS)
        self._producer = Producer(_config(self.settings, self._delivered))

    def send(self, records: Iterable[Record], rate: int = 0, progress: Callable[[int], None] | None = None) -> None:
        """Sends all of them in their order, at most so many a second (0: as fast as possible)."""
        started = time.monotonic()
        for number, record in enumerate(records, 1):
            self._send(record)
            if rate and (ahead := number / rate - (time.monotonic() - started)) > 0:
                self._producer.poll(ahead)
            if progress and number % 1_000 == 0:
                progress(number)

    def heartbeats(self, time_ms: int) -> int:
        """Says on every partition of both topics that everything up to time_ms has been published; how many."""
        value = f'{{"heartbeat":true,"eventTime":"{iso(time_ms)}"}}'.encode()
        for topic, number in self._partitions.items():
            for partition in range(number):
                self._producer.produce(topic, value=value, partition=partition, timestamp=time_ms)
        return sum(self._partitions.values())

    def finish(self) -> None:
        """Waits until the broker has confirmed everything. Raises UserError where it did not."""
        unconfirmed = self._producer.flush(_FLUSH_SECONDS)
        if self._failed or unconfirmed:
            why = self._failed[0] if self._failed else f"no answer for {_FLUSH_SECONDS:.0f} seconds"
            count = len(self._failed) + unconfirmed
            raise UserError(f"{count} records were not taken by {self._servers}: {why}.", FAILED)

    @property
    def _servers(self) -> str:
        return kafka.bootstrap_servers(self.settings)

    def _send(self, record: Record) -> None:
        stamp = int(self.clock() * 1_000) + AHEAD_MS if record.ahead else record.published_ms
        more: dict[str, Any] = {"headers": record.headers} if record.headers else {}
        while True:
            try:
                self._producer.produce(
                    self._topics[record.source], key=record.key, value=record.value, timestamp=stamp, **more
                )
            except BufferError:
                self._producer.poll(0.1)
                if self._failed:
                    self.finish()
            else:
                break
        self.sent += 1

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failed.append(f"{message.topic()}: {error.str()}")


def _config(settings: Settings, delivered: Callable[[KafkaError | None, Message], None]) -> dict[str, Any]:
    return {
        "acks": "all",
        "enable.idempotence": True,
        "compression.type": "lz4",
        "linger.ms": 50,
        "batch.num.messages": 10_000,
        "queue.buffering.max.messages": 200_000,
        "message.max.bytes": 8 << 20,
        "message.timeout.ms": 60_000,
        # The partitioner of Kafka's own clients: a key lies where a Java producer would put it.
        "partitioner": "murmur2_random",
        "on_delivery": delivered,
        "delivery.report.only.error": True,
        # Troubles are raised as one sentence, not printed by the client one by one.
        "log_level": 0,
        "error_cb": lambda _error: None,
        **kafka.client_options(settings),
    }
