"""A real broker: it starts, remembers, says what is in its way, and never outlives its owner."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from jobs.cli.broker import Broker, refuse_security
from jobs.cli.processes import is_alive, read_pid, wait_until
from jobs.common.errors import FAILED, UserError
from jobs.common.kafka import bootstrap_servers, create_topics, spark_options, topic_names
from jobs.common.settings import Settings

LONG_AGO_MS = 946_684_800_000  # 2000-01-01
DAY_MS = 86_400_000
FAR_AHEAD_MS = round(time.time() * 1000) + 3_600 * DAY_MS


def read_all(servers: str, topic: str) -> list[tuple[int, bytes]]:
    """(timestamp ms, value) of partition 0, in order."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "test", "enable.auto.commit": False})
    try:
        here = TopicPartition(topic, 0, 0)
        # A node that came back leads its partitions a moment after it answers.
        assert wait_until(lambda: _leads(consumer, here), 20)
        _, end = consumer.get_watermark_offsets(here, timeout=10)
        consumer.assign([here])
        found: list[tuple[int, bytes]] = []
        while len(found) < end:
            record = consumer.poll(10)
            assert record is not None
            assert record.error() is None
            found.append((record.timestamp()[1], record.value() or b""))
        return found
    finally:
        consumer.close()


def _leads(consumer: Consumer, place: TopicPartition) -> bool:
    try:
        consumer.get_watermark_offsets(place, timeout=10)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.NOT_LEADER_FOR_PARTITION:
            raise
        return False
    return True


def test_what_was_acknowledged_is_there_after_a_restart_and_a_kill(tmp_path: Path) -> None:
    settings = Settings()
    started = time.monotonic()
    broker = Broker(tmp_path).start()
    try:
        # The promise is 15 s on an idle machine; a busy one gets some grace, a hang does not.
        assert time.monotonic() - started < 30
        assert sorted(create_topics(broker.bootstrap_servers, settings)) == sorted(topic_names(settings))
        assert create_topics(broker.bootstrap_servers, settings) == []
        address = broker.bootstrap_servers
        producer = Producer({"bootstrap.servers": address, "message.max.bytes": 6_000_000, "acks": "all"})
        for stamp, value in ((LONG_AGO_MS, b"old"), (FAR_AHEAD_MS, b"x" * 4_000_000)):
            producer.produce(settings.topics.agoda_raw, value, partition=0, timestamp=stamp)
            assert producer.flush(20) == 0
        broker.kill()
        broker.start()
        assert broker.bootstrap_servers == address
        broker.stop()
        broker.start()
        told = read_all(broker.bootstrap_servers, settings.topics.agoda_raw)
        assert [(stamp, len(value)) for stamp, value in told] == [(LONG_AGO_MS, 3), (FAR_AHEAD_MS, 4_000_000)]
        with pytest.raises(UserError, match="already runs"):
            Broker(tmp_path).start()
    finally:
        broker.stop()
    assert read_pid(tmp_path / "broker" / "broker.pid") is None


def test_times_that_sparks_source_cannot_read_are_refused(broker: Broker) -> None:
    topic, refused = "broker.times", list[int | None]()
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result()
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})

    def told(error: KafkaError | None, _message: Message) -> None:
        refused.append(error.code() if error is not None else None)

    # Within ten years; beyond; nanoseconds where milliseconds are meant.
    for stamp in (FAR_AHEAD_MS, FAR_AHEAD_MS + 100 * DAY_MS, FAR_AHEAD_MS * 1_000_000):
        producer.produce(topic, b"later", partition=0, timestamp=stamp, on_delivery=told)
        assert producer.flush(20) == 0
    assert refused == [None, KafkaError.INVALID_TIMESTAMP, KafkaError.INVALID_TIMESTAMP]


def test_a_taken_port_is_named_with_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(UserError, match=rf"Port {port} .* is taken: .*local\.broker_port") as raised:
            Broker(tmp_path, port).start()
    assert raised.value.exit_code == 2


def test_an_unwritable_home_is_named() -> None:
    with pytest.raises(UserError, match=r"Cannot write to /proc/.*local\.home"):
        Broker(Path("/proc/reco-test")).start()


def test_no_broker_outlives_a_parent_that_was_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from jobs.cli.broker import Broker;"
        "b = Broker(Path(sys.argv[1])).start(); print(b.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        pid = int(parent.stdout.readline())
        assert is_alive(pid)
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    assert wait_until(lambda: not is_alive(pid), 30)


def test_clients_find_the_local_broker_unless_told_another(tmp_path: Path) -> None:
    plain = Settings.model_validate({"local": {"home": str(tmp_path)}})
    assert bootstrap_servers(plain) == "127.0.0.1:9092"
    (tmp_path / "broker").mkdir()
    (tmp_path / "broker" / "address").write_text("127.0.0.1:12345")
    assert bootstrap_servers(plain) == "127.0.0.1:12345"
    told = {"bootstrap_servers": "far:9092", "options": {"client.id": "x"}}
    named = Settings.model_validate({"local": {"home": str(tmp_path)}, "kafka": told})
    expected = {"kafka.bootstrap.servers": "far:9092", "kafka.client.id": "x"}
    assert spark_options(named) == expected


def test_settings_of_a_secured_broker_start_none_here() -> None:
    refuse_security(Settings())
    with pytest.raises(UserError, match=r"take settings without kafka\.security"):
        refuse_security(Settings.model_validate({"kafka": {"security": {"protocol": "SSL"}}}))


def test_create_topics_without_a_broker_says_how_to_get_one() -> None:
    with pytest.raises(UserError, match=r"No Kafka broker answers at 127\.0\.0\.1:1 .*reco up") as caught:
        create_topics("127.0.0.1:1", Settings(), timeout=1)
    assert caught.value.exit_code == FAILED
