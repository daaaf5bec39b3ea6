"""What is counted of a batch's verdicts is the same for a few rows, counted here, and for many, counted by Spark."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs.common.local_rows import local_rows
from jobs.common.metrics import Registry
from jobs.streaming import observe

AT = datetime(2026, 3, 9, 10, tzinfo=UTC)
#: Outcome, anomalies, supplier, and how long before AT its newest event was published, seconds.
VERDICTS: list[tuple[str, list[str], str, float]] = [
    ("MATCHED", [], "A", 0.999),
    ("MATCHED", [], "B", 1),
    ("MATCHED", ["DELAYED_AGODA"], "A", 1.001),
    ("MATCHED", [], "A", -120),
    ("MISMATCHED", ["PRICE_MISMATCH", "STATUS_MISMATCH"], "A", 200_000),
]
EXPECTED = {
    ("_total", "MATCHED", None): 4,
    ("_total", "MISMATCHED", None): 1,
    ("_total", "DELAYED_AGODA", None): 1,
    ("_total", "PRICE_MISMATCH", None): 1,
    ("_total", "STATUS_MISMATCH", None): 1,
    # A producer's clock that runs ahead is no lag.
    ("_bucket", "MATCHED", "1.0"): 3,
    ("_bucket", "MATCHED", "2.5"): 4,
    ("_bucket", "MATCHED", "+Inf"): 4,
    ("_sum", "MATCHED", None): 3.0,
    ("_bucket", "MISMATCHED", "172800.0"): 0,
    ("_bucket", "MISMATCHED", "+Inf"): 1,
    ("_sum", "MISMATCHED", None): 200_000.0,
}


@pytest.mark.parametrize(
    ("is_large", "more", "told"),
    [
        (False, [], {"verdicts": 5, "suppliers": ["A", "B"]}),
        (False, ["C", "D", "E"], {"verdicts": 8, "suppliers": ["A", "B", "C", "D", "E"]}),
        (False, ["C", "D", "E", "F"], {"verdicts": 9, "suppliers": 6}),
        (True, [], {"verdicts": 5}),
    ],
)
def test_verdicts_are_counted(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, is_large: bool, more: list[str], told: dict[str, Any]
) -> None:
    registry = Registry()
    monkeypatch.setattr(observe, "REGISTRY", registry)
    verdicts = VERDICTS + [("MISSING_AGODA", ["MISSING_AGODA"], supplier, 3600) for supplier in more]
    rows = [(*verdict, AT - timedelta(seconds=lag)) for *verdict, lag in verdicts]
    schema = "outcome string, anomaly_types array<string>, supplier_id string, published_at timestamp"
    assert observe.verdicts(local_rows(spark, rows, schema), AT, is_large) == told
    found = {
        (s.name[s.name.rindex("_") :], s.labels.get("outcome") or s.labels["anomaly_type"], s.labels.get("le")): s.value
        for family in registry.collect()
        for s in family.samples
    }
    assert {key: found[key] for key in EXPECTED} == EXPECTED


def test_records_are_counted(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry()
    monkeypatch.setattr(observe, "REGISTRY", registry)
    schema = (
        "kind string, source string, reasons array<string>, topic string, partition int, offset bigint, "
        "kafka_time timestamp, ingested_at timestamp, eventAt timestamp"
    )
    late, early, ahead = AT, AT - timedelta(minutes=1), AT + timedelta(days=9)
    first = [
        ("EVENT", "AGODA", None, "a", 0, 3, late, AT, ahead),
        ("EVENT", "AGODA", None, "a", 1, 7, late, AT, early),
        ("HEARTBEAT", "AGODA", [], "a", 0, 4, early, AT, late),
        ("HEARTBEAT", "AGODA", [], "a", 1, 6, late, AT, ahead),
        ("QUARANTINE", "AGODA", ["PUBLISHED_IN_FUTURE", "UNKNOWN_CURRENCY"], "a", 0, 9, ahead, AT, None),
        ("QUARANTINE", "AGODA", ["UNKNOWN_CURRENCY"], "a", 0, 1, late, AT, ahead),
    ]
    read = observe.records(local_rows(spark, first, schema))
    assert read.kinds == {"EVENT": 2, "HEARTBEAT": 2, "QUARANTINE": 2}
    assert read.offsets == {("a", 0): (1, 9), ("a", 1): (6, 7)}
    assert read.last == {("a", 0): (4, _millis(early)), ("a", 1): (7, _millis(late))}, "the last, not the newest"
    assert read.beats == {"a": _millis(late)}, "none speaks for a time after its publication"
    second = [("HEARTBEAT", "AGODA", None, "a", 0, 8, early, AT, early)]
    assert observe.records(local_rows(spark, second, schema)).kinds == {"HEARTBEAT": 1}
    name = "reco_newest_published_timestamp_seconds"
    assert registry.value(name, side="AGODA", kind="HEARTBEAT") == late.timestamp(), "time does not go back"
    assert registry.value("reco_records_total", side="AGODA", kind="HEARTBEAT") == 3
    reasons = ("PUBLISHED_IN_FUTURE", "UNKNOWN_CURRENCY", "TOO_LARGE")
    assert [registry.value("reco_quarantined_total", reason=reason) for reason in reasons] == [1, 2, None]


def _millis(at: datetime) -> int:
    return int(at.timestamp() * 1000)
