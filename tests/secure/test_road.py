"""Every program over TLS and SCRAM with no more rights than docs/security.md lists, and nothing shows the password."""

import logging
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.alerts.service import run_once
from jobs.alerts.store import ensure_topic
from jobs.cli.main import main
from jobs.common.errors import UserError
from jobs.common.kafka import source_options, spark_options
from jobs.common.lake import open_table, read
from jobs.common.policies import apply
from jobs.common.settings import Kafka, Settings
from jobs.ingest.polling.deliver import Sink
from jobs.ingest.polling.main import _broker_is_there
from jobs.ingest.publisher import Outgoing
from jobs.streaming.main import run
from jobs.streaming.queries import Only
from tests.alerts.support import FakeHttp, change, routes_of, send
from tests.ingest.databases import Postgres
from tests.ingest.shop import Shop
from tests.secure.broker import PASSWORD, PLAIN_PASSWORD, PLAIN_USER, SecureBroker
from tests.secure.conftest import Make
from tests.secure.rights import rights_of
from tests.streaming.feed import consume, produce
from tests.streaming.nrt import POLICIES, beats, both
from tests.workloads.values import CLOCK

#: A part of the password that no escaping changes.
TELLTALE = "battery"


@pytest.mark.parametrize("only", [Only.NORMALISE, pytest.param(None, marks=pytest.mark.long)])
def test_the_stream_reads_and_writes_and_shows_the_password_nowhere(
    only: Only | None,
    make: Make,
    secure: SecureBroker,
    spark: SparkSession,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert TELLTALE in PASSWORD
    caplog.set_level(logging.INFO)
    settings = make("relay", "stream")
    (tmp_path / "policies.yaml").write_text(POLICIES % ("DAILY_ONLY", "0.50"))
    apply(settings, tmp_path / "policies.yaml", CLOCK)
    produce(settings, [*both("B-1", 0), *beats(1)])
    run(settings, available_now=True, only=only)
    assert len(read(open_table(settings, "activity"), "activity").to_dicts()) == 2
    sent = consume(plainly(settings, secure), settings.topics.agoda_canonical if only else settings.topics.results)
    assert [key for _, key, _ in sent] == [b"B-1"]
    reader = spark.read.format("kafka").options(**source_options(settings, settings.topics.agoda_raw))
    reader.load().explain("extended")
    out, err = capfd.readouterr()
    plans = plans_of(spark)
    assert any(".jaas.config" in plan for plan in plans), "the plans of what was written show options"
    shown = {"stdout": out, "stderr": err, "log": caplog.text, **{str(n): plan for n, plan in enumerate(plans)}}
    assert {name for name, text in shown.items() if TELLTALE in text} == set()
    assert holders(tmp_path) == []


def plainly(settings: Settings, secure: SecureBroker) -> Settings:
    """The same topics, seen by who may do everything."""
    return settings.model_copy(update={"kafka": Kafka(bootstrap_servers=secure.bootstrap_servers)})


def plans_of(spark: SparkSession) -> list[str]:
    """The text of every plan that Spark keeps for its web page."""
    found = spark._jsparkSession.sharedState().statusStore().executionsList()
    return [str(found.apply(number).physicalPlanDescription()) for number in range(found.size())]


def holders(folder: Path) -> list[Path]:
    """The files that hold the password: tables, checkpoints, progress, logs."""
    return [path for path in folder.rglob("*") if path.is_file() and TELLTALE.encode() in path.read_bytes()]


WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "SCRAM-SHA-256": ("secure", {"mechanism": "SCRAM-SHA-256"}),
    "PLAIN": ("secure", {"mechanism": "PLAIN", "username": PLAIN_USER, "password": "env:PLAIN_PASSWORD"}),
    "certificate": ("mutual", {"protocol": "SSL", "username": None, "password": None}),
}


@pytest.mark.parametrize(
    "way", [pytest.param(way, marks=pytest.mark.long) for way in ("certificate", "SCRAM-SHA-256", "PLAIN")]
)
def test_both_kinds_of_client_come_in_by_every_way(
    way: str, make: Make, secure: SecureBroker, spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener, security = WAYS[way]
    monkeypatch.setenv("PLAIN_PASSWORD", PLAIN_PASSWORD)
    key, certificate = secure.client_certificate(tmp_path)
    if way == "certificate":
        security = security | {"key": f"file:{key}", "certificate_file": str(certificate)}
    settings = make("relay", "stream", listener=listener, **security)
    produce(settings, both("B-1", 0))
    topic = settings.topics.agoda_raw
    read_back = spark.read.format("kafka").options(**spark_options(settings)).option("subscribe", topic).load()
    assert read_back.count() == 1
    read_back.withColumn("topic", F.lit(settings.topics.results)).select("topic", "value").write.format(
        "kafka"
    ).options(**spark_options(settings)).save()
    assert len(consume(plainly(settings, secure), topic)) == 1
    if way == "certificate":
        a_line_of_the_key = key.read_text().splitlines()[1]
        plans = plans_of(spark)
        assert any("ssl.keystore.key" in plan for plan in plans)
        assert not any(a_line_of_the_key in plan for plan in plans)


def test_alerts_lead_read_and_keep_their_state(
    make: Make, secure: SecureBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_SECRET", "s3cret")
    hook = FakeHttp()
    sink = {"kind": "webhook", "url": hook.url, "secret": "env:HOOK_SECRET", "timeout": "5s"}
    routes = routes_of(tmp_path, sinks={"hook": sink})
    settings = make("alerts")
    try:
        ensure_topic(settings)
        send(secure.bootstrap_servers, settings.topics.results, [change("A")])
        assert run_once(settings, routes, Event()).desk.sent == {"hook": 1}
        assert run_once(settings, routes, Event()).desk.sent == {"hook": 0}
    finally:
        hook.close()
    secure.forbid(
        settings.kafka.security.username, *[one for one in rights_of(settings, "alerts") if "TRANS" in str(one[0])]
    )
    with pytest.raises(UserError, match=r"WRITE with the transactional id .*alerts\.group"):
        run_once(settings, routes, Event())


def test_the_poller_publishes(make: Make) -> None:
    settings = make("heartbeat --side supplier")
    assert _broker_is_there(settings, Event())
    sink = Sink(settings, lambda: False)
    assert sink.publish([Outgoing(settings.topics.supplier_raw, b"k", b"v")]) == []


@pytest.mark.long
def test_the_relay_empties_an_outbox(make: Make, tmp_path: Path) -> None:
    settings = make("relay")
    database = Postgres()
    try:
        with Shop(database, settings.kafka.bootstrap_servers, tmp_path, settings) as shop:
            shop.add("A-1", "A-2")
            assert shop.drain().published == 2
    finally:
        database.close()


def test_a_heartbeat_comes_through(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = make("heartbeat --side supplier", "status")
    with pytest.raises(SystemExit) as ended:
        main(["heartbeat", "--side", "supplier", "--once", "--settings", str(tmp_path / "settings.yaml")])
    assert ended.value.code == 0, capsys.readouterr().err
    assert settings.kafka.security.username
