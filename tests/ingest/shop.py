"""An application with an outbox: writes rows as the recipe says, runs relays, reads what reached the topics."""

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from confluent_kafka import Consumer, TopicPartition

from jobs.common.kafka import create_topics
from jobs.common.settings import Settings
from jobs.ingest.outbox import open_outbox
from jobs.ingest.outbox_table import OutboxTable
from jobs.ingest.relay import Done, Relay
from jobs.ingest.relay_command import create
from jobs.ingest.stopping import Stopping
from tests.ingest.databases import Database

_numbers = itertools.count()


class Seen(NamedTuple):
    """A record on a topic; `stamp` in milliseconds since 1970."""

    topic: str
    partition: int
    offset: int
    key: str | None
    value: dict[str, Any]
    event_id: str | None
    stamp: int


class Shop:
    """One outbox table and two topics that nobody else has."""

    def __init__(self, database: Database, servers: str, folder: Path, given: Settings | None = None) -> None:
        """`given`: settings whose broker is to be used in place of the one at `servers`; its topics are there."""
        self.database, self.folder = database, folder
        name = f"shop{next(_numbers)}_{database.kind}_{time.time_ns() % 1_000_000}"
        self.table = name
        self.topics = {"agoda": f"{name}.agoda", "supplier": f"{name}.supplier"}
        data = {
            "kafka": {"bootstrap_servers": servers},
            "topics": {f"{side}_raw": topic for side, topic in self.topics.items()} | {"partitions": 3},
            "outbox": {
                "dsn": database.dsn,
                "table": name,
                "sides": ["agoda", "supplier"],
                "heartbeat_seconds": 1,
                "poll_milliseconds": 20,
            },
        }
        self.settings = Settings.model_validate(data)
        if given is None:
            create_topics(servers, self.settings)
        else:
            self.settings = self.settings.model_copy(update={"kafka": given.kafka, "topics": given.topics})
        self._open: list[OutboxTable] = []
        self._connections: list[Any] = []

    def __enter__(self) -> Self:
        create(self.settings)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for table in self._open:
            table.close()
        for connection in self._connections:
            connection.close()

    def told(self, **outbox: Any) -> Settings:
        """The settings with other values in the section outbox."""
        return self.settings.model_copy(update={"outbox": self.settings.outbox.model_copy(update=outbox)})

    def outbox(self, **values: Any) -> OutboxTable:
        """The table as a relay sees it, open until the test ends."""
        found = open_outbox(self.told(**values).outbox)
        found.open()
        self._open.append(found)
        return found

    def connect(self) -> Any:
        """A connection of the application, closed when the test ends."""
        connection = self.database.connect()
        self._connections.append(connection)
        return connection

    def write(self, connection: Any, *activities: str, side: str = "agoda", payload: str | None = None) -> None:
        """A row for each activity, in the connection's transaction, which stays open."""
        with connection.cursor() as cursor:
            for activity in activities:
                cursor.execute(
                    f"insert into {self.table} (aggregatetype, aggregateid, type, payload) values (%s, %s, %s, %s)",
                    (side, activity, "BOOKING", payload or json.dumps({"activityId": activity})),
                )

    def add(self, *activities: str, **options: Any) -> None:
        """The same, committed."""
        connection = self.database.connect()
        try:
            self.write(connection, *activities, **options)
            connection.commit()
        finally:
            connection.close()

    def rows(self, what: str, suffix: str = "") -> list[tuple[Any, ...]]:
        """Rows of the outbox, or of a table beside it, by seq."""
        return self.database.run(f"select {what} from {self.table}{suffix} order by seq")

    def ids(self) -> dict[str, list[str]]:
        """The ids of each activity's rows, by seq."""
        found: dict[str, list[str]] = {}
        for activity, event in self.rows("aggregateid, id"):
            found.setdefault(activity, []).append(str(event))
        return found

    def unpublished(self) -> int:
        """How many rows are still to be published."""
        return int(self.database.run(f"select count(*) from {self.table} where published_at is null")[0][0])

    def drain(self, *, is_backfill: bool = False, **outbox: Any) -> Done:
        """What `reco relay --until-empty` does."""
        told = self.told(**outbox)
        return Relay(told, open_outbox(told.outbox), Stopping(), is_backfill=is_backfill).run(until_empty=True)

    @contextmanager
    def relaying(self, **outbox: Any) -> Iterator[Relay]:
        """A relay that runs meanwhile; what it raises is raised here."""
        told, stopping = self.told(**outbox), Stopping()
        running = Relay(told, open_outbox(told.outbox), stopping)
        failed: list[BaseException] = []

        def work() -> None:
            try:
                running.run()
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield running
        finally:
            stopping.ask()
            thread.join(60)
        assert not thread.is_alive()
        if failed:
            raise failed[0]

    def records(self) -> list[Seen]:
        """Every record of both topics that is no heartbeat."""
        return [seen for seen in self.all_records() if "heartbeat" not in seen.value]

    def beats(self) -> list[Seen]:
        """Every heartbeat of both topics."""
        return [seen for seen in self.all_records() if "heartbeat" in seen.value]

    def all_records(self) -> list[Seen]:
        """Everything, partition by partition, in the order of each."""
        return read_topics(self.settings.kafka.bootstrap_servers, *self.topics.values())


def read_topics(servers: str, *topics: str) -> list[Seen]:
    """Everything that is on the topics now, partition by partition."""
    options: dict[str, Any] = {"bootstrap.servers": servers, "group.id": "test", "enable.auto.commit": False}
    consumer = Consumer({**options, "fetch.wait.max.ms": 10})
    try:
        known = consumer.list_topics(timeout=20).topics
        places = [TopicPartition(topic, number, 0) for topic in topics for number in known[topic].partitions]
        left = sum(consumer.get_watermark_offsets(place, timeout=20)[1] for place in places)
        consumer.assign(places)
        found: list[Seen] = []
        while left > 0:
            records = consumer.consume(min(5000, left), timeout=5)
            assert records, f"{left} records did not come"
            found += [_seen(record) for record in records]
            left -= len(records)
    finally:
        consumer.close()
    return sorted(found, key=lambda seen: (seen.topic, seen.partition, seen.offset))


def _seen(record: Any) -> Seen:
    assert record.error() is None
    headers = dict(record.headers() or [])
    return Seen(
        record.topic(),
        record.partition(),
        record.offset(),
        record.key().decode() if record.key() is not None else None,
        json.loads(record.value()),
        headers["id"].decode() if "id" in headers else None,
        record.timestamp()[1],
    )


def assert_in_order(seen: Sequence[Seen], expected: dict[str, list[str]]) -> None:
    """The first time each event is seen follows those before it of the same activity, and none lacks.

    `expected`: the ids of each activity's events in the order of their seq.
    """
    first: dict[str, list[str]] = {}
    met: set[str] = set()
    for record in seen:
        assert record.key is not None
        assert record.event_id is not None
        if record.event_id not in met:
            met.add(record.event_id)
            first.setdefault(record.key, []).append(record.event_id)
    assert first == expected


def wait_for(done: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Return as soon as `done()`; fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.05)
