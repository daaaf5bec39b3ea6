"""A supplier's file, a poller on it with a topic of its own on the real broker, and what came into the topic."""

import json
import uuid
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.cimpl import NewTopic

from jobs.common.kafka import admin
from jobs.common.settings import Settings
from jobs.ingest.polling.config import read_supplier
from jobs.ingest.polling.deliver import Sink
from jobs.ingest.polling.poller import Outcome, Poller


class Published(NamedTuple):
    """A record of the supplier topic; `stamp` in milliseconds since 1970."""

    key: bytes | None
    value: bytes
    supplier: str
    id: str
    stamp: int


class Rig:
    """A folder of suppliers' files and the state of their polls."""

    def __init__(self, folder: Path, servers: str, sink: Sink) -> None:
        name = f"poll.{uuid.uuid4().hex[:12]}"
        self.settings = Settings.model_validate(
            {
                "kafka": {"bootstrap_servers": servers},
                "topics": {"supplier_raw": name, "partitions": 2},
                "poll": {"folder": str(folder / "suppliers"), "state": str(folder / "state")},
                "lake": {"root": str(folder / "lake")},
            }
        )
        new = NewTopic(self.settings.topics.supplier_raw, num_partitions=2, replication_factor=1)
        client = admin({"bootstrap.servers": servers})
        client.create_topics([new])[new.topic].result()
        self.stop = Event()
        self.sink = sink
        self._pollers: list[Poller] = []

    def file(self, url: str, supplier: str = "SUP-1", **more: Any) -> Path:
        """A supplier's file; JSON is YAML."""
        folder = Path(self.settings.poll.folder)
        folder.mkdir(exist_ok=True)
        path = folder / f"{supplier}.yaml"
        whole = {"supplier": supplier, "url": url, "items": "items", "paging": {"kind": "page"}, "rate_limit": 1000}
        path.write_text(json.dumps({**whole, **more}))
        return path

    def poller(self, url: str, supplier: str = "SUP-1", **more: Any) -> Poller:
        api = read_supplier(self.file(url, supplier, **more))
        self._pollers.append(Poller(self.settings, api, self.sink, self.stop, _nothing))
        return self._pollers[-1]

    def close(self) -> None:
        for poller in self._pollers:
            poller.close()

    def poll(self, url: str, supplier: str = "SUP-1", **more: Any) -> Outcome:
        """To its end, as by a process of its own."""
        outcome = self.poller(url, supplier, **more).run_to_end()
        assert outcome is not None
        return outcome

    def settings_file(self) -> Path:
        path = Path(self.settings.poll.state).parent / "settings.yaml"
        settings = self.settings.model_dump(mode="json", include={"kafka", "topics", "poll", "lake"})
        path.write_text(json.dumps(settings))
        return path

    def published(self) -> list[Published]:
        """Everything in the supplier topic, by partition."""
        topic, found = self.settings.topics.supplier_raw, []
        consumer = Consumer(
            {"bootstrap.servers": self.settings.kafka.bootstrap_servers, "group.id": "test", "fetch.wait.max.ms": 10}
        )
        try:
            for number in range(self.settings.topics.partitions):
                low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=20)
                consumer.assign([TopicPartition(topic, number, low)])
                for _ in range(high - low):
                    message = consumer.poll(20)
                    assert message is not None
                    assert message.error() is None
                    headers: dict[str, bytes] = dict(message.headers() or [])  # type: ignore[arg-type]
                    names = headers["supplierId"].decode(), headers["id"].decode()
                    found.append(Published(message.key(), message.value() or b"", *names, message.timestamp()[1]))
        finally:
            consumer.close()
        return found

    def numbers(self) -> list[int]:
        """The numbers of all items in the topic, sorted, repeats too."""
        return sorted(json.loads(record.value)["n"] for record in self.published())


def row(number: int, **more: Any) -> dict[str, Any]:
    """An item as a supplier gives it."""
    return {"activityId": f"BK-{number}", "n": number, **more}


def _nothing() -> None:
    pass
