"""What bronze has taken in of the raw topics: from a checkpoint that is new, or was put back, it is read once more."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import uuid4

import polars as pl
from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.common import tables
from jobs.common.lake import open_table
from jobs.common.settings import Settings
from jobs.streaming.parse import MAX_FUTURE_SECONDS

_BRONZE = "activity_raw"
#: So many of the newest commits are looked into.
_COMMITS = 100
#: What tells a record from all others, those of a topic that was deleted and made anew among them.
COORDINATES = ["topic", "partition", "offset", "kafka_time"]
_Place = tuple[str, int]
Note = dict[str, Any]


class TakenIn:
    """By partition the greatest offset that was ever taken in, and which of those records are gone again.

    Each batch notes it with its commit: bronze itself would have to be read whole, and may have lost a partition's rows
    to `maintenance.keep_days`.
    """

    def __init__(self, spark: SparkSession, settings: Settings) -> None:
        self._spark, self._settings = spark, settings
        self._read_to: dict[_Place, int] = {}
        self._oldest: date | None = None
        #: The first offset of each partition that bronze has, looked up when it is first asked for.
        self._first: dict[str, int] | None = None

    def notes(self) -> list[Note]:
        """What the newest batches noted with their commits, the newest first; looks up what was taken in."""
        bronze = open_table(self._settings, _BRONZE)
        found = notes_of(bronze)
        # Whoever empties the tables wants all again.
        if bronze is None or not _has_rows(bronze):
            self._read_to = {}
        elif found and "read_to" in found[0]:
            noted = found[0]["read_to"].items()
            self._read_to = {(topic, int(number)): to for topic, of in noted for number, to in of.items()}
        else:
            rows = tables.read(self._spark, self._settings.table_path(_BRONZE))
            greatest = rows.groupBy("topic", "partition").agg(F.max("offset")).collect()
            self._read_to = {(topic, number): to for topic, number, to in greatest}
        return found

    def may_have(self, offsets: Mapping[_Place, tuple[int, int]]) -> bool:
        """Whether records of a batch were taken in before. `offsets`: by partition its first and last."""
        return any(first <= self._read_to.get(place, -1) for place, (first, _) in offsets.items())

    def take(self, offsets: Mapping[_Place, tuple[int, int]]) -> dict[str, dict[str, int]]:
        """What the batch of these offsets has to note."""
        for place, (_, last) in offsets.items():
            self._read_to[place] = max(last, self._read_to.get(place, -1))
        noted: dict[str, dict[str, int]] = {}
        for (topic, number), to in sorted(self._read_to.items()):
            noted.setdefault(topic, {})[str(number)] = to
        return noted

    def without_removed(self, rows: DataFrame, known: DataFrame, first_at: int) -> DataFrame:
        """A batch that `may_have` told of, without what maintenance removed since it was first taken in.

        That is what was taken in, bronze does not know (`known`: what it does), lies before all that bronze has of its
        partition, and was published before the oldest day that bronze has. What is newer was lost some other way, or
        its topic was made anew, and is wanted. `first_at`: when the batch's first record was published, milliseconds
        since 1970.
        """
        bronze = tables.read(self._spark, self._settings.table_path(_BRONZE))
        if self._oldest is None:
            self._oldest = bronze.agg(F.min("ingest_date")).collect()[0][0]
        if self._oldest is None:
            return rows
        oldest = datetime.combine(self._oldest, time(tzinfo=UTC)) + timedelta(seconds=MAX_FUTURE_SECONDS)
        if first_at >= oldest.timestamp() * 1000:
            return rows
        if self._first is None:
            there = bronze.groupBy("topic", "partition").agg(F.min("offset")).collect()
            self._first = {f"{topic}/{number}": first for topic, number, first in there}
        ends = {f"{topic}/{number}": to + 1 for (topic, number), to in self._read_to.items()}
        # Of a partition of which nothing is left, all that was read may be what was removed.
        removed_to = {place: min(end, self._first.get(place, end)) for place, end in ends.items()}
        noted = F.from_json(F.lit(json.dumps(removed_to)), "map<string, bigint>")
        to = F.try_element_at(noted, F.concat_ws("/", "topic", "partition"))
        was_read = F.coalesce(F.col("offset") < to, F.lit(False)) & (F.col("kafka_time") < F.lit(oldest))
        removed = rows.where(was_read).select(*COORDINATES).join(known, on=COORDINATES, how="left_anti")
        return rows.join(removed, on=COORDINATES, how="left_anti")


def offsets_of(batch: DataFrame) -> dict[_Place, tuple[int, int]]:
    """By partition the first and the last offset of a batch."""
    bounds = batch.groupBy("topic", "partition").agg(F.min("offset"), F.max("offset")).collect()
    return {(topic, number): (first, last) for topic, number, first, last in bounds}


def as_noted(offsets: Mapping[_Place, tuple[int, int]]) -> dict[str, dict[str, list[int]]]:
    """The same in a commit's note."""
    noted: dict[str, dict[str, list[int]]] = {}
    for (topic, number), bounds in sorted(offsets.items()):
        noted.setdefault(topic, {})[str(number)] = list(bounds)
    return noted


def notes_of(table: DeltaTable | None) -> list[Note]:
    """What micro-batches noted with the newest commits of a table, the newest first."""
    # Without Spark, to which this is a job, and the look whether there are rows another.
    commits = [] if table is None else table.history(_COMMITS)
    newest_first = sorted(commits, key=lambda commit: int(commit["version"]), reverse=True)
    told = [note_of(str(commit.get("userMetadata", ""))) for commit in newest_first]
    return [note for note in told if "query" in note]


def writer_of(query: str, batch_id: int, notes: Sequence[Note], is_again: bool) -> str:
    """As whom a process writes batches from this one on: under each number of a writer Delta writes once.

    `notes`: of the query. `is_again`: this very batch was written before. Else, where its number was used, a copy of
    the checkpoint was put back: other records have it now, and Delta would leave them out in silence.
    """
    newest = notes[0] if notes else {}
    if not is_again and (newest.get("batch", -1) >= batch_id or (batch_id and not notes)):
        return f"{query}-{uuid4().hex}"
    return str(newest.get("writer", query))


def note_of(text: str) -> Note:
    """What a commit of ours noted; nothing of another's, whose maintenance may say what it likes."""
    try:
        note = json.loads(text)
    except ValueError:
        return {}
    return note if isinstance(note, dict) else {}


def _has_rows(table: DeltaTable) -> bool:
    rows = pl.DataFrame(table.get_add_actions(flatten=True))["num_records"]
    return bool(rows.fill_null(1).sum())
