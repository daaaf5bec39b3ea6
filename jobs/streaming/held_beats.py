"""Heartbeats that must wait: what a partition says up to a time, its topic must have been read up to in all of them.

A micro-batch takes `max_offsets_per_trigger` records. After an outage it leaves some unread, and the heartbeats that it
has read in one partition speak for times that it has not come to in another: the watermark would pass what is unread
there, and call missing what is not. Such a heartbeat goes on with the first batch that leaves nothing unread.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.common.kafka import admin, client_options
from jobs.common.local_rows import local_rows
from jobs.common.log import get_logger
from jobs.common.settings import Settings
from jobs.streaming.canonical import messages
from jobs.streaming.observe import Read, speaks_to

log = get_logger(__name__)

_ASKED_SECONDS = 30.0
#: By topic that it goes to: up to when the heartbeat speaks (milliseconds since 1970), its partition, its value.
Held = dict[str, tuple[int, int, str]]
Place = tuple[str, int]
#: By topic and partition a first and a last offset.
Spans = Mapping[Place, tuple[int, int]]


class HeldBeats:
    """Of each topic the heartbeat that speaks for most, while it must wait."""

    def __init__(self, settings: Settings, partitions: Mapping[str, int]) -> None:
        self._settings, self._partitions = settings, partitions
        self.held: Held = {}
        #: When the last record that was read of each partition was published.
        self._told: dict[Place, int] = {}
        self._most = max(partitions.values(), default=0)

    def sorted(
        self, rows: DataFrame, read: Read, spans: Spans | None = None
    ) -> tuple[DataFrame, list[tuple[str, int, str]]]:
        """The rows without the heartbeats that must wait, and those that need wait no more: topic, partition, value.

        `rows`: parsed and stamped records of a batch; `read`: what it has. `spans`: the first and the
        last offset of it in each partition, where records that are there are not read, as those of a transaction that
        was aborted: of a share of these alone no offset is seen.
        """
        self._told |= {place: at for place, (_, at) in read.last.items()}
        offsets = read.offsets if spans is None else spans
        read_to = self._read_to(offsets, spans is not None) if self._may_leave_some(offsets) else {}
        waiting = {self._nrt(topic) for topic in read_to}
        free = [(topic, place, value) for topic, (_, place, value) in self.held.items() if topic not in waiting]
        self.held = {topic: one for topic, one in self.held.items() if topic in waiting}
        ahead = {topic: at for topic, at in read_to.items() if read.beats.get(topic, at) > at}
        if not ahead:
            return rows, free
        waits = F.coalesce((F.col("kind") == "HEARTBEAT") & (speaks_to() > _of_topic(ahead)), F.lit(False))
        for topic, one in self._newest(rows.where(waits)).items():
            self.held[topic] = max(one, self.held.get(topic, one))
        return rows.where(~waits), free

    def _may_leave_some(self, offsets: Spans) -> bool:
        """Whether the batch is as large as it may be."""
        # Partitions may have been added since the process began.
        self._most = max(self._most, *[number + 1 for _, number in offsets], 0)
        # Of each partition Spark takes its share of the limit, rounded down, at whose ends transactions may have marks.
        shares = 4 * 2 * self._most
        # Offsets, as Spark counts them: markers of transactions, and what was compacted, have some too.
        taken = sum(last + 1 - first for first, last in offsets.values())
        return taken >= self._settings.stream.max_offsets_per_trigger - shares

    def sorted_as_before(self, rows: DataFrame, holds: Held) -> tuple[DataFrame, list[tuple[str, int, str]]]:
        """The same for a batch that is run again. `holds`: what had to wait after it when it was run first.

        That was noted, and is what the next process goes by. Of a topic that has some all wait: it speaks for most.
        """
        free = [(topic, place, value) for topic, (_, place, value) in self.held.items() if topic not in holds]
        self.held = dict(holds)
        topics = self._settings.topics
        of = [topic for topic in (topics.agoda_raw, topics.supplier_raw) if self._nrt(topic) in holds]
        waits = (F.col("kind") == "HEARTBEAT") & F.col("topic").isin(of)
        return rows.where(~waits), free

    def _read_to(self, offsets: Spans, is_committed: bool) -> dict[str, int]:
        """By raw topic that has records unread, when the last that was read in each partition was published; the least.

        Milliseconds since 1970. Records of a partition may not be in the order of their times, so it is not the newest.
        """
        asked = {TopicPartition(*place): OffsetSpec.latest() for place in offsets}  # type: ignore[no-untyped-call]
        client = admin(client_options(self._settings))  # without a name it would be gone before it answers
        level = IsolationLevel.READ_COMMITTED if is_committed else IsolationLevel.READ_UNCOMMITTED
        told = client.list_offsets(asked, isolation_level=level, request_timeout=_ASKED_SECONDS)
        found: dict[str, int] = {}
        for place, future in told.items():
            of = place.topic, place.partition
            if _is_beyond(future, offsets[of][1]):
                at = self._told.get(of, 0)
                found[place.topic] = min(at, found.get(place.topic, at))
        return found

    def _newest(self, beats: DataFrame) -> Held:
        """Of each topic that they go to, the heartbeat that speaks for most."""
        place = F.max_by(F.struct("partition", "offset"), speaks_to()).alias("place")
        newest = beats.groupBy("topic").agg(place, F.max(speaks_to()).alias("to")).select("topic", "place.*", "to")
        found = {}
        for row in newest.collect():
            is_it = [F.col(name) == row[name] for name in ("topic", "partition", "offset")]
            one = beats.where(is_it[0] & is_it[1] & is_it[2])
            sent = messages(one, self._settings.topics, self._partitions).collect()[0]
            found[sent["topic"]] = row["to"], sent["partition"], sent["value"]
        return found

    def _nrt(self, topic: str) -> str:
        topics = self._settings.topics
        return topics.agoda_nrt if topic == topics.agoda_raw else topics.supplier_nrt


def _is_beyond(end: Future[Any], offset: int) -> bool:
    """Whether a partition has records after one. Where no broker tells (it may be looking for another leader), it may
    have: its heartbeats wait for the next batch, which is better than to end the query.
    """
    try:
        return offset + 1 < int(end.result(2 * _ASKED_SECONDS).offset)
    except (KafkaException, TimeoutError) as error:
        log.warning("an end of a partition is not told: its heartbeats wait", reason=str(error))
        return True


def held_of(noted: Mapping[str, Sequence[Any]]) -> Held:
    """What was noted of heartbeats that wait, from JSON."""
    return {topic: (int(to), int(partition), str(value)) for topic, (to, partition, value) in noted.items()}


def with_those(spark: SparkSession, routed: DataFrame, beats: list[tuple[str, int, str]]) -> DataFrame:
    """The messages, and behind them heartbeats that waited."""
    if not beats:
        return routed
    rows: list[tuple[Any, ...]] = [(topic, partition, None, value) for topic, partition, value in beats]
    told = local_rows(spark, rows, "topic string, partition int, key string, value string")
    return routed.unionByName(told.withColumn("key", F.col("key").cast("binary")))


def _of_topic(times: Mapping[str, int]) -> Column:
    found = F.lit(None).cast("bigint")
    for topic, at in times.items():
        found = F.when(F.col("topic") == topic, F.lit(at)).otherwise(found)
    return found
