"""Kafka as a client sees it: where it is, the topics, the options for Spark and for confluent-kafka."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource  # type: ignore[attr-defined]
from confluent_kafka.cimpl import NewTopic

from jobs.common.errors import FAILED, UserError
from jobs.common.kafka_security import client_security, java_security
from jobs.common.settings import Settings

ADDRESS_FILE = "broker/address"
#: Takes librdkafka's own lines: what matters of them comes as errors too, and is told once.
SILENT = logging.getLogger("reco.librdkafka")
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False
#: A broker that refuses us is not asked again ten times a second, which is what librdkafka does.
CALM = {"reconnect.backoff.ms": "1000", "reconnect.backoff.max.ms": "10000"}


class BrokerAwayError(UserError):
    """No broker answers; it may be there again later, so it is no fault of the settings and worth another start.

    `fact` begins with a small letter, for whoever tells it within a sentence of its own.
    """

    def __init__(self, servers: str, reason: str) -> None:
        fact = f"no Kafka broker answers at {servers} ({reason})"
        remedy = "start one with `reco up`, or set kafka.bootstrap_servers."
        super().__init__(f"{fact[0].upper()}{fact[1:]}: {remedy}", FAILED, remedy=remedy)
        self.fact = fact


def bootstrap_servers(settings: Settings) -> str:
    """The settings' servers; where none are named, the local broker that runs in `local.home`, if one does."""
    if "bootstrap_servers" not in settings.kafka.model_fields_set:
        address = Path(settings.local.home) / ADDRESS_FILE
        if address.exists():
            return address.read_text().strip()
    return settings.kafka.bootstrap_servers


def client_options(settings: Settings) -> dict[str, str]:
    """Options for a confluent-kafka client. UserError where a secret or a file of `kafka.security` is not there."""
    security = client_security(settings.kafka.security)
    calm = CALM if security else {}
    return {"bootstrap.servers": bootstrap_servers(settings), **calm, **security, **settings.kafka.options}


def spark_options(settings: Settings) -> dict[str, str]:
    """The same for Spark's Kafka source and sink."""
    security = java_security(settings.kafka.security)
    options = {"bootstrap.servers": bootstrap_servers(settings), **security, **settings.kafka.options}
    return {f"kafka.{key}": value for key, value in options.items()}


def sink_options(settings: Settings) -> dict[str, str]:
    """The same for what a stream writes: thousands of messages at a time, in batches of their kind.

    With the client's batches of 16 KiB the broker is asked thousands of times for a second's worth of messages.
    """
    return {
        "kafka.batch.size": str(512 * 1024),
        "kafka.linger.ms": "5",
        "kafka.buffer.memory": str(64 * 1024 * 1024),
        "kafka.compression.type": "lz4",
        **spark_options(settings),
    }


def source_options(settings: Settings, *topics: str) -> dict[str, str]:
    """Options of a stream that reads the topics from their beginning; a gap in the offsets fails the query."""
    return {
        # A consumer that is used again first awaits the fetch that its last batch left behind: half a second a
        # partition and batch with the client's default.
        "kafka.fetch.max.wait.ms": "20",
        **spark_options(settings),
        "subscribe": ",".join(topics),
        "startingOffsets": "earliest",
        "failOnDataLoss": "true",
    }


def topic_names(settings: Settings) -> list[str]:
    """Every topic of the contract, under its name in the settings."""
    return [name for key, name in settings.topics.model_dump().items() if key != "partitions"]


def admin(options: dict[str, str]) -> AdminClient:
    """An admin client that keeps its connection troubles to itself; its calls raise them."""
    quiet: dict[str, Any] = {**options, "log_level": 2, "error_cb": lambda _error: None}
    return AdminClient(quiet, logger=SILENT)


def create_topics(bootstrap: str, settings: Settings, *, timeout: float = 30.0) -> list[str]:
    """Make the topics that are missing, `topics.partitions` each, unreplicated; returns the names of the new ones.

    For local brokers: on a cluster, topics are made by whoever runs it. BrokerAwayError where none answers.
    """
    client = admin({**client_options(settings), "bootstrap.servers": bootstrap})
    there = _topics(client, bootstrap, timeout)
    missing = [name for name in topic_names(settings) if name not in there]
    new = [NewTopic(name, num_partitions=settings.topics.partitions, replication_factor=1) for name in missing]
    made = []
    for name, future in (client.create_topics(new, operation_timeout=timeout) if new else {}).items():
        try:
            future.result()
            made.append(name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise UserError(f"Topic {name} could not be made at {bootstrap}: {reason_of(error)}.") from None
    return made


def reason_of(error: KafkaException | KafkaError) -> str:
    """What a client says is wrong, in its own words, without its numbers and names of threads."""
    first = error.args[0] if isinstance(error, KafkaException) and error.args else error
    text = str(first.str() if isinstance(first, KafkaError) else first)
    text = re.sub(r" \(after \d+ms in state \w+.*?\)|^\w+://\S+: ", "", text)
    return text.rstrip(".")


def topic_partitions(settings: Settings, *, timeout: float = 15.0) -> dict[str, int]:
    """How many partitions each of our topics has. UserError where the broker does not answer or a topic is missing."""
    from jobs.common.kafka_reach import partitions

    return partitions(settings, dict.fromkeys(topic_names(settings), ()), seconds=timeout)


def topic_setting(settings: Settings, topics: Sequence[str], key: str, *, seconds: float = 5.0) -> dict[str, str]:
    """What holds for each topic of one of Kafka's settings; topics of which we are not told are left out."""
    asked = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in topics]
    told = {}
    client = admin(client_options(settings))  # held until all have answered: without it no answer comes
    for resource, future in client.describe_configs(asked, request_timeout=seconds).items():
        try:
            told[resource.name] = str(future.result()[key].value)
        except (KafkaException, KeyError):  # we may not see it, or the broker is of a time before it
            continue
    return told


def _topics(client: AdminClient, servers: str, timeout: float) -> dict[str, int]:
    """Every topic of the broker with its number of partitions."""
    try:
        return {name: len(topic.partitions) for name, topic in client.list_topics(timeout=timeout).topics.items()}
    except KafkaException as error:
        raise BrokerAwayError(servers, reason_of(error)) from None
