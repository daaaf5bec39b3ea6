"""A canonical message is put together from its parts where that gives the very text that Spark's `to_json` does."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.common.local_rows import local_rows
from jobs.common.settings import Topics
from jobs.common.times import iso_time
from jobs.streaming.canonical import event_json, messages
from schemas.messages import CANONICAL_EVENT

_SCHEMA = (
    "eventId string, activityId string, supplierId string, activityType string, amountMinor bigint, currency string, "
    "status string, version bigint, eventAt timestamp, source string, kafka_time timestamp, mode string, "
    "grace_seconds bigint, versions string, policy_version bigint, topic string, partition int, offset bigint, "
    "eventTime string, is_told boolean"
)
_AT = datetime(2026, 3, 9, 10, 0, 0, 7000, tzinfo=UTC)
_IDS = [
    "BK-1",
    "é✓😀",
    'a"b',
    "a\\b",
    "a\\",
    "\t",
    "\n\r",
    "\x00",
    "\x1f",
    "\x7f",
    " ",
    "/",
    "</a>",
    "\u2028",
    "{}",
    "'",
    ",",
]
_PLACES = ("eventId", "activityId", "supplierId")


def _row(**changed: Any) -> tuple[Any, ...]:
    usual = {
        "eventId": "e-1",
        "activityId": "BK-1",
        "supplierId": "SUP-1",
        "activityType": "BOOKING",
        "amountMinor": 0,
        "currency": "EUR",
        "status": "BOOKED",
        "version": 1,
        "eventAt": _AT,
        "source": "AGODA",
        "kafka_time": _AT,
        "mode": "NRT_HOURLY",
        "grace_seconds": 900,
        "versions": "aligned",
        "policy_version": 3,
        "topic": "agoda.raw.activity",
        "partition": 2,
        "offset": 10**12,
        "eventTime": "2026-03-09T10:00:00.007Z",
        "is_told": False,
    }
    return tuple({**usual, **changed}.values())


#: What an event's time may be written as: some as long as a message has it, some not.
_TIMES = [
    "2026-03-09T10:00:00.007Z",
    "0001-01-01T00:00:00.000Z",
    "9999-12-31T23:59:59.999Z",
    "2026-03-09T10:00:00+0100",
    "2026-03-09T10:00:00.0-07",
    "2026-03-09T10:00:00.00Z",
    "2026-03-09T10:00:00.0079Z",
    "2026-03-09T10:00:00Z",
    "2026-03-09T23:30:00.007-09:00",
]


def test_a_time_is_written_in_one_form_however_it_came(spark: SparkSession) -> None:
    texts = [_row(eventTime=text, is_told=told) for text in _TIMES for told in (False, True)]
    rows = local_rows(spark, texts, _SCHEMA).withColumn("eventAt", iso_time(F.col("eventTime")))
    told = [json.loads(row["value"])["eventTime"] for row in rows.select(event_json().alias("value")).collect()]
    times = [datetime.fromisoformat(text).astimezone(UTC) for text in _TIMES]
    wanted = [f"{at.isoformat(timespec='milliseconds').removesuffix('+00:00')}Z" for at in times]
    assert told == [text for text in wanted for _ in (False, True)]


def test_topics_of_other_sizes_get_their_own_partitions(spark: SparkSession) -> None:
    topics = Topics()
    names = (topics.agoda_canonical, topics.agoda_nrt)
    rows = local_rows(spark, [(*_row(), "EVENT", None)], f"{_SCHEMA}, kind string, key binary")
    rows = rows.withColumn("partition", F.lit(5))
    for sizes in ((4, 4), (3, 4), (1, 6)):
        sent = messages(rows, topics, dict(zip(names, sizes, strict=True))).collect()
        assert {row["topic"]: row["partition"] for row in sent} == {
            name: 5 % size for name, size in zip(names, sizes, strict=True)
        }


def test_every_id_is_written_as_json_has_it(spark: SparkSession) -> None:
    wanted = [{place: text} for text in _IDS for place in _PLACES]
    rows = local_rows(spark, [_row(**one) for one in wanted], _SCHEMA).select(event_json().alias("value"))
    told = [json.loads(row["value"]) for row in rows.collect()]
    assert [{place: one[place] for place in want} for one, want in zip(told, wanted, strict=True)] == wanted
    assert all(list(one) == [field.name for field in CANONICAL_EVENT.fields] for one in told)


@pytest.mark.parametrize("name", ["eventId", "grace_seconds", "versions"])
def test_what_is_null_is_left_out(spark: SparkSession, name: str) -> None:
    camel = {"grace_seconds": "graceSeconds"}.get(name, name)
    row = local_rows(spark, [_row(**{name: None})], _SCHEMA).select(event_json().alias("value")).collect()[0]
    told = json.loads(row["value"])
    assert camel not in told
    assert len(told) == len(CANONICAL_EVENT.fields) - 1


def test_both_ways_give_the_same_text(spark: SparkSession) -> None:
    """The quick way's text is what `to_json` makes of it, read as the message it is."""
    rows = local_rows(spark, [_row(activityId=text) for text in _IDS], _SCHEMA).select(event_json().alias("value"))
    read = F.from_json("value", CANONICAL_EVENT)
    different = rows.where(F.to_json(read) != F.col("value")).collect()
    assert different == []
