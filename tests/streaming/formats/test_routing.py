"""Which record has which format, what becomes of one that cannot be used, and that no format costs nothing."""

from dataclasses import replace

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.common.currencies import minor_units
from jobs.common.formats.mapping import Formats
from jobs.streaming.formats_in_force import usable
from jobs.streaming.parse import parse
from tests.streaming.formats.cases import CASES, FORMATS, NOW
from tests.streaming.formats.reading import Record, bronze, definitions, read

PLAIN = (
    b'{"eventId":"p","activityId":"A","supplierId":"Q","activityType":"BOOKING","amountMinor":1,"currency":"USD",'
    b'"status":"BOOKED","version":1,"eventTime":"2026-03-09T10:00:00Z"}'
)
OWN = CASES[0].value
BEAT = b'{"heartbeat":true,"eventTime":"2026-03-09T10:00:00Z"}'
_NOT_PLAIN = ["MISSING_FIELD:activityId", "MISSING_FIELD:activityType"]


def _by(*names: bytes | None) -> list[tuple[str, bytes | None]]:
    return [("other", b"x"), *(("supplierId", name) for name in names)]


#: (record, kind, supplier, its first reasons)
ROUTES: list[tuple[Record, str, str | None, list[str]]] = [
    (("SUPPLIER", OWN, _by(b"Sjson")), "EVENT", "Sjson", []),
    (("SUPPLIER", OWN, _by(None, b"", b"\xff", b"x" * 129, b"Sjson", b"Q")), "EVENT", "Sjson", []),
    (("SUPPLIER", OWN, None), "QUARANTINE", None, _NOT_PLAIN),
    (("SUPPLIER", OWN, _by(b"Q")), "QUARANTINE", None, _NOT_PLAIN),
    (("SUPPLIER", OWN, _by(b"Plain")), "QUARANTINE", None, _NOT_PLAIN),
    (("SUPPLIER", OWN, [("supplierid", b"Sjson")]), "QUARANTINE", None, _NOT_PLAIN),
    # AGODA's payloads are AGODA's own, whatever a header says.
    (("AGODA", PLAIN, _by(b"Sjson")), "EVENT", "Q", []),
    (("AGODA", OWN, _by(b"Sjson")), "QUARANTINE", None, _NOT_PLAIN),
    # Where the supplier has no format the payload must agree: nobody speaks for another.
    (("SUPPLIER", PLAIN, _by(b"Q")), "EVENT", "Q", []),
    (("SUPPLIER", PLAIN, _by(b"Plain")), "QUARANTINE", "Q", ["INVALID_FIELD:supplierId"]),
    (("SUPPLIER", PLAIN, None), "EVENT", "Q", []),
    (("SUPPLIER", PLAIN, _by(b"Sjson")), "QUARANTINE", "Sjson", ["MISSING_FIELD:activityId", "MISSING_FIELD:status"]),
    (("SUPPLIER", BEAT, None), "HEARTBEAT", None, []),
    # Nor for the topic as a whole.
    (("SUPPLIER", BEAT, _by(b"Plain")), "QUARANTINE", None, _NOT_PLAIN),
    (("AGODA", BEAT, _by(b"Plain")), "HEARTBEAT", None, []),
    (("SUPPLIER", BEAT, _by(b"Sjson")), "QUARANTINE", "Sjson", ["MISSING_FIELD:activityId"]),
    # A format that cannot be used.
    (("SUPPLIER", OWN, _by(b"Lost")), "QUARANTINE", "Lost", ["INVALID_FIELD:format"]),
    (("SUPPLIER", b"\xff", _by(b"Lost")), "QUARANTINE", "Lost", ["INVALID_FIELD:format"]),
    (("SUPPLIER", b" " * 1_048_577, _by(b"Lost")), "QUARANTINE", "Lost", ["TOO_LARGE"]),
]


@pytest.fixture(scope="module")
def two(formats: Formats) -> Formats:
    """Two formats are enough here, and are planned sooner."""
    names = ("json", "csv")
    return Formats({n: formats.known[n] for n in names}, {}, {f"S{n}": n for n in names})


def test_the_header_says_whose_payload_it_is(spark: SparkSession, two: Formats) -> None:
    of = {**two.by_supplier, "Plain": None, "Lost": "lost"}
    mixed = replace(two, broken={"lost": "not there"}, by_supplier=of)
    rows = read(spark, [record for record, *_ in ROUTES], mixed)
    for row, (record, kind, supplier, reasons) in zip(rows, ROUTES, strict=True):
        told = (row["kind"], row["supplierId"] if kind != "HEARTBEAT" else None)
        assert told == (kind, supplier), record
        assert set(reasons) <= set(row["reasons"] or []), record
        if "format" in str(reasons) or "TOO_LARGE" in reasons:
            assert row["reasons"] == reasons


def test_the_defaults_format_is_that_of_suppliers_not_listed(spark: SparkSession, two: Formats) -> None:
    default = Formats(two.known, {}, {"Plain": None, "Scsv": "csv"}, "json")
    records: list[Record] = [
        ("SUPPLIER", OWN, _by(b"anybody")),
        ("SUPPLIER", PLAIN.replace(b'"Q"', b'"Plain"'), _by(b"Plain")),
        ("SUPPLIER", PLAIN, None),
        ("SUPPLIER", b"R1,12.345,ok,2026-03-09T10:00:00Z", _by(b"Scsv")),
    ]
    rows = read(spark, records, default)
    assert [(row["kind"], row["supplierId"]) for row in rows] == [
        ("EVENT", "anybody"),
        ("EVENT", "Plain"),
        ("EVENT", "Q"),
        ("EVENT", "Scsv"),
    ]


def test_a_format_that_cannot_be_used_is_told_and_the_others_go_on(
    spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = definitions(tmp_path_factory.mktemp("some"), {"json": FORMATS["json"], "avro": FORMATS["avro"]})
    avro = good["avro"]
    assert avro is not None
    odd = avro.replace('\\"string\\"', '\\"text\\"')
    assert odd != avro
    # A zone that Python knows here and Java does not there, and a pattern that Spark alone refuses.
    monkeypatch.setattr("jobs.common.formats.file.complaints_about", lambda _: [])
    json_ = str(good["json"])
    zone, pattern = json_.replace("Europe/Paris", "Mars/North"), json_.replace("dd/MM/yyyy HH:mm", "yyyy]MM[dd")
    wrong = {"gone": None, "old": '{"version":7}', "odd": odd, "zone": zone, "pattern": pattern}
    found = usable(spark, {**good, **wrong}, {})
    assert set(found.known) == {"json", "avro"}
    assert set(found.broken) == set(wrong)
    assert "Mars/North" in found.broken["zone"]
    assert found.broken["gone"] == "it is not in ref/formats: apply the policies again"


def test_avro_without_limits_is_not_read(
    spark: SparkSession, formats: Formats, monkeypatch: pytest.MonkeyPatch
) -> None:
    avro = {name: formats.known[name].resolved() for name in ("avro", "json")}
    monkeypatch.setattr("jobs.common.session.AVRO_LIMITS", ("-Dnobody.set.this=1",))
    found = usable(spark, avro, {})
    assert set(found.known) == {"json"}
    assert found.broken == {"avro": "spark.driver.extraJavaOptions needs -Dnobody.set.this=1"}


def test_without_formats_the_plan_is_what_it_was(spark: SparkSession, two: Formats) -> None:
    records = bronze(spark, [("SUPPLIER", PLAIN, _by(b"Sjson"))])

    def plan(which: Formats | None) -> str:
        parsed = parse(records, ["USD"], F.lit(NOW), which)
        return str(parsed._jdf.queryExecution().optimizedPlan())

    for word in ("sources", "header_supplier"):
        assert word in plan(two)
        assert word not in plan(None)
    assert "null AS format" in plan(None)


def test_many_formats_are_compiled_and_not_in_vain(spark: SparkSession, formats: Formats) -> None:
    """Whole-stage code that is too large for Java falls back in silence, but for a long error in the log."""
    records = bronze(spark, [("SUPPLIER", case.value, _by(f"S{case.format}".encode())) for case in CASES[:3]])
    spark.conf.set("spark.sql.codegen.fallback", "false")
    try:
        parsed = parse(records, sorted(minor_units()), F.lit(NOW), formats)
        parsed.write.format("noop").mode("overwrite").save()
    finally:
        spark.conf.unset("spark.sql.codegen.fallback")
