"""`reco doctor`: what it finds and how to mend it stand apart, each whole."""

import json
from pathlib import Path

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
)

from jobs.cli import doctor
from jobs.cli.broker import Broker
from jobs.cli.main import main
from jobs.cli.processes import wait_until
from jobs.common.kafka import create_topics
from jobs.common.kafka_reach import partitions
from jobs.common.settings import Settings

SAYS = "message.timestamp.after.max.ms"


def checks(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, object]]:
    with pytest.raises(SystemExit):
        main(["doctor", "--json"])
    return {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}


def test_a_broker_that_is_away_and_a_damaged_table_are_told_whole_and_so_are_their_remedies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "partitions", lambda *told, **more: partitions(*told, **{**more, "seconds": 0.5}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RECO_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    log = Path(Settings().table_path("fx_rates")) / "_delta_log"
    log.mkdir(parents=True)
    (log / f"{0:020}.json").write_text("{torn")
    found = checks(capsys)
    broker, lake = found["broker"], found["FX"]
    assert str(broker["found"]).startswith("no Kafka broker answers at 127.0.0.1:1 (")
    assert str(broker["found"]).endswith("Connection refused)")
    assert broker["remedy"] == "start one with `reco up`, or set kafka.bootstrap_servers"
    assert str(lake["found"]).startswith(f"The table {log.parent} cannot be read: ")
    assert len(str(lake["found"])) > len(f"The table {log.parent} cannot be read: ") + 20
    assert str(lake["remedy"]).startswith("see that the place can be reached")


def test_a_topic_that_takes_times_of_any_year_is_warned_of(broker: Broker) -> None:
    topics = {name: f"doctor.{name}" for name in Settings().topics.model_dump() if name != "partitions"}
    kafka = {"bootstrap_servers": broker.bootstrap_servers}
    settings = Settings.model_validate({"kafka": kafka, "topics": {**topics, "partitions": 1}})
    create_topics(broker.bootstrap_servers, settings)
    well = doctor.CHECKS["broker"](settings)
    assert (well.ok, well.warns, well.remedy) == (True, False, "")
    entry = ConfigEntry(SAYS, str(2**63 - 1), incremental_operation=AlterConfigOpType.SET)
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    for name in (settings.topics.agoda_raw, settings.topics.results):
        resource = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=[entry])
        admin.incremental_alter_configs([resource])[resource].result()
    # A node tells of a change once it has heard of it from the controller.
    assert wait_until(lambda: doctor.CHECKS["broker"](settings).warns, 20)
    warned = doctor.CHECKS["broker"](settings)
    assert warned.ok
    assert warned.found == (
        f"{well.found}; a record with a time of more than ten years ahead, like one in nanoseconds, gets into "
        "doctor.agoda_raw and ends the query normalise, for Spark cannot read it"
    )
    assert warned.remedy == f"set {SAYS} of doctor.agoda_raw to 86400000, a day"
