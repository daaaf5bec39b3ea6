"""What people ask of whoever leads, left in the state's topic."""

import json
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from jobs.common import kafka
from jobs.common.errors import FAILED, UserError
from jobs.common.settings import Settings

_PATIENCE, _READ_SECONDS = 30.0, 120.0
_INCIDENT = b"incident/"


def ask_acknowledgement(settings: Settings, incident: str, by: str) -> None:
    """Leave word for whoever leads that somebody is at an incident. UserError where there is no such incident."""
    if incident not in _incidents(settings):
        raise UserError(
            f"There is no incident {incident!a} (any more), so nothing was noted: each message names its id, and "
            "`reco status` lists those that go on."
        )
    producer = Producer({**kafka.client_options(settings), "acks": "all"})
    producer.produce(settings.alerts.topic, json.dumps(by).encode(), f"ack/{incident}".encode())
    if producer.flush(_PATIENCE):
        raise UserError(f"The broker at {kafka.bootstrap_servers(settings)} did not take it; try again.", FAILED)


def _incidents(settings: Settings) -> set[str]:
    """Ids of the incidents in the state; every one that was told is there, since it is noted before it is sent."""
    options = {**kafka.client_options(settings), "group.id": settings.alerts.group, "enable.auto.commit": False}
    consumer = Consumer({**options, "log_level": 0, "enable.partition.eof": True, "isolation.level": "read_committed"})
    consumer.assign([TopicPartition(settings.alerts.topic, 0, 0)])
    found: set[str] = set()
    end = time.monotonic() + _READ_SECONDS
    try:
        while time.monotonic() < end:
            for record in consumer.consume(5_000, 0.1):
                error, key = record.error(), record.key() or b""
                if error is not None and error.code() == KafkaError._PARTITION_EOF:
                    return found
                if error is not None:
                    raise KafkaException(error)
                if key.startswith(_INCIDENT):
                    name = key.removeprefix(_INCIDENT).decode("utf-8", "replace")
                    (found.discard if record.value() is None else found.add)(name)
    finally:
        consumer.close()
    where = f"{settings.alerts.topic} at {kafka.bootstrap_servers(settings)}"
    raise UserError(f"The topic {where} was not read to its end in {_READ_SECONDS:.0f} s; try again.", FAILED)
