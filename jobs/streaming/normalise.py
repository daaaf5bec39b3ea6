"""One micro-batch: raw records into bronze, silver, quarantine and the canonical topics, exactly once in a table."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.common import tables
from jobs.common.currencies import minor_units
from jobs.common.formats.mapping import Formats
from jobs.common.kafka import sink_options, source_options
from jobs.common.kept import Kept
from jobs.common.local_rows import with_constants
from jobs.common.log import get_logger
from jobs.common.settings import Settings
from jobs.common.steps import Steps
from jobs.streaming import observe
from jobs.streaming.batch import batch_offsets
from jobs.streaming.canonical import messages
from jobs.streaming.formats_in_force import AppliedFormats
from jobs.streaming.held_beats import Held, HeldBeats, held_of, with_those
from jobs.streaming.in_force import InForce, References, policies_in_force
from jobs.streaming.masking import Masker
from jobs.streaming.parse import parse
from jobs.streaming.taken_in import COORDINATES, Note, TakenIn, as_noted, offsets_of, writer_of
from reco_rules.policy import with_policy
from reco_rules.vocabulary import Side
from schemas.tables import TABLES
from schemas.types import LONG, STRING

log = get_logger(__name__)

_STAMPED = {"mode": STRING, "grace_seconds": LONG, "versions": STRING}
_TABLES = ("activity_raw", "activity", "quarantine")
#: Up to so many records a batch is small, and written in files of so many a table. Else each of Kafka's partitions
#: writes its own, which all that read the table pay for.
_SMALL, _RECORDS_A_FILE = 80_000, 10_000


@dataclass(frozen=True)
class Pins:
    """What a batch takes from outside its records; a batch that is run again takes the same."""

    clock: datetime
    policy_version: int
    #: Formats that could not be used: what is in quarantine for that must not become an event as well.
    broken_formats: tuple[str, ...] = ()
    #: Heartbeats that had to wait before it.
    held: Held = field(default_factory=dict)
    #: And after it; None where it was not run before.
    holds: Held | None = None


class Normaliser:
    """Writes micro-batches; `clock` gives the reading clock (UTC) of a batch that is run for the first time."""

    def __init__(
        self,
        spark: SparkSession,
        settings: Settings,
        partitions: Mapping[str, int],
        clock: Callable[[], datetime],
        checkpoint: str = "",
    ) -> None:
        self._spark, self._settings, self._clock = spark, settings, clock
        # Only where Kafka keeps records from the query is its log asked how far a batch goes.
        skips = settings.kafka.options.get("isolation.level") == "read_committed"
        self._checkpoint = checkpoint if skips else ""
        self._paths = {name: tables.ensure_table(spark, settings, name) for name in _TABLES}
        self._currencies = sorted(minor_units())
        self._formats, self._references = AppliedFormats(settings), References(settings)
        self._masker = Masker(spark, settings.privacy)
        self._beats = HeldBeats(settings, partitions)
        self._messages = Steps(lambda rows: messages(rows, settings.topics, partitions))
        self._parsing: tuple[Formats | None, Steps] | None = None
        self._taken = TakenIn(spark, settings)
        self._is_first = True
        #: As whom batches are written: the query, under each of whose numbers Delta writes once.
        self._writer = ""
        #: Whether the tables may have records of this batch already.
        self._replays = False
        #: When the first and the last record of such a batch were published.
        self._span = 0, 0

    def __call__(self, batch: DataFrame, batch_id: int) -> None:
        """Write one micro-batch (what `foreachBatch` calls)."""
        # After `kill -9` the same offsets come again under the same id, and maybe part of them is written.
        query = str(self._spark.sparkContext.getLocalProperty("sql.streaming.queryId"))
        earlier = self._earlier_attempt(batch, query, batch_id) if self._is_first else None
        self._is_first = False
        if earlier:
            policies = policies_in_force(self._settings, earlier.policy_version)
        else:
            policies = self._references.policies(self._spark)
        formats = self._formats.of(self._spark, policies, earlier.broken_formats if earlier else None)
        broken = tuple(sorted(formats.broken)) if formats else ()
        pins = earlier or Pins(self._clock(), policies.version, broken, self._beats.held)
        with Kept() as kept:
            self._write(kept.rows(self._rows(batch, pins, policies, formats)), pins, query, batch_id)

    def _rows(self, batch: DataFrame, pins: Pins, policies: InForce, formats: Formats | None) -> DataFrame:
        """Parsed and stamped records; what they became was read before anything was masked."""
        source = F.when(F.col("topic") == self._settings.topics.agoda_raw, F.lit(Side.AGODA.value)).otherwise(
            F.lit(Side.SUPPLIER.value)
        )
        at = pins.clock.astimezone(UTC)
        told = {"ingested_at": at, "ingest_date": at.date(), "ingest_hour": at.hour}
        raw = with_constants(batch, told).select(
            source.alias("source"),
            *["topic", "partition", "offset"],
            F.col("timestamp").alias("kafka_time"),
            *["key", "value", "headers"],
            *told,
        )
        parsed = self._parser(formats)(raw).withColumn("supplier_id", F.col("supplierId"))
        stamped = with_policy(parsed, policies.rows(self._spark), policies.defaults, _STAMPED)
        return self._masker.masked(stamped.withColumn("policy_version", F.lit(pins.policy_version)))

    def _parser(self, formats: Formats | None) -> Steps:
        if self._parsing is None or self._parsing[0] is not formats:
            clock = F.col("ingested_at")
            self._parsing = formats, Steps(lambda raw: parse(raw, self._currencies, clock, formats))
        return self._parsing[1]

    def _write(self, rows: DataFrame, pins: Pins, query: str, batch_id: int) -> None:
        read = observe.records(rows)
        counts = read.kinds
        # Whole partitions are put together, in their order: a heartbeat stays behind the events that it speaks for.
        if counts.total() <= _SMALL:
            rows = rows.coalesce(1 + counts.total() // _RECORDS_A_FILE)
        # An attempt at it before was killed, or this is a new checkpoint or an old one. None of it must come twice.
        self._replays = self._taken.may_have(read.offsets)
        if self._replays:
            times = rows.agg(*[f(F.unix_millis("kafka_time")) for f in (F.min, F.max)]).collect()[0]
            self._span = times[0], times[1]
            rows = self._taken.without_removed(rows, self._known("activity_raw", rows), times[0])
        note: Note = {
            "query": query,
            "batch": batch_id,
            "clock": pins.clock.isoformat(),
            "policies": pins.policy_version,
            "offsets": as_noted(read.offsets),
            "read_to": self._taken.take(read.offsets),
        }
        if self._writer != query:
            note["writer"] = self._writer
        if pins.broken_formats:
            note["broken_formats"] = pins.broken_formats
        if pins.holds is None:
            spans = batch_offsets(self._spark, self._checkpoint, batch_id) if self._checkpoint else None
            forwarded, waited = self._beats.sorted(rows, read, spans)
        else:
            forwarded, waited = self._beats.sorted_as_before(rows, pins.holds)
        note |= {name: beats for name, beats in (("held", pins.held), ("holds", self._beats.held)) if beats}
        self._append("activity_raw", rows, note)
        if self._replays:
            rows, forwarded = self._as_they_became(rows), self._as_they_became(forwarded)
        if counts.get("EVENT"):
            self._append("activity", events(rows.where(F.col("kind") == "EVENT")), note)
        if counts.get("QUARANTINE"):
            self._append("quarantine", rows.where(F.col("kind") == "QUARANTINE"), note)
        if counts.get("EVENT") or counts.get("HEARTBEAT") or waited:
            with_those(self._spark, self._messages(forwarded), waited).write.format("kafka").options(
                **sink_options(self._settings)
            ).save()
        log.info(
            "normalised",
            query="normalise",
            batch=batch_id,
            records=sum(counts.values()),
            events=counts.get("EVENT", 0),
            heartbeats=counts.get("HEARTBEAT", 0),
            quarantined=counts.get("QUARANTINE", 0),
            policy_version=pins.policy_version,
        )

    def _append(self, name: str, rows: DataFrame, note: Mapping[str, Any]) -> None:
        new = rows.join(self._known(name, rows), on=COORDINATES, how="left_anti") if self._replays else rows
        writer = (
            tables.conformed(new, name).write.format("delta").mode("append").option("userMetadata", json.dumps(note))
        )
        writer.option("txnAppId", f"{name}-{self._writer}").option("txnVersion", note["batch"]).save(self._paths[name])

    def _earlier_attempt(self, batch: DataFrame, query: str, batch_id: int) -> Pins | None:
        """The pins of this very batch, where an attempt before a crash came as far as bronze.

        What the batch before it had to hold back is taken up again.
        """
        notes = [note for note in self._taken.notes() if note["query"] == query]
        newest = notes[0] if notes else {}
        is_again = newest.get("batch") == batch_id and newest.get("offsets") in (None, as_noted(offsets_of(batch)))
        self._writer = writer_of(query, batch_id, notes, is_again)
        if is_again:
            self._beats.held = held_of(newest.get("held", {}))
            broken = tuple(newest.get("broken_formats", ()))
            clock = datetime.fromisoformat(newest["clock"])
            return Pins(clock, newest["policies"], broken, self._beats.held, held_of(newest.get("holds", {})))
        before = next((note for note in notes if note["batch"] == batch_id - 1), {})
        self._beats.held = held_of(before.get("holds", {}))
        return None

    def _as_they_became(self, rows: DataFrame) -> DataFrame:
        """Without what became something else when it was first read: by a newer format, it would be in two tables."""
        refused = F.col("kind") == "QUARANTINE"
        accepted = rows.where(~refused).join(self._known("quarantine", rows), on=COORDINATES, how="left_anti")
        return accepted.unionByName(
            rows.where(refused).join(self._known("activity", rows), on=COORDINATES, how="left_anti")
        )

    def _known(self, name: str, rows: DataFrame) -> DataFrame:
        """The coordinates of those rows that the table has already; files of other times need not be read."""
        is_near = F.col("kafka_time").between(*[F.timestamp_millis(F.lit(at)) for at in self._span])
        there = tables.read(self._spark, self._paths[name]).where(is_near).select(*COORDINATES)
        return there.join(rows.select(*COORDINATES), on=COORDINATES, how="left_semi")


def events(rows: DataFrame) -> DataFrame:
    """Parsed and stamped events as rows of `silver/activity`."""
    renamed = {
        "event_id": "eventId",
        "activity_id": "activityId",
        "activity_type": "activityType",
        "amount_minor": "amountMinor",
        "event_time": "eventAt",
    }
    computed: dict[str, Column] = {
        "event_date": F.to_date("eventAt"),
        "event_hour": F.hour("eventAt"),
        **{name: F.col(source) for name, source in renamed.items()},
    }
    return rows.select(*[computed.get(f.name, F.col(f.name)).alias(f.name) for f in TABLES["activity"].schema.fields])


def raw_stream(spark: SparkSession, settings: Settings) -> DataFrame:
    """Both raw topics as one stream, from their beginning, with headers; a gap in the offsets fails the query."""
    options = {
        "includeHeaders": "true",
        "maxOffsetsPerTrigger": str(settings.stream.max_offsets_per_trigger),
    }
    raw = source_options(settings, settings.topics.agoda_raw, settings.topics.supplier_raw)
    return spark.readStream.format("kafka").options(**{**raw, **options}).load()
