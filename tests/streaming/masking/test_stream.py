"""The stream with masking on: what a person is called is nowhere in the lake, and everything is as without it."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.cli.broker import Broker
from jobs.common.kafka import topic_partitions
from jobs.common.lake import open_table, read
from jobs.common.law import measure
from jobs.common.privacy import Privacy, pseudonym
from jobs.common.settings import Settings
from jobs.erase.main import erase, wanted_of
from jobs.maintain.main import maintain
from jobs.streaming.main import start_normalise
from tests.oracle.normalise import Raw
from tests.streaming.feed import consume, new_settings, produce
from tests.streaming.masking.reference import KEY, NAME
from tests.workloads.records import numbered
from tests.workloads.values import CLOCK

ANN, PHONE = "ann@example.org", "+66 2 123 4567"
TOPIC = "agoda.raw.activity"


def event(number: int, **more: object) -> bytes:
    told = {"eventId": f"e{number}", "activityId": f"BK-{number}", "supplierId": "S", "activityType": "BOOKING"}
    told |= {"amountMinor": number, "currency": "USD", "status": "BOOKED", "version": 1}  # type: ignore[dict-item]
    return json.dumps({**told, "eventTime": f"{CLOCK:%Y-%m-%dT%H:%M:%SZ}", **more}).encode()


VALUES = [
    event(1, guest={"email": ANN, "phone": PHONE}),
    event(2, guest={"email": ANN}, version=0),
    event(3, guest=[ANN]),
    b'{"guest":{"email":"ann@example.org"',
    b'{"heartbeat":true,"eventTime":"%s","guest":{"email":"ann@example.org"}}' % f"{CLOCK:%Y-%m-%dT%H:%M:%SZ}".encode(),
    event(4),
]


def test_nobodys_name_is_in_the_lake(
    spark: SparkSession, broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECO_TEST_KEY", KEY)
    privacy = Privacy(
        fields=["guest.email", "guest.phone"], headers=["user"], keys={NAME: "env:RECO_TEST_KEY"}, key=NAME
    )
    made = new_settings(str(tmp_path / "lake"), broker.bootstrap_servers, "masking", summary_minutes=0)
    settings = made.model_copy(update={"privacy": privacy})
    headers = [(("user", ANN.encode()),), *[()] * 5]
    drafts = zip(VALUES, headers, strict=True)
    records = numbered(Raw(TOPIC, 0, 0, b"BK", value, CLOCK, told) for value, told in drafts)
    produce(settings, records)
    query = start_normalise(spark, settings, topic_partitions(settings), available_now=True, clock=lambda: CLOCK)
    query.awaitTermination()

    bronze = read(open_table(settings, "activity_raw"), "activity_raw").sort("offset")
    quarantine = read(open_table(settings, "quarantine"), "quarantine").sort("offset")
    silver = read(open_table(settings, "activity"), "activity").sort("offset")
    assert (bronze.height, silver["offset"].to_list(), quarantine["offset"].to_list()) == (6, [0, 2, 5], [1, 3])
    assert quarantine["reasons"].to_list() == [["INVALID_FIELD:version"], ["MALFORMED_JSON"]]
    assert quarantine["value"].to_list() == [bronze["value"][1], bronze["value"][3]]
    ann, phone = (pseudonym(NAME, KEY.encode(), value) for value in (ANN, PHONE))
    assert bronze["value"][0] == VALUES[0].replace(ANN.encode(), ann.encode()).replace(PHONE.encode(), phone.encode())
    assert bronze["value"][5] == VALUES[5]
    assert bronze["headers"][0][0] == {"key": "user", "value": ann.encode()}
    law = measure(settings)
    assert law is not None
    assert law.holds

    sent = b"".join(value or b"" for topic in ("agoda_canonical", "agoda_nrt") for _, _, value in _of(settings, topic))
    assert b"BK-1" in sent
    files = b"".join(file.read_bytes() for file in Path(settings.lake.root).rglob("*") if file.is_file())
    for secret in (ANN, PHONE, KEY):
        assert secret.encode() not in sent + files
    assert ann.encode() in files, "files are not compressed so that nothing could be found"

    (tmp_path / "values").write_text(ANN)
    wanted = wanted_of(privacy, [], tmp_path / "values", ["guest.email"], [])
    assert erase(settings, wanted, "DSR-1", "asked", "vera", CLOCK).bronze_records == 4
    maintain(settings, datetime.now(UTC), ["activity_raw", "quarantine"], vacuum_hours=0)
    files = b"".join(file.read_bytes() for file in Path(settings.lake.root).rglob("*") if file.is_file())
    assert ann.encode() not in files
    law = measure(settings)
    assert law is not None
    assert law.holds


def _of(settings: Settings, topic: str) -> list[tuple[int, bytes | None, bytes | None]]:
    return consume(settings, getattr(settings.topics, topic))
