"""Personal fields of a payload become keyed hashes, and nothing else of it changes."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from jobs.common.currencies import minor_units
from jobs.common.privacy import Privacy
from jobs.common.session import quick_plans
from jobs.streaming.masking import DEPTH, Masker
from jobs.streaming.parse import parse
from tests.streaming.formats.cases import NOW
from tests.streaming.formats.reading import Record, bronze
from tests.streaming.masking.reference import KEY, NAME, hashed, masked, whole

FIELDS = ["guest.email", "guest.name", "notes", "a.b.c", 'odd "näme"/😀', "dotted\\.name"]
ANN = hashed("ann@example.org")


@pytest.fixture(scope="module")
def privacy(tmp_path_factory: pytest.TempPathFactory) -> Privacy:
    file = tmp_path_factory.mktemp("keys") / "k1"
    file.write_text(KEY)
    return Privacy(fields=FIELDS, headers=["X-User"], record_key=True, keys={NAME: f"file:{file}"}, key=NAME)


def read(spark: SparkSession, privacy: Privacy, records: list[Record]) -> list[Row]:
    with quick_plans(spark):
        parsed = parse(bronze(spark, records), sorted(minor_units()), F.lit(NOW))
        return sorted(Masker(spark, privacy).masked(parsed).collect(), key=lambda row: row["offset"])


def nested(levels: int) -> str:
    return '{"guest":{"email":"ann@example.org"},"x":' + "[" * (levels - 1) + "]" * (levels - 1) + "}"


#: (what it is, payload, what bronze holds of it)
CASES = [
    ("missing", '{"guest":{"phone":"1"}}', '{"guest":{"phone":"1"}}'),
    ("null", '{"guest":{"email":null}}', '{"guest":{"email":null}}'),
    ("nobody", '{"guest":null}', '{"guest":null}'),
    ("text", '{"guest":{"email":"ann@example.org"}}', f'{{"guest":{{"email":"{ANN}"}}}}'),
    ("empty", '{"notes":""}', f'{{"notes":"{hashed("")}"}}'),
    ("spaces", ' \n{ "guest" :\t{ "x" : 1 ,\r\n"email" : "ann@example.org" } }\n',
     f' \n{{ "guest" :\t{{ "x" : 1 ,\r\n"email" : "{ANN}" }} }}\n'),
    ("number", '{"notes":1.50e+400,"x":1e400}', f'{{"notes":"{hashed("1.50e+400")}","x":1e400}}'),
    ("huge number", '{"notes":' + "9" * 300 + "}", f'{{"notes":"{hashed("9" * 300)}"}}'),
    ("true", '{"notes":true}', f'{{"notes":"{hashed("true")}"}}'),
    ("object", '{"notes":{"a": [1, {}]}}', '{"notes":"%s"}' % hashed('{"a": [1, {}]}')),
    ("list", '{"notes":["a", "b"]}', '{"notes":"%s"}' % hashed('["a", "b"]')),
    ("escaped value", '{"guest":{"email":"\\u0061nn\\u0040example.org"}}', f'{{"guest":{{"email":"{ANN}"}}}}'),
    ("escaped name", '{"\\u0067ues\\u0074":{"em\\u0061il":"ann@example.org"}}',
     f'{{"\\u0067ues\\u0074":{{"em\\u0061il":"{ANN}"}}}}'),
    ("odd name", '{"odd \\"näme\\"/😀":"x","odd":1}', f'{{"odd \\"näme\\"/😀":"{hashed("x")}","odd":1}}'),
    ("odd name escaped", '{"odd \\u0022n\\u00E4me\\"\\/\\uD83D\\uDe00":"x"}',
     f'{{"odd \\u0022n\\u00E4me\\"\\/\\uD83D\\uDe00":"{hashed("x")}"}}'),
    ("dotted", '{"dotted.name":"x","dotted":{"name":"y"}}', f'{{"dotted.name":"{hashed("x")}","dotted":{{"name":"y"}}}}'),
    ("unicode", '{"notes":"ソフィア 😀\\n","x":"é"}', f'{{"notes":"{hashed("ソフィア 😀" + chr(10))}","x":"é"}}'),
    ("quotes", '{"x":"\\"notes\\":\\"no\\\\","notes":"a\\"b"}', f'{{"x":"\\"notes\\":\\"no\\\\","notes":"{hashed(chr(97) + chr(34) + chr(98))}"}}'),
    ("elsewhere", '{"x":{"notes":"kept"},"email":"kept"}', '{"x":{"notes":"kept"},"email":"kept"}'),
    ("a value like a name", '{"x":"notes","notes":"n"}', f'{{"x":"notes","notes":"{hashed("n")}"}}'),
    ("list of objects", '{"guest":[{"email":"ann@example.org"}, {"phone":1},null]}',
     f'{{"guest":[{{"email":"{ANN}"}}, {{"phone":1}},null]}}'),
    ("list of texts", '{"guest":["Ann",1, ["Bob"],null]}',
     f'{{"guest":["{hashed("Ann")}","{hashed("1")}", "{hashed(chr(91) + chr(34) + "Bob" + chr(34) + chr(93))}",null]}}'),
    ("empty list", '{"guest":[ ]}', '{"guest":[ ]}'),
    ("no object where one is due", '{"guest":"Ann, ann@example.org"}', f'{{"guest":"{hashed("Ann, ann@example.org")}"}}'),
    ("deeper", '{"a":{"b":[{"c":"x"},{"c":{"d":1}}]}}',
     '{"a":{"b":[{"c":"%s"},{"c":"%s"}]}}' % (hashed("x"), hashed('{"d":1}'))),
    ("masked before", f'{{"notes":"{ANN}"}}', f'{{"notes":"{ANN}"}}'),
    ("as deep as is looked", nested(DEPTH), nested(DEPTH).replace("ann@example.org", ANN)),
]  # fmt: skip
#: What cannot be taken apart.
WHOLE = [
    *("", "null", '"notes"', '["notes"]', '{"notes":"a"', '{"notes":"a"} x', "{'notes':'a'}", '{"notes":"\\ud800"}'),
    *('{"notes":"a","notes":"b"}', '{"guest":{"email":"a","email":"b"}}', '{"guest":{},"guest":{"email":"b"}}'),
    *('{"notes":NaN}', '{"notes":01}', '\ufeff{"notes":"a"}', nested(DEPTH + 1), '{"notes":"a\nb"}'),
]


def test_each_payload_is_masked_as_told(spark: SparkSession, privacy: Privacy) -> None:
    unreadable = [*(text.encode() for text in WHOLE), b'{"notes":"\xff"}', b'{"notes":"a","x":"' + b"x" * (1 << 20) + b'"}']
    values = [*(text.encode() for _, text, _ in CASES), *unreadable, None]
    wanted = [*(expected.encode() for *_, expected in CASES), *map(whole, unreadable), None]
    found = [row["value"] for row in read(spark, privacy, [("AGODA", value, None) for value in values])]
    told = [*(name for name, *_ in CASES), *WHOLE, "bytes", "large", "tombstone"]
    assert dict(zip(told, [v and bytes(v) for v in found], strict=True)) == dict(zip(told, wanted, strict=True))


def test_the_reference_says_the_same() -> None:
    assert [masked(text, FIELDS) if text.strip()[0] == text[0] else expected for _, text, expected in CASES] == [
        expected for *_, expected in CASES
    ]
