"""Kafka as a client sees it: where it is, the topics, the options for Spark and for confluent-kafka."""

import logging
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from jobs.common.errors import UserError
from jobs.common.settings import Settings

ADDRESS_FILE = "broker/address"
_silent = logging.getLogger("reco.librdkafka")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


def bootstrap_servers(settings: Settings) -> str:
    """The settings' servers; where none are named, the local broker that runs in `local.home`, if one does."""
    if "bootstrap_servers" not in settings.kafka.model_fields_set:
        address = Path(settings.local.home) / ADDRESS_FILE
        if address.exists():
            return address.read_text().strip()
    return settings.kafka.bootstrap_servers


def client_options(settings: Settings) -> dict[str, str]:
    """Options for a confluent-kafka client."""
    return {"bootstrap.servers": bootstrap_servers(settings), **settings.kafka.options}


def spark_options(settings: Settings) -> dict[str, str]:
    """The same for Spark's Kafka source and sink."""
    return {f"kafka.{key}": value for key, value in client_options(settings).items()}


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
    return AdminClient(quiet, logger=_silent)


def create_topics(bootstrap: str, settings: Settings, *, timeout: float = 30.0) -> list[str]:
    """Make the topics that are missing, `topics.partitions` each, unreplicated; returns the names of the new ones.

    For local brokers: on a cluster, topics are made by whoever runs it. UserError where the broker does not answer.
    """
    client = admin({**settings.kafka.options, "bootstrap.servers": bootstrap})
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
                raise UserError(f"Topic {name} could not be made at {bootstrap}: {_reason(error)}.") from None
    return made


def _reason(error: KafkaException) -> str:
    first = error.args[0] if error.args else error
    return str(first.str() if isinstance(first, KafkaError) else first).rstrip(".")


def topic_partitions(settings: Settings, *, timeout: float = 15.0) -> dict[str, int]:
    """How many partitions each of our topics has. UserError where the broker does not answer or a topic is missing."""
    servers = bootstrap_servers(settings)
    found = _topics(admin(client_options(settings)), servers, timeout)
    missing = [name for name in topic_names(settings) if name not in found]
    if missing:
        raise UserError(
            f"The topics {', '.join(missing)} do not exist at {servers}: create them, or start the local broker with "
            "`reco up`, which does."
        )
    return {name: found[name] for name in topic_names(settings)}


def _topics(client: AdminClient, servers: str, timeout: float) -> dict[str, int]:
    """Every topic of the broker with its number of partitions."""
    try:
        return {name: len(topic.partitions) for name, topic in client.list_topics(timeout=timeout).topics.items()}
    except KafkaException as error:
        raise UserError(
            f"No Kafka broker answers at {servers} ({_reason(error)}): start one with `reco up`, "
            "or set kafka.bootstrap_servers."
        ) from None
