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
    # Most writers have one way; a blank less here and one more there must not make up for something else.
    colons, commas = rng.choice((((":",), (",",)), ((": ",), (", ",)), ((":", ": ", " :"), (",", ", ", ",\n  "))))
    pairs = [f'"{name}"{rng.choice(colons)}{values[name]}' for name in names]
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
    text = "{" + rng.choice(commas).join(pairs) + "}"
    for _ in range(rng.choice((0, 0, 0, 1))):
        place = rng.randrange(len(text) + 1)
        text = text[:place] + rng.choice(_TOKENS) + text[place + rng.choice((0, 0, 1)) :]
    return _stretched(rng, text) if rng.randrange(4) == 0 else text


def _stretched(rng: Random, text: str) -> str:
    """The text made as long as a plain event with these values is, with blanks or without, where it is shorter."""
    try:
        values = json.loads(text)
    except ValueError:
        return text
    if not isinstance(values, dict):
        return text
    told = _PLAIN | {name: value for name, value in values.items() if name in _PLAIN}
    for name, usual in _PLAIN.items():  # what is no text may be read as one
        told[name] = (
            json.dumps(told[name]) if isinstance(usual, str) and not isinstance(told[name], str) else told[name]
        )
    missing = len(json.dumps(told, separators=rng.choice(((",", ":"), (", ", ": "))), ensure_ascii=False)) - len(text)
    # The longest that fits comes at the end; blanks, which change nothing, go anywhere.
    filler = rng.choice(
        ("x" * missing, "}" * missing, " " * missing, ',"x":' + "1" * (missing - 5), ',"":0' + " " * (missing - 5))
    )
    if len(filler) != missing:
        return text
    places = [n for n, c in enumerate(text) if c in ",:{}"]
    place = rng.choice([*places, len(text) - 1, len(text)])
    return text[:place] + filler + text[place:]


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
        assert row["is_told"] == (row["offset"] in quickly)
        # Its message is put together from these values as they are.
        assert not row["is_told"] or "\\" not in text, text
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


def _written(comma: str, colon: str, number_colon: str, **changed: str) -> str:
    """The plain event with these signs between its parts, and some values in place of its own, as they stand."""
    values = {name: json.dumps(value) for name, value in _PLAIN.items()} | changed
    colons = {name: colon if isinstance(value, str) else number_colon for name, value in _PLAIN.items()}
    return "{" + comma.join(f'"{name}"{colons[name]}{value}' for name, value in values.items()) + "}"


#: What is as long as a plain event is, and none: bytes that are missing in one place are there in another.
_AS_LONG: dict[str, tuple[str, ...]] = {
    _written(",", ": ", ": ") + "x" * 8: ("MALFORMED_JSON",),
    _written(", ", ":", ": ") + "x" * 7: ("MALFORMED_JSON",),
    _written(", ", ": ", ":") + "xx": ("MALFORMED_JSON",),
    _written(",", ":", ":", activityId="7") + "xx": ("MALFORMED_JSON",),
    _written(",", ":", ":", activityId="7") + "  ": ("INVALID_FIELD:activityId",),
    _written(",", ":", ":", supplierId="true") + "xx": ("MALFORMED_JSON",),
    _written(",", ":", ":", supplierId='["a"]') + "xx": ("MALFORMED_JSON",),
    _written(",", ":", ":", supplierId='{"a":1}') + "xx": ("MALFORMED_JSON",),
    _written(",", ":", ":", eventTime="20260301") + "xx": ("MALFORMED_JSON",),
    _written(",", ":", ":", eventTime='{"a:":1}') + "xx": ("MALFORMED_JSON",),
    _written(",", ":", ":", eventTime='["a:"]') + "xx": ("MALFORMED_JSON",),
}


#: What the longer reading must tell apart: the end of the record, and halves of a character.
_HARD: dict[str, tuple[str, ...] | None] = {
    _written(",", ":", ":") + ',"end of record ¿"]': ("MALFORMED_JSON",),
    _written(",", ":", ":") + ',"end of record ¿"] and more': ("MALFORMED_JSON",),
    _written(",", ":", ":") + ',"x"],{}': ("MALFORMED_JSON",),
    _written(",", ":", ":", activityId=r'"\\ud83d\udc00"'): ("MALFORMED_JSON",),
    _written(",", ":", ":", activityId=r'"\ud83d\\\udc00"'): ("MALFORMED_JSON",),
    _written(",", ":", ":", activityId=r'"\\\uD83D\udc00"'): None,
    _written(",", ":", ":", activityId=r'"\\ud83d"'): None,
    _written(",", ":", ":", activityId=r'"\ud83d\uDC00"'): None,
}


def test_what_is_as_long_as_a_plain_event_is_still_read_whole(spark: SparkSession) -> None:
    published = CLOCK - timedelta(hours=1)
    plain = [_written(",", ":", ":"), _written(", ", ": ", ": ")]
    raws = [
        Raw("agoda.raw.activity", 0, n, b"k", text.encode(), published)
        for n, text in enumerate([*plain, *_AS_LONG, *_HARD])
    ]
    records = _records(spark, raws)
    told = parsing._told(parsing._with_text(records, None), None).where("is_told").select("offset").collect()
    assert sorted(row["offset"] for row in told) == [0, 1]
    rows = {row["offset"]: row for row in parsing.parse(records, sorted(minor_units()), F.lit(CLOCK)).collect()}
    for raw, reasons in zip(raws, [None, None, *_AS_LONG.values(), *_HARD.values()], strict=True):
        found = rows[raw.offset]["reasons"]
        assert (tuple(found) if found is not None else None) == reasons, raw.value
