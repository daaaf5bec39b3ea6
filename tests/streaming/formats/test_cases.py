"""Formats as truth tables: every payload becomes its event, or has its reasons, in one reading of them all."""

from collections.abc import Sequence
from datetime import UTC
from typing import Any

import pytest
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from jobs.common.currencies import minor_units
from jobs.common.formats.file import read_format
from jobs.common.formats.mapping import Formats
from jobs.common.local_rows import local_rows
from jobs.streaming.formats_in_force import usable
from jobs.streaming.parse import parse
from schemas.bronze import ACTIVITY_RAW
from tests.streaming.formats.cases import CASES, FORMATS, NOW, Case

_PLAIN = (
    b'{"eventId":"p","activityId":"A","supplierId":"Q","activityType":"BOOKING","amountMinor":1,"currency":"USD",'
    b'"status":"BOOKED","version":1,"eventTime":"2026-03-09T10:00:00Z"}'
)
Record = tuple[str, bytes | None, list[tuple[str, bytes | None]] | None]


def read(spark: SparkSession, records: Sequence[Record], formats: Formats | None) -> list[Row]:
    """What `parse` makes of (side, value, headers) that are published at NOW."""
    rows = [
        (
            n,
            side,
            value.hex() if value is not None else None,
            [(k, v.hex() if v is not None else None) for k, v in h or ()],
        )
        for n, (side, value, h) in enumerate(records)
    ]
    kind = "n bigint, side string, v string, h array<struct<key: string, hex: string>>"
    known = {
        "source": F.col("side"),
        "topic": F.lit("t"),
        "partition": F.lit(0),
        "offset": F.col("n"),
        "kafka_time": F.lit(NOW),
        "value": F.unhex("v"),
        "headers": F.when(
            F.size("h") > 0,
            F.transform("h", lambda h: F.named_struct(F.lit("key"), h["key"], F.lit("value"), F.unhex(h["hex"]))),
        ),
    }
    fields = ACTIVITY_RAW.schema.fields
    bronze = local_rows(spark, rows, kind).select(
        *[known.get(f.name, F.lit(None)).cast(f.dataType).alias(f.name) for f in fields]
    )
    return sorted(parse(bronze, sorted(minor_units()), F.lit(NOW), formats).collect(), key=lambda row: row["offset"])


@pytest.fixture(scope="module")
def formats(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Formats:
    folder = tmp_path_factory.mktemp("formats")
    definitions: dict[str, str | None] = {}
    for name, text in FORMATS.items():
        (folder / f"{name}.yaml").write_text(text)
        definitions[name] = read_format(folder / f"{name}.yaml")[0].resolved()
    found = usable(spark, definitions | {"gone": None, "odd": '{"version":1}'}, {})
    assert set(found.broken) == {"gone", "odd"}
    return found


@pytest.fixture(scope="module")
def results(spark: SparkSession, formats: Formats) -> list[Row]:
    """All cases, the header of each naming a supplier that has the case's format; the supplier's name is kept apart."""
    suppliers = {f"S{name}": name for name in FORMATS}
    named = Formats(formats.known, {}, suppliers)
    records: list[Record] = [("SUPPLIER", case.value, [("supplierId", f"S{case.format}".encode())]) for case in CASES]
    return read(spark, records, named)


def _shown(case: Case) -> str:
    return f"{case.format}-{(case.value or b'')[:60]!r}"


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda n: _shown(CASES[n]))
def test_each_payload(results: list[Row], number: int) -> None:
    case, row = CASES[number], results[number]
    if isinstance(case.expected, tuple):
        assert (row["kind"], tuple(row["reasons"])) == ("QUARANTINE", case.expected)
        return
    expected: dict[str, Any] = dict(case.expected)
    if case.format != "strict":
        expected["supplierId"] = f"S{case.format}"
    expected["eventId"] = expected["eventId"] or f"t-0-{number}"
    found = {name: row[name] for name in expected} | {"eventAt": row["eventAt"].astimezone(UTC)}
    assert (row["kind"], row["reasons"] or [], found) == ("EVENT", [], expected)
