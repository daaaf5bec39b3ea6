"""Personal fields of a payload become keyed hashes, and nothing else of it changes."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from jobs.common.currencies import minor_units
from jobs.common.errors import UserError
from jobs.common.law import is_heartbeat
from jobs.common.marks import is_masked_whole
from jobs.common.privacy import Privacy, key_bytes, pads, pseudonym
from jobs.common.session import quick_plans
from jobs.streaming.masking import DEPTH, Masker
from jobs.streaming.parse import parse
from tests.streaming.formats.cases import NOW
from tests.streaming.formats.reading import Record, bronze
from tests.streaming.masking.cases import FIELDS, MARKED, WHOLE, expected, payload
from tests.streaming.masking.reference import KEY, NAME, hashed, masked, whole

EVENT = {
    "eventId": "e",
    "activityId": "BK-1",
    "supplierId": "S",
    "activityType": "BOOKING",
    "amountMinor": 1,
    "currency": "USD",
    "status": "BOOKED",
    "version": 1,
    "eventTime": f"{NOW:%Y-%m-%dT%H:%M:%SZ}",
}


@pytest.fixture(scope="module")
def privacy(tmp_path_factory: pytest.TempPathFactory) -> Privacy:
    file = tmp_path_factory.mktemp("keys") / "k1"
    file.write_text(KEY)
    return Privacy(fields=FIELDS, headers=["X-User"], record_key=True, keys={NAME: f"file:{file}"}, key=NAME)


@pytest.fixture(scope="module")
def masker(spark: SparkSession, privacy: Privacy) -> Masker:
    return Masker(spark, privacy)


def parsed(spark: SparkSession, records: list[Record]) -> DataFrame:
    rows = bronze(spark, records).withColumn("key", F.lit("BK-1").cast("binary"))
    return parse(rows, sorted(minor_units()), F.lit(NOW))


def read(spark: SparkSession, masker: Masker, values: list[bytes | None]) -> list[Row]:
    with quick_plans(spark):
        rows = masker.masked(parsed(spark, [("AGODA", value, None) for value in values]))
        return sorted(rows.collect(), key=lambda row: row["offset"])


def test_each_payload_is_masked_as_told(spark: SparkSession, masker: Masker) -> None:
    large = b'{"notes":"a","x":"' + b"x" * (1 << 20) + b'"}'
    unreadable = [*(text.encode() for text in WHOLE), b'{"notes":"\xff"}', large]
    values = [*(payload(marked).encode() for marked in MARKED.values()), *unreadable, None]
    wanted = [*(expected(marked).encode() for marked in MARKED.values()), *map(whole, unreadable), None]
    found = [row["value"] and bytes(row["value"]) for row in read(spark, masker, values)]
    named = [*MARKED, *WHOLE, "bytes", "large", "tombstone"]
    assert dict(zip(named, found, strict=True)) == dict(zip(named, wanted, strict=True))


def test_the_reference_is_right() -> None:
    assert {name: masked(payload(marked).strip(), FIELDS) for name, marked in MARKED.items()} == {
        name: expected(marked).strip() for name, marked in MARKED.items()
    }


_SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=6), st.sampled_from(["notes", "guest", '"}', "\\", "é😀"])
)
_NAMES = st.sampled_from(["guest", "email", "name", "notes", "a", "b", "c", 'odd "näme"/😀', "dotted.name", "x", "\\"])
_VALUES = st.recursive(
    _SCALARS, lambda below: st.lists(below, max_size=3) | st.dictionaries(_NAMES, below, max_size=4), max_leaves=8
)
_BODIES = st.tuples(
    st.dictionaries(_NAMES, _VALUES, max_size=5),
    st.dictionaries(st.sampled_from([*EVENT, "heartbeat"]), st.none() | st.just(True) | st.just("?"), max_size=2),
    st.sampled_from(["event", "heartbeat", "none"]),
    st.booleans(),
    st.sampled_from([None, 0, 2]),
)


def written(body: tuple[dict[str, Any], dict[str, Any], str, bool, int | None]) -> str:
    personal, wrong, kind, escaped, indent = body
    base = {"event": EVENT, "heartbeat": {"heartbeat": True, "eventTime": EVENT["eventTime"]}, "none": {}}[kind]
    return json.dumps({**personal, **base, **wrong}, ensure_ascii=escaped, indent=indent)


def generated(count: int) -> list[str]:
    """So many payloads, as hypothesis makes them; Spark is asked once for all."""
    found: list[str] = []

    @examples(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=[*HealthCheck],
    )
    @given(body=_BODIES)
    def collect(body: Any) -> None:
        found.append(written(body))

    collect()
    return found


def test_masking_never_changes_what_is_made_of_a_record(spark: SparkSession, masker: Masker) -> None:
    texts = generated(400)
    values: list[bytes | None] = [text.encode() for text in texts]
    rows = read(spark, masker, values)
    with quick_plans(spark):
        before = parsed(spark, [("AGODA", value, None) for value in values]).collect()
        again = parsed(spark, [("AGODA", bytes(row["value"]), None) for row in rows]).collect()
    made = [name for name in before[0].asDict() if name not in ("value", "headers", "key")]

    def of(found: list[Row]) -> list[dict[str, Any]]:
        return [{name: row[name] for name in made} for row in sorted(found, key=lambda row: row["offset"])]

    assert of(rows) == of(before)
    # What is read of the masked record is the same too: it can be sent again.
    assert of(again) == of(rows)
    assert [bytes(row["value"]).decode() for row in rows] == [masked(text, FIELDS) for text in texts]
    assert {row["kind"] for row in rows} == {"EVENT", "HEARTBEAT", "QUARANTINE"}
    assert sum(text.encode() != row["value"] for text, row in zip(texts, rows, strict=True)) > 100, "many have none"


def test_a_heartbeat_that_is_masked_whole_stays_one(spark: SparkSession, masker: Masker) -> None:
    beat = '{"heartbeat":true,"eventTime":"%s","notes":%s}' % (EVENT["eventTime"], "[" * DEPTH + "]" * DEPTH)  # noqa: UP031
    (row,) = read(spark, masker, [beat.encode()])
    assert row["kind"] == "HEARTBEAT"
    assert is_heartbeat(bytes(row["value"])), "the law counts it by its value in bronze"
    assert is_masked_whole(bytes(row["value"]))


def test_headers_and_keys_are_masked_once(spark: SparkSession, masker: Masker) -> None:
    pseudonym_ = hashed("ann").encode()
    given = [("x-user", b"ann"), ("X-USER", pseudonym_), ("x-user", None), ("id", b"e"), ("x-user", b"\xff")]
    records: list[Record] = [("AGODA", b"{}", given), ("AGODA", b"{}", None)]
    with quick_plans(spark):
        rows = masker.masked(parsed(spark, records)).orderBy("offset").collect()
    found = [(header["key"], header["value"] and bytes(header["value"])) for header in rows[0]["headers"]]
    wanted = [("x-user", pseudonym_), ("X-USER", pseudonym_), ("x-user", None), ("id", b"e")]
    assert found == [*wanted, ("x-user", hashed(b"\xff").encode())]
    assert rows[1]["headers"] is None
    assert bytes(rows[0]["key"]).decode() == hashed("BK-1")


def test_no_description_of_a_plan_shows_the_key(spark: SparkSession, masker: Masker, privacy: Privacy) -> None:
    rows = masker.masked(parsed(spark, [("AGODA", b'{"notes":"a"}', None)]))
    rows.collect()
    jvm: Any = spark._jvm
    mode = jvm.org.apache.spark.sql.execution.ExplainMode.fromString
    kinds = ("simple", "extended", "codegen", "cost", "formatted")
    executed = rows._jdf.queryExecution()
    told = [executed.explainString(mode(kind)) for kind in kinds]
    store = spark._jsparkSession.sharedState().statusStore()
    ran = store.executionsList()
    last = [ran.apply(number) for number in range(max(ran.size() - 3, 0), ran.size())]
    told += [execution.physicalPlanDescription() for execution in last]
    told += [str(store.planGraph(execution.executionId()).allNodes()) for execution in last]
    assert len(told) > len(kinds), "what Spark's web page shows was looked at"
    assert "mask_inner" in told[0]
    assert any("mask_inner" in text for text in told[len(kinds) :])
    key = key_bytes(privacy, NAME)
    for secret in (key, *pads(key)):
        piece = secret[:16]
        ways = (piece.hex(), piece.decode("latin-1"), str(list(piece))[1:-1], repr(bytearray(piece)))
        for way in ways:
            assert not any(way.lower() in text.lower() for text in told)


def test_a_pseudonym_is_an_hmac(privacy: Privacy) -> None:
    assert pseudonym(NAME, key_bytes(privacy, NAME), "ann@example.org") == hashed("ann@example.org")


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"fields": ["guest"]}, "must name one of keys"),
        ({"fields": ["supplierId"]}, "the stream reads it"),
        ({"fields": ["version.x"]}, "the stream reads it"),
        ({"fields": ["guest..email"]}, "no path"),
        ({"fields": [".".join("abcdefghi")]}, "no path"),
        ({"headers": ["ID"]}, "read by the stream"),
        ({"keys": {"k1": "a secret that is written down"}}, "referred to"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(told: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Privacy.model_validate(told)


def test_a_short_or_absent_key_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    privacy = Privacy(fields=["guest"], keys={"k1": "env:RECO_TEST_KEY"}, key="k1")
    with pytest.raises(UserError, match=r"privacy\.keys\.k1 refers to env:RECO_TEST_KEY, which is not set"):
        key_bytes(privacy, "k1")
    monkeypatch.setenv("RECO_TEST_KEY", "x" * 31)
    with pytest.raises(UserError, match="holds 31 bytes; a key has 32 at least"):
        key_bytes(privacy, "k1")
