"""The harness sees what differs, and says whose it is."""

from tests.properties.harness import Verdicts, compare, expected, failing_suppliers, found
from tests.strategies import generate_workloads
from tests.workloads.values import DAYS

WORKLOADS = generate_workloads(30, seed=1)
WANTED = expected(WORKLOADS, DAYS)


def _as_rows(verdicts: Verdicts) -> Verdicts:
    """Once more through the form that tables have."""
    names = ("reco_date", "supplier_id", "activity_id", "anomaly_type")
    anomalies = [dict(zip(names, key, strict=True)) | row for key, row in verdicts.anomalies.items()]
    return found([row | {"close_id": "x"} for row in verdicts.facts.values()], anomalies)


def test_equal_verdicts_have_no_differences() -> None:
    assert compare(WANTED, _as_rows(WANTED)) == []
    assert failing_suppliers(WORKLOADS, WANTED, _as_rows(WANTED)) == ""


def test_a_changed_a_missing_and_an_unexpected_row_are_seen() -> None:
    actual = _as_rows(WANTED)
    changed, missing = list(actual.facts)[:2]
    actual.facts[changed]["agoda_events"] += 1
    moved = actual.facts.pop(missing)
    other = (changed[0], changed[1], "no such activity")
    actual.facts[other] = moved
    assert {difference.key for difference in compare(WANTED, actual)} == {changed, missing, other}
    report = failing_suppliers(WORKLOADS, WANTED, actual)
    assert "3 rows of" in report
    assert "seed 1/" in report


def test_a_lost_column_is_seen() -> None:
    actual = _as_rows(WANTED)
    del next(iter(actual.facts.values()))["skew_seconds"]
    assert len(compare(WANTED, actual)) == 1
