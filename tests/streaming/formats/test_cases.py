"""Formats as truth tables: every payload becomes its event, or has its reasons, in one reading of them all."""

from datetime import UTC
from typing import Any

import pytest
from pyspark.sql import Row, SparkSession

from jobs.common.formats.mapping import Formats
from tests.streaming.formats.cases import CASES, Case
from tests.streaming.formats.reading import read


@pytest.fixture(scope="module")
def results(spark: SparkSession, formats: Formats) -> list[Row]:
    """All cases, the header of each naming a supplier that has the case's format."""
    return read(
        spark, [("SUPPLIER", case.value, [("supplierId", f"S{case.format}".encode())]) for case in CASES], formats
    )


def _shown(case: Case) -> str:
    return f"{case.format}-{(case.value or b'')[:60]!r}"


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda n: _shown(CASES[n]))
def test_each_payload(results: list[Row], number: int) -> None:
    case, row = CASES[number], results[number]
    if isinstance(case.expected, tuple):
        assert (row["kind"], tuple(row["reasons"])) == ("QUARANTINE", case.expected)
        return
    expected: dict[str, Any] = dict(case.expected) | {"supplierId": f"S{case.format}"}
    expected["eventId"] = expected["eventId"] or f"t-0-{number}"
    found = {name: row[name] for name in expected} | {"eventAt": row["eventAt"].astimezone(UTC)}
    assert (row["kind"], row["reasons"] or [], found) == ("EVENT", [], expected)
