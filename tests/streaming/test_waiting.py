"""How long a break pends: one row a key, with the minute expected; None where nothing is waited for."""

from datetime import UTC, datetime, timedelta

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.common.local_rows import local_rows
from jobs.streaming.waiting import state, waiting
from reco_rules.latest import latest_sides

T0 = datetime(2026, 3, 10, tzinfo=UTC)
Sent = tuple[str, int, float, int, str]
A, S, BOOKING, PAYMENT = "AGODA", "SUPPLIER", "BOOKING", "PAYMENT"

#: Name: versions, what was sent (side, version, minute of publication, grace in minutes, activity type), the minute.
KEYS: dict[str, tuple[str, list[Sent], float | None]] = {
    "one side": ("aligned", [(A, 1, 0, 10, BOOKING)], 10),
    "one side, the first version counts": ("aligned", [(A, 1, 0, 10, BOOKING), (A, 2, 5, 10, BOOKING)], 10),
    "the first publication counts": ("aligned", [(A, 1, 3, 10, BOOKING), (A, 1, 0, 20, BOOKING)], 20),
    "answered": ("aligned", [(A, 1, 0, 10, BOOKING), (S, 1, 1, 10, BOOKING)], None),
    "amended": ("aligned", [(A, 1, 0, 10, BOOKING), (S, 1, 1, 10, BOOKING), (A, 2, 5, 10, BOOKING)], 15),
    "amended twice": ("aligned", [(S, 1, 1, 10, BOOKING), (A, 2, 5, 10, BOOKING), (A, 3, 9, 10, BOOKING)], 15),
    "an old one unanswered": (
        "aligned",
        [(A, 1, 0, 10, BOOKING), (A, 2, 5, 10, BOOKING), (S, 2, 6, 10, BOOKING)],
        None,
    ),
    "apart, the later side waits": ("aligned", [(A, 3, 0, 10, BOOKING), (S, 2, 4, 10, BOOKING)], 10),
    "independent, same type": ("independent", [(A, 7, 0, 10, BOOKING), (S, 1, 1, 10, BOOKING)], None),
    "independent, both wait": ("independent", [(A, 1, 0, 10, BOOKING), (S, 1, 4, 10, PAYMENT)], 14),
}


def test_how_long_each_key_waits(spark: SparkSession) -> None:
    rows = [
        (versions, "SUP", name, side, version, T0 + timedelta(minutes=minute), 60 * grace, kind)
        for name, (versions, sent, _) in KEYS.items()
        for side, version, minute, grace, kind in sent
    ]
    columns = "versions string, supplier_id string, activity_id string, source string, version bigint, "
    columns += "kafka_time timestamp, grace_seconds bigint, activity_type string"
    events = local_rows(spark, rows, columns)
    for name, kind in (("event_time", "timestamp"), ("event_id", "string"), ("amount_minor", "bigint")):
        events = events.withColumn(name, F.lit(None).cast(kind))
    events = events.withColumn("currency", F.lit("USD")).withColumn("status", F.lit("BOOKED"))
    versions = events.select("supplier_id", "activity_id", "versions").distinct()
    sides = latest_sides(events).join(versions, on=["supplier_id", "activity_id"], how="inner")
    found = waiting(events.drop("versions"), sides).collect()
    minutes = {
        row["activity_id"]: row["pending_until"] and (row["pending_until"].astimezone(UTC) - T0) / timedelta(minutes=1)
        for row in found
    }
    assert minutes == {name: minute for name, (_, _, minute) in KEYS.items()}


@pytest.mark.parametrize(
    ("kind", "pends_for", "expected"),
    [
        ("MISSING_SUPPLIER", 1, "PENDING"),
        ("MISSING_SUPPLIER", 0, "OPEN"),
        ("STATUS_MISMATCH", None, "OPEN"),
        ("DUPLICATE_AGODA", 1, "OPEN"),
        ("DELAYED_SUPPLIER", 1, "OPEN"),
    ],
)
def test_only_what_an_answer_can_mend_pends(
    spark: SparkSession, kind: str, pends_for: int | None, expected: str
) -> None:
    until = F.lit(None).cast("timestamp") if pends_for is None else F.lit(T0 + timedelta(seconds=pends_for))
    row = spark.range(1).select(state(F.lit(kind), until, F.lit(T0)).alias("state")).head()
    assert row is not None
    assert row["state"] == expected
