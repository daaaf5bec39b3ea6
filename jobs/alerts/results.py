"""The topic of results, read from where the state says, in partitions' own order."""

import time
from collections.abc import Iterator
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from jobs.alerts.intake import Change, read_change
from jobs.alerts.state import State
from jobs.common import kafka, log
from jobs.common.errors import FAILED, UserError
from jobs.common.metrics import REGISTRY
from jobs.common.settings import Settings

_MANY = 5_000
_LOOK_SECONDS = 60.0
_log = log.get_logger("alerts")


class Results:
    """Reads on; `is_caught_up` once it has been at the end of every partition."""

    def __init__(self, settings: Settings, state: State) -> None:
        self._topic, self._state = settings.topics.results, state
        options: dict[str, Any] = {
            **kafka.client_options(settings),
            "log_level": 0,
            # Never joined, and nothing is committed: the state has the offsets. It is a group that ACLs give us.
            "group.id": settings.alerts.group,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "queued.max.messages.kbytes": 32_768,
        }
        self._consumer = Consumer(options)
        self._mine: set[int] = set()
        self._ended: set[int] = set()
        self._looked_at = 0.0
        self.unreadable = 0
        self._look()

    @property
    def is_caught_up(self) -> bool:
        """Whether everything that was there has been read."""
        return self._ended >= self._mine

    def read(self, seconds: float) -> Iterator[Change]:
        """The next changes; waits so long for the first. Offsets in the state move with what is taken."""
        if time.monotonic() - self._looked_at > _LOOK_SECONDS:
            self._look()
        for record in self._consumer.consume(_MANY, seconds):
            error, partition, offset = record.error(), record.partition(), record.offset()
            assert partition is not None
            if error is not None:
                self._failed(error, partition)
                continue
            assert offset is not None
            try:
                change = read_change(record.value())
            except (ValueError, RecursionError) as problem:
                # It stays where it is, in the topic; the line says where that is.
                self.unreadable += 1
                REGISTRY.add("reco_alerts_unreadable_total", 1)
                _log.warning("unreadable", topic=self._topic, partition=partition, offset=offset, why=str(problem))
                change = None
            self._state.read_up_to(partition, offset + 1)
            if change is not None:
                yield change

    def close(self) -> None:
        """Let go of the broker."""
        self._consumer.close()

    def _failed(self, error: KafkaError, partition: int) -> None:
        if error.code() == KafkaError._PARTITION_EOF:
            self._ended.add(partition)
        elif error.fatal():
            raise KafkaException(error)
        else:
            _log.warning("results topic", why=error.str())

    def _look(self) -> None:
        """Take up the partitions that there are; a topic may get more of them."""
        topic = self._consumer.list_topics(self._topic, timeout=30).topics.get(self._topic)
        if topic is None or topic.error is not None:
            raise UserError(
                f"The topic {self._topic} is gone; make it again (`reco up` does here), and start again.", FAILED
            )
        found = set(topic.partitions)
        new = [TopicPartition(self._topic, p, self._state.offsets.get(p, 0)) for p in sorted(found - self._mine)]
        if new:
            self._consumer.incremental_assign(new)
        self._mine, self._looked_at = found, time.monotonic()
