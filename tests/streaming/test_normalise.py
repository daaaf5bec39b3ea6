"""Raw topics → bronze, silver, quarantine and canonical topics: every record as the oracle says, whatever it holds."""

import json
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.cli.broker import Broker
from jobs.common.kafka import topic_partitions
from jobs.common.lake import open_table, read
from jobs.common.law import measure
from jobs.common.policies import apply
from jobs.common.session import compiled_plans
from jobs.common.settings import Lake, Settings
from jobs.streaming.in_force import policies_in_force
from jobs.streaming.main import start_normalise
from jobs.streaming.normalise import Normaliser, Pins
from tests.oracle.normalise import Raw, normalise
from tests.streaming.feed import assert_tables_are_the_oracles, batch_of, consume, new_settings, produce
from tests.workloads.generate import generate_workloads, pack
from tests.workloads.records import raw_records
from tests.workloads.values import CLOCK

_POLICIES = """
version: 1
defaults: {grace: 2h}
suppliers:
  %s: {mode: DAILY_ONLY, grace: 30m}
"""


def run(spark: SparkSession, settings: Settings) -> None:
    """Take what is there."""
    query = start_normalise(spark, settings, topic_partitions(settings), available_now=True, clock=lambda: CLOCK)
    query.awaitTermination()


@pytest.fixture(scope="module")
def fed(
    spark: SparkSession, broker: Broker, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Settings, list[Raw], str]:
    """A lake after two runs over events and poison of every kind, its records, and its one DAILY_ONLY supplier."""
    root = tmp_path_factory.mktemp("lake")
    settings = new_settings(str(root), broker.bootstrap_servers, "normalise", max_offsets_per_trigger=1500)
    workloads = generate_workloads(40, 7)
    daily = workloads[0].supplier_id
    (root / "policies.yaml").write_text(_POLICIES % json.dumps(daily))
    apply(settings, root / "policies.yaml", CLOCK)
    records = raw_records(pack(workloads), Random(7), poisoned=600)
    half = len(records) // 2
    for part in (records[:half], records[half:]):
        produce(settings, part)
        run(spark, settings)
    return settings, records, daily


def test_each_record_is_what_the_oracle_says(fed: tuple[Settings, list[Raw], str]) -> None:
    settings, records, _ = fed
    reasons = Counter(reason for r in records for reason in _reasons(r))
    assert len(reasons) > 15, "the poison must have every reason"
    assert_tables_are_the_oracles(settings, records, CLOCK)


def test_the_law_holds_on_every_partition(fed: tuple[Settings, list[Raw], str]) -> None:
    law = measure(fed[0])
    assert law is not None
    assert law.holds


def test_a_small_batch_is_one_file_of_bronze(fed: tuple[Settings, list[Raw], str]) -> None:
    bronze = open_table(fed[0], "activity_raw")
    assert bronze
    batches = [commit for commit in bronze.history() if commit["operation"] == "WRITE"]
    assert len(bronze.file_uris()) == len(batches) >= 2


def test_policies_are_stamped_and_route(fed: tuple[Settings, list[Raw], str]) -> None:
    settings, _, daily = fed
    silver = read(open_table(settings, "activity"), "activity")
    stamps = {
        (row["supplier_id"] == daily, row["mode"], row["grace_seconds"], row["policy_version"])
        for row in silver.iter_rows(named=True)
    }
    assert stamps == {(True, "DAILY_ONLY", 1800, 1), (False, "NRT_HOURLY", 7200, 1)}
    topics = settings.topics
    for source, canonical, nrt in (
        ("AGODA", topics.agoda_canonical, topics.agoda_nrt),
        ("SUPPLIER", topics.supplier_canonical, topics.supplier_nrt),
    ):
        rows = [row for row in silver.iter_rows(named=True) if row["source"] == source]
        sent = [json.loads(value or b"") for _, _, value in consume(settings, canonical)]
        assert Counter(m["eventId"] for m in sent) == Counter(row["event_id"] for row in rows)
        matched = [json.loads(value or b"") for _, _, value in consume(settings, nrt)]
        events = Counter(m["eventId"] for m in matched if "eventId" in m)
        assert events == Counter(row["event_id"] for row in rows if row["supplier_id"] != daily)


def test_a_canonical_message_says_all_and_keeps_its_partition(fed: tuple[Settings, list[Raw], str]) -> None:
    settings, _, _ = fed
    silver = read(open_table(settings, "activity"), "activity").rows_by_key(
        ["topic", "partition", "offset"], named=True, unique=True, include_key=True
    )
    for partition, key, value in consume(settings, settings.topics.agoda_canonical):
        message = json.loads(value or b"")
        row = silver[message["rawTopic"], message["rawPartition"], message["rawOffset"]]
        assert partition == message["rawPartition"]
        assert (key or b"").decode() == message["activityId"] == row["activity_id"]
        assert message == {
            "eventId": row["event_id"],
            "activityId": row["activity_id"],
            "supplierId": row["supplier_id"],
            "activityType": row["activity_type"],
            "amountMinor": row["amount_minor"],
            "currency": row["currency"],
            "status": row["status"],
            "version": row["version"],
            "eventTime": _iso(row["event_time"]),
            "source": "AGODA",
            "publishedAt": _iso(row["kafka_time"]),
            "mode": row["mode"],
            "graceSeconds": row["grace_seconds"],
            "versions": "aligned",
            "policyVersion": 1,
            "rawTopic": row["topic"],
            "rawPartition": row["partition"],
            "rawOffset": row["offset"],
        }


def test_heartbeats_go_on_to_the_nrt_topics_only(fed: tuple[Settings, list[Raw], str]) -> None:
    settings, records, _ = fed
    beats = Counter((r.topic, r.partition) for r in records if normalise(r, CLOCK)[0] == "heartbeat")
    assert beats
    for raw, nrt in (
        ("agoda.raw.activity", settings.topics.agoda_nrt),
        ("supplier.raw.activity", settings.topics.supplier_nrt),
    ):
        found = Counter((raw, p) for p, _, v in consume(settings, nrt) if b'"heartbeat":true' in (v or b""))
        assert found == Counter({place: n for place, n in beats.items() if place[0] == raw})


def test_a_new_checkpoint_over_old_tables_doubles_nothing(spark: SparkSession, broker: Broker, tmp_path: Path) -> None:
    settings = new_settings(str(tmp_path / "lake"), broker.bootstrap_servers, "fresh")
    records = raw_records(pack(generate_workloads(3, 9)), Random(9), poisoned=30)
    half = len(records) // 2
    produce(settings, records[:half])
    run(spark, settings)
    (tmp_path / "lake" / "_checkpoints").rename(tmp_path / "lost")
    produce(settings, records[half:])
    run(spark, settings)
    assert_tables_are_the_oracles(settings, records, CLOCK)


def _reasons(record: Raw) -> tuple[str, ...]:
    verdict = normalise(record, CLOCK)
    return verdict[1] if verdict[0] == "quarantine" else ()


def _iso(time: object) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"


def test_two_batches_are_one_code(spark: SparkSession, tmp_path: Path) -> None:
    # Else each batch is compiled anew, and begins interpreted.
    settings = Settings(lake=Lake(root=str(tmp_path)))
    normaliser = Normaliser(spark, settings, {}, lambda: CLOCK)
    batch = _empty_values(spark, 0)
    policies = policies_in_force(settings)
    clocks = [CLOCK, CLOCK + timedelta(hours=7, seconds=1)]
    with compiled_plans(spark):
        first, second = [_code(normaliser._rows(batch, Pins(clock, 0), policies, None)) for clock in clocks]
    assert "processNext" in first
    assert first == second


def test_a_change_of_policies_holds_from_the_next_batch_on(spark: SparkSession, tmp_path: Path) -> None:
    settings = Settings(lake=Lake(root=str(tmp_path / "lake")))
    normaliser = Normaliser(spark, settings, {}, lambda: CLOCK)
    file = tmp_path / "policies.yaml"
    for number, suppliers in enumerate(((), ("A",), ("B", "C"))):
        for supplier in suppliers:
            file.write_text(_POLICIES % supplier)
            apply(settings, file, CLOCK)
        normaliser(_empty_values(spark, number), number)
    bronze = open_table(settings, "activity_raw")
    assert bronze
    notes = [json.loads(commit["userMetadata"]) for commit in bronze.history() if "userMetadata" in commit]
    assert {note["batch"]: note["policies"] for note in notes} == {0: 0, 1: 1, 2: 3}


def test_a_heartbeat_waits_until_its_topic_is_read_as_far(spark: SparkSession, broker: Broker, tmp_path: Path) -> None:
    settings = new_settings(str(tmp_path / "lake"), broker.bootstrap_servers, "far", max_offsets_per_trigger=9)
    at = {minute: CLOCK - timedelta(minutes=60 - minute) for minute in range(60)}

    def beat(partition: int, offset: int, minute: int) -> Raw:
        said = {"heartbeat": True, "eventTime": at[minute].isoformat(timespec="milliseconds")}
        return Raw(settings.topics.supplier_raw, partition, offset, None, json.dumps(said).encode(), at[minute])

    def other(partition: int, offset: int, minute: int) -> Raw:
        return Raw(settings.topics.supplier_raw, partition, offset, b"k", b"x", at[minute])

    # Partition 3 has three more records than the first batch takes of it.
    unread = [replace(other(3, n, 20), topic="supplier.raw.activity") for n in range(5)]
    ahead = [replace(beat(0, n, m), topic="supplier.raw.activity") for n, m in enumerate((9, 10, 30, 40))]
    produce(settings, [*unread, *ahead])
    passed: list[list[int]] = []
    batches = [
        [beat(0, 0, 9), beat(0, 1, 10), beat(0, 2, 30), other(3, 0, 0), other(3, 1, 10)],
        [beat(0, 3, 40), other(3, 2, 20), other(3, 3, 20)],
        [other(3, 4, 20)],
    ]
    partitions = topic_partitions(settings)
    for number, batch in enumerate(batches):  # each in a process of its own
        Normaliser(spark, settings, partitions, lambda: CLOCK)(batch_of(spark, batch), number)
        sent = [json.loads(value or b"") for _, _, value in consume(settings, settings.topics.supplier_nrt)]
        passed.append(sorted(at_ for at_ in at for m in sent if m["eventTime"] == _iso(at[at_])))
    assert passed == [[9, 10], [9, 10], [9, 10, 40]]


def _empty_values(spark: SparkSession, offset: int) -> DataFrame:
    """One record without a value, as Kafka's source gives it."""
    record = {"timestamp": F.lit(CLOCK), "headers": F.lit(None).cast("array<struct<key: string, value: binary>>")}
    fields = [F.lit(b"").alias("key"), F.lit(b"").alias("value"), F.lit("agoda.raw.activity").alias("topic")]
    fields += [F.lit(0).alias("partition"), F.col("id").alias("offset"), *[c.alias(n) for n, c in record.items()]]
    return spark.range(offset, offset + 1).select(*fields)


def _code(frame: DataFrame) -> str:
    executed = frame._jdf.queryExecution()
    written = executed.debug().codegenToSeq()
    return "".join(str(written.apply(n)._2()) for n in range(written.size()))
