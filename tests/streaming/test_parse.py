"""What is nearly a plain event: the quick reading of one must never take another text for it."""

import json
from collections import Counter
from datetime import timedelta
from random import Random

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.common.currencies import minor_units
from jobs.streaming import parse as parsing
from tests.oracle.model import Event
from tests.oracle.normalise import Raw, normalise
from tests.workloads.values import CLOCK

_PLAIN = {
    "eventId": "e-1",
    "activityId": "BK-1",
    "supplierId": "SUP-1",
    "activityType": "BOOKING",
    "amountMinor": 1050,
    "currency": "EUR",
    "status": "BOOKED",
    "version": 1,
    "eventTime": "2026-03-01T10:00:00.000Z",
}
#: What else may stand where a value stands.
_VALUES: tuple[str, ...] = (
    '""',
    '"7"',
    "7",
    "-7",
    "0",
    "-0",
    "07",
    "1.0",
    "1e2",
    "true",
    "false",
    "null",
    "NaN",
    "Infinity",
    "-Infinity",
)
_VALUES += ("[]", '["a"]', '["BOOKED"]', '["2026-03-01T10:00:00Z"]', "[7]", "'a'", "'a\"b'", '"a\'b"', '"true"', '"["')
_VALUES += (
    '"\t"',
    '"\\t"',
    '"é"',
    '"\\u00e9"',
    '" "',
    "BOOKED",
    '"BOOKED',
    '"NaN"',
    '"-7"',
    '"2026-03-01T10:00:00+0530"',
)
#: What may come in, or stand in another's place, anywhere.
_TOKENS: tuple[str, ...] = (
    '"',
    '""',
    "'",
    ":",
    ",",
    "{",
    "}",
    "[",
    "]",
    " ",
    "\n",
    "\t",
    "\\",
    '\\"',
    "0",
    "-",
    "/**/",
    "//",
    "\ufeff",
    "x",
)
_TOKENS += (
    '"status":1,',
    '"extra":1,',
    '"eventId":"e-2",',
    '"extra":"x",',
    "'extra':'\"\"',",
    '"a":["x"],',
    '"":"",',
    "\x00",
)


def texts(rng: Random, count: int) -> list[str]:
    """So many texts, each a plain event but for one to three changes; some have none."""
    return [_text(rng) for _ in range(count)]


def _text(rng: Random) -> str:
    names = list(_PLAIN)
    rng.shuffle(names)
    values = {name: json.dumps(value) for name, value in _PLAIN.items()}
    for _ in range(rng.choice((0, 1, 1, 2))):
        values[rng.choice(names)] = rng.choice(_VALUES)
    pairs = [f'"{name}"{rng.choice((":", ": ", " :"))}{values[name]}' for name in names]
    for _ in range(rng.choice((0, 0, 0, 1, 2))):
        change = rng.randrange(4)
        if change == 0:
            pairs.pop(rng.randrange(len(pairs)))
        elif change == 1:
            pairs.insert(rng.randrange(len(pairs) + 1), rng.choice(pairs))
        elif change == 2:
            pairs.append(f'"{rng.choice(("extra", "heartbeat", "EventId", "status"))}": {rng.choice(_VALUES)}')
        else:
            place = rng.randrange(len(pairs))
            pairs[place] = pairs[place].replace('"', rng.choice(("", "'", '\\"')), rng.choice((1, 2)))
    text = "{" + rng.choice((",", ", ", ",\n  ")).join(pairs) + "}"
    for _ in range(rng.choice((0, 0, 0, 1))):
        place = rng.randrange(len(text) + 1)
        text = text[:place] + rng.choice(_TOKENS) + text[place + rng.choice((0, 0, 1)) :]
    return text


def _records(spark: SparkSession, raws: list[Raw]) -> DataFrame:
    rows: list[tuple[object, ...]] = [
        ("AGODA", r.topic, r.partition, r.offset, r.timestamp, r.key, r.value, []) for r in raws
    ]
    schema = "source string, topic string, partition int, offset bigint, kafka_time timestamp, key binary, value binary"
    return spark.createDataFrame(rows, schema + ", headers array<struct<key: string, value: binary>>")


def test_what_is_nearly_plain_is_what_the_oracle_says(spark: SparkSession) -> None:
    published = CLOCK - timedelta(hours=1)
    found = texts(Random(29), 6000)
    raws = [Raw("agoda.raw.activity", 0, n, b"k", text.encode(), published) for n, text in enumerate(found)]
    records = _records(spark, raws)
    told = parsing._told(parsing._with_text(records, None), None).where("is_told").select("offset").collect()
    rows = parsing.parse(records, sorted(minor_units()), F.lit(CLOCK)).collect()
    assert len(rows) == len(raws)
    kinds, quickly = Counter[tuple[str, bool]](), {row["offset"] for row in told}
    for row in rows:
        verdict = normalise(raws[row["offset"]], CLOCK)
        text = found[row["offset"]]
        kinds[verdict[0], row["offset"] in quickly] += 1
        if verdict[0] == "event":
            event = verdict[1]
            assert isinstance(event, Event)
            assert row["kind"] == "EVENT", text
            assert (row["eventId"], row["activityId"], row["supplierId"]) == (
                event.event_id,
                event.activity_id,
                event.supplier_id,
            ), text
            assert (row["amountMinor"], row["version"]) == (event.amount_minor, event.version), text
        elif verdict[0] == "quarantine":
            assert (row["kind"], tuple(row["reasons"])) == ("QUARANTINE", verdict[1]), text
        else:
            assert row["kind"] == "HEARTBEAT", text
    each = [kinds[kind, quick] for kind in ("event", "quarantine") for quick in (True, False)]
    assert min(each) > 50, f"each reading must have met both: {kinds}"
