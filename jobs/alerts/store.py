"""The state in Kafka: one compacted partition, written by whoever leads, in transactions that fence who led before."""

import os
import time
from collections.abc import Callable, Iterable
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource  # type: ignore[attr-defined]
from confluent_kafka.cimpl import NewTopic

from jobs.alerts.state import State
from jobs.common import kafka, log
from jobs.common.errors import FAILED, UserError
from jobs.common.kafka_reach import Right, partitions
from jobs.common.metrics import REGISTRY
from jobs.common.settings import Settings

#: A leader that is killed is missed after that, milliseconds; the takeover then takes as long as loading the state.
SESSION_MS = 6_000
_COMPACTED = {"cleanup.policy": "compact", "segment.bytes": str(64 * 2**20), "min.cleanable.dirty.ratio": "0.2"}
_FENCED = (
    KafkaError._FENCED,
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.INVALID_TXN_STATE,
    KafkaError.TRANSACTION_COORDINATOR_FENCED,
    KafkaError.PRODUCER_FENCED,
)
_PATIENCE = 30.0
_LEADS = b"lead/"
_LOAD_SECONDS = 300.0
_log = log.get_logger("alerts")


class NotLeaderError(Exception):
    """Another instance leads now; nothing more may be sent or written here."""


def ensure_topic(settings: Settings) -> None:
    """Make the state's topic where it is missing. UserError where it has another shape, or the broker refuses us."""
    name, servers = settings.alerts.topic, kafka.bootstrap_servers(settings)
    rights = {settings.topics.results: (Right.READ,), name: (Right.READ, Right.WRITE)}
    topics = partitions(settings, rights, may_lack=(name,), group=settings.alerts.group, seconds=_PATIENCE)
    client = kafka.admin(kafka.client_options(settings))
    if name in topics:
        if topics[name] != 1:
            raise UserError(f"The topic {name} (alerts.topic) has more than one partition: delete it, or name another.")
        if _cleanup(client, name) == "delete":
            raise UserError(
                f"The topic {name} (alerts.topic) is not compacted, so that what is known of an incident would be "
                "deleted while it lasts: set its cleanup.policy to compact, or name another."
            )
        return
    made = client.create_topics([NewTopic(name, 1, -1, config=_COMPACTED)], operation_timeout=_PATIENCE)
    try:
        made[name].result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            reason = error.args[0].str().rstrip(".")
            raise UserError(f"The topic {name} could not be made at {servers}: {reason}.", FAILED) from None


def _cleanup(client: AdminClient, topic: str) -> str | None:
    """The topic's cleanup.policy; None where we may not see it."""
    asked = client.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)], request_timeout=_PATIENCE)
    try:
        return str(next(iter(asked.values())).result()["cleanup.policy"].value)
    except KafkaException:
        return None


class Store:
    """One instance's membership: it leads while it has the partition."""

    def __init__(self, settings: Settings) -> None:
        self._topic, self._group = settings.alerts.topic, settings.alerts.group
        # What matters of the client's own lines comes as errors too.
        self._options: dict[str, Any] = {**kafka.client_options(settings), "log_level": 0}
        self._producer: Producer | None = None
        self.is_leader = False
        self._consumer = Consumer(
            {
                **self._options,
                "group.id": self._group,
                "session.timeout.ms": SESSION_MS,
                "heartbeat.interval.ms": SESSION_MS // 4,
                "max.poll.interval.ms": 120_000,
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                # Whoever leads goes on leading when another one joins; by the default assignor the names decide, and
                # two instances that join anew when they lose take the lead from each other again and again.
                "partition.assignment.strategy": "cooperative-sticky",
            },
            logger=kafka.SILENT,
        )
        self._consumer.subscribe([self._topic], on_assign=self._given, on_revoke=self._taken, on_lost=self._taken)

    def wait(self, seconds: float) -> bool:
        """Wait so long at most to become the leader."""
        end = time.monotonic() + seconds
        while not self.is_leader and (left := end - time.monotonic()) > 0:
            self._take(self._consumer.poll(min(left, 0.5)))
        return self.is_leader

    def load(self) -> State:
        """The state as the last leader left it, who can write no more from here on."""
        producer = self._producer = Producer(
            {
                **self._options,
                "transactional.id": self._group,
                "acks": "all",
                "linger.ms": 5,
                "compression.type": "lz4",
            },
            logger=kafka.SILENT,
        )
        self._guard(lambda: producer.init_transactions(_PATIENCE))
        state = State()
        # What was read before those who led were shut out may not be all.
        self._consumer.seek(TopicPartition(self._topic, 0, 0))
        end = time.monotonic() + _LOAD_SECONDS
        while True:
            record = self._consumer.poll(1.0)
            if not self.is_leader or time.monotonic() > end:
                raise NotLeaderError
            if record is None:
                continue
            error = record.error()
            if error is None:
                self._load(state, record)
            elif error.code() == KafkaError._PARTITION_EOF:
                break
            else:
                self._take(record)
        state.loaded()
        return state

    def heard(self, state: State) -> None:
        """Keep the membership, and take up what was asked of the leader meanwhile. Raises NotLeaderError."""
        for record in self._consumer.consume(5_000, 0.0):
            if record.error() is None and (record.key() or b"").startswith(b"ack/"):
                self._load(state, record)
            else:
                self._take(record)
        if not self.is_leader:
            raise NotLeaderError

    def save(self, records: Iterable[tuple[bytes, bytes | None]], *, is_sending: bool = False) -> None:
        """Write what changed, all of it or nothing. Raises NotLeaderError where another instance leads by now.

        `is_sending`: messages follow, so that something is written in any case: whoever was away for a while, and no
        longer leads, learns it from nothing else.
        """
        waiting, producer = list(records), self._producer
        if is_sending and not waiting:
            waiting = [(_LEADS, str(os.getpid()).encode())]
        if not waiting:
            return
        assert producer is not None
        self._guard(producer.begin_transaction)
        for key, value in waiting:
            while True:
                try:
                    producer.produce(self._topic, value, key, partition=0)
                    break
                except BufferError:
                    producer.poll(0.1)
        self._guard(lambda: producer.commit_transaction(_PATIENCE))

    def close(self) -> None:
        """Leave, so that another instance leads at once."""
        self._consumer.close()
        self._producer = None

    def _load(self, state: State, record: Message) -> None:
        """Take up a record; one that cannot be read is passed over, for the rest of the state must not go with it."""
        try:
            state.load(record.key() or b"", record.value())
        except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError) as error:
            REGISTRY.add("reco_alerts_unreadable_total", 1)
            _log.warning("unreadable", topic=self._topic, offset=record.offset(), why=type(error).__name__)

    def _guard(self, act: Callable[[], object]) -> None:
        try:
            act()
        except KafkaException as error:
            self.is_leader = False
            if error.args[0].code() in _FENCED:
                raise NotLeaderError from error
            if error.args[0].code() == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
                raise UserError(
                    f"The broker at {self._options['bootstrap.servers']} does not let us WRITE with the transactional "
                    f"id {self._group} (alerts.group): have its owner add this ACL; docs/security.md lists them.",
                    FAILED,
                ) from error
            raise

    def _take(self, record: Message | None) -> None:
        error = record.error() if record is not None else None
        if error is not None and error.code() not in (KafkaError._PARTITION_EOF, KafkaError._ALL_BROKERS_DOWN):
            if error.fatal() or error.code() == KafkaError._MAX_POLL_EXCEEDED:
                self.is_leader = False
            _log.warning("state topic", why=error.str())

    def _given(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self.is_leader = self.is_leader or bool(partitions)

    def _taken(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if partitions:
            self.is_leader = False
