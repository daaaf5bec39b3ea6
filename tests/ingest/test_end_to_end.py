"""Both databases' outboxes and a polled API, through relay, poller and stream into the close: as the oracle says."""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event as Signal
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from pyspark.sql import SparkSession
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from jobs.cli.broker import Broker
from jobs.common.engines.duckdb import duckdb_session
from jobs.common.errors import DONE
from jobs.common.kafka import topic_partitions
from jobs.common.lake import append_version
from jobs.common.settings import Settings
from jobs.daily.close import close_day
from jobs.ingest.outbox import open_outbox
from jobs.ingest.polling.config import read_suppliers
from jobs.ingest.polling.main import run_once
from jobs.ingest.relay import Relay
from jobs.ingest.relay_command import create
from jobs.ingest.stopping import Stopping
from jobs.streaming.main import start_normalise
from tests.ingest.databases import Database, MariaDb, Postgres
from tests.oracle.close import close
from tests.oracle.model import Event
from tests.oracle.normalise import Raw, normalise
from tests.properties.harness import Verdicts, comparable, failing_suppliers
from tests.properties.lake import policy_rows, rate_rows, verdicts_of
from tests.streaming.feed import new_settings
from tests.workloads.generate import Workload, generate_workloads, pack
from tests.workloads.records import payload
from tests.workloads.values import DAYS, FX, HISTORY_DAYS

DAY = DAYS[1]
_PAGE = 7
_INSERT = "insert into outbox_e2e (aggregatetype, aggregateid, type, payload) values (%s, %s, %s, %s)"


def test_what_was_written_and_served_is_what_the_close_says(
    spark: SparkSession, broker: Broker, postgres: Postgres, mariadb: MariaDb, httpserver: HTTPServer, tmp_path: Path
) -> None:
    workloads = _workloads()
    pushing, polled = workloads[:-4], workloads[-4:]
    settings = _settings(broker, tmp_path, workloads)
    told = [
        settings.model_copy(update={"outbox": settings.outbox.model_copy(update={"dsn": server.dsn, "sides": [side]})})
        for server, side in ((postgres, "agoda"), (mariadb, "supplier"))
    ]
    for one in told:
        create(one)
    _book(postgres, "agoda", pack(workloads))
    _book(mariadb, "supplier", pack(pushing))
    relayed = [Relay(one, open_outbox(one.outbox), Stopping()).run(until_empty=True) for one in told]
    assert [done.parked for done in relayed] == [0, 0]
    _serve(httpserver, Path(settings.poll.folder), polled)
    assert run_once(settings, read_suppliers(Path(settings.poll.folder)), Signal(), as_json=True) == DONE

    records = list(_raw_records(settings))
    now = datetime.now(UTC)
    events = list(_events(records, now))
    assert {event.identity for event in events} == {event.identity for event in pack(workloads)}, "nothing is lost"
    start_normalise(
        spark, settings, topic_partitions(settings), available_now=True, clock=lambda: now
    ).awaitTermination()
    with duckdb_session(settings) as duckdb:
        close_day(duckdb, settings, DAY, now)
    wanted = close(events, {workload.supplier_id: workload.policy for workload in workloads}, FX, DAY, HISTORY_DAYS)
    expected = Verdicts(
        {(DAY, *key): comparable(fact) for key, fact in wanted.facts.items()},
        {(DAY, *key): comparable(broken) for key, broken in wanted.anomalies.items()},
    )
    assert len(expected.facts) > 20
    assert {workload.supplier_id for workload in polled} & {supplier for _, supplier, _ in expected.facts}
    report = failing_suppliers(workloads, expected, verdicts_of(settings, [DAY]))
    assert not report, report


def _workloads() -> list[Workload]:
    """Those that PostgreSQL can hold, which knows no text with a zero byte."""
    drawn = generate_workloads(60, 11)
    return [workload for workload in drawn if "\\u0000" not in json.dumps([payload(one) for one in workload.events])]


def _settings(broker: Broker, folder: Path, workloads: Sequence[Workload]) -> Settings:
    settings = new_settings(str(folder / "lake"), broker.bootstrap_servers, "e2e")
    append_version(settings, "policies", [*policy_rows(workloads)], 1, None)
    append_version(settings, "fx_rates", [*rate_rows(FX)], 1, None)
    outbox = {"table": "outbox_e2e", "heartbeat_seconds": 1, "batch_size": 100}
    poll = {"folder": str(folder / "suppliers"), "state": str(folder / "state")}
    return settings.model_copy(
        update={
            "outbox": settings.outbox.model_copy(update=outbox),
            "poll": settings.poll.model_copy(update=poll),
        }
    )


def _book(database: Database, side: str, events: Iterable[Event]) -> None:
    """What one side reports, by its application, a few rows a transaction."""
    connection = database.connect()
    with connection.cursor() as cursor:
        own = [event for event in events if event.source.lower() == side]
        for number, event in enumerate(own, 1):
            row = (side, event.activity_id, event.activity_type, json.dumps(payload(event)))
            cursor.execute(_INSERT, row)
            if number % 5 == 0:
                connection.commit()
    connection.commit()
    connection.close()


def _serve(httpserver: HTTPServer, folder: Path, polled: Sequence[Workload]) -> None:
    """An API a supplier, in pages, and the file that describes it."""
    folder.mkdir()
    for number, workload in enumerate(polled):
        items = [payload(event) for event in workload.events if event.source == "SUPPLIER"]

        def answer(request: Request, items: Sequence[dict[str, Any]] = items) -> Response:
            start = int(request.args["page"]) * _PAGE
            return Response(json.dumps({"items": items[start : start + _PAGE]}))

        httpserver.expect_request(f"/{number}").respond_with_handler(answer)
        described = {
            "supplier": workload.supplier_id,
            "url": httpserver.url_for(f"/{number}"),
            "paging": {"kind": "page", "page_param": "page", "first_page": 0},
            "items": "items",
            "rate_limit": 1000,
        }
        (folder / f"{number}.yaml").write_text(json.dumps(described))


def _raw_records(settings: Settings) -> Iterator[Raw]:
    """Everything on both raw topics, as the oracle reads it."""
    options = {"bootstrap.servers": settings.kafka.bootstrap_servers, "group.id": "test", "fetch.wait.max.ms": 10}
    consumer = Consumer(options)
    names = {settings.topics.agoda_raw: "agoda.raw.activity", settings.topics.supplier_raw: "supplier.raw.activity"}
    try:
        for topic, number in ((topic, number) for topic in names for number in range(settings.topics.partitions)):
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=20)
            consumer.assign([TopicPartition(topic, number, low)])
            for _ in range(high - low):
                message = consumer.poll(20)
                assert message is not None
                assert message.error() is None
                stamp = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=message.timestamp()[1])
                headers: Any = tuple(message.headers() or ())
                offset = message.offset()
                assert offset is not None
                yield Raw(names[topic], number, offset, message.key(), message.value(), stamp, headers)
    finally:
        consumer.close()


def _events(records: Iterable[Raw], now: datetime) -> Iterator[Event]:
    for record in records:
        verdict = normalise(record, now)
        assert verdict[0] != "quarantine", (record, verdict)
        if verdict[0] == "event":
            yield verdict[1]


@pytest.fixture(autouse=True)
def _gone(postgres: Postgres, mariadb: MariaDb) -> Iterator[None]:
    """The servers are the other tests' too."""
    yield
    for server in (postgres, mariadb):
        for suffix in ("", "_dead", "_heartbeat"):
            server.run(f"drop table if exists outbox_e2e{suffix}")
