"""The law that nothing is dropped: bronze = heartbeats + events + quarantined, per topic and partition."""

import json
from dataclasses import dataclass, replace
from datetime import datetime

import polars as pl
from deltalake import DeltaTable

from jobs.common.arrow import polars_schema
from jobs.common.lake import open_table, scan
from jobs.common.settings import Settings
from schemas.tables import TABLES

#: Kafka coordinates: what a record is known by, from bronze to silver and quarantine.
PLACE = ["topic", "partition", "offset"]

LOST = "in bronze only, and no heartbeat"
STRAY = "not in bronze"
DOUBLED = "there more than once"


@dataclass(frozen=True)
class Count:
    """One partition's rows; broken counts the records of it that the law does not account for exactly once.

    in_flight counts those that only one of two measures saw so: a micro-batch was being written.
    """

    topic: str
    partition: int
    bronze: int
    heartbeats: int
    events: int
    quarantined: int
    next_offset: int
    broken: int
    in_flight: int = 0

    @property
    def holds(self) -> bool:
        """Every record is accounted for exactly once, so the sums agree too."""
        return self.broken == 0


@dataclass(frozen=True)
class Law:
    """Counts per topic and partition, each record that breaks the law, and each side's last heartbeat."""

    counts: list[Count]
    broken: pl.DataFrame
    last_heartbeat: dict[str, datetime]

    @property
    def holds(self) -> bool:
        """The law holds on every partition."""
        return self.broken.is_empty()


def is_heartbeat(value: bytes | None) -> bool:
    """Whether a record's value is a heartbeat: a JSON object whose `heartbeat` is true."""
    try:
        parsed = json.loads(value or b"")
    except (ValueError, RecursionError):
        return False
    return isinstance(parsed, dict) and parsed.get("heartbeat") is True


def measure(settings: Settings) -> Law | None:
    """Counts the tables as they are now, without a JVM; None where bronze has not been created yet.

    A micro-batch in flight is in some tables and not yet in others; what stays broken in two measures apart is broken.
    """
    bronze_table = open_table(settings, "activity_raw")
    if bronze_table is None:
        return None
    # Opened after bronze, so that they are never older than it: what they lack is lacking.
    homes = pl.concat(
        _rows(open_table(settings, name), name).select(*PLACE, pl.lit(kind).alias("kind"))
        for name, kind in (("activity", "events"), ("quarantine", "quarantined"))
    ).collect(engine="streaming")
    bronze = _rows(bronze_table, "activity_raw")
    places = bronze.select(PLACE).collect(engine="streaming")
    rest = (
        bronze.select(*PLACE, "source", "kafka_time", "value")
        .join(homes.lazy().select(PLACE), on=PLACE, how="anti")
        .collect(engine="streaming")
    )
    beats = rest.filter(pl.Series([is_heartbeat(value) for value in rest["value"]], dtype=pl.Boolean))
    broken = _broken(places, homes, rest.join(beats, on=PLACE, how="anti"))
    last = beats.group_by("source").agg(pl.col("kafka_time").max())
    return Law(_counts(places, homes, beats, broken), broken, dict(last.iter_rows()))


def settled(before: Law, after: Law) -> Law:
    """The later measure, where only what broke the law in both is broken; the rest was a micro-batch in flight."""
    broken = after.broken.join(before.broken, on=[*PLACE, "why"], how="semi")
    flying = after.broken.join(broken, on=PLACE, how="anti")
    sizes = [{(topic, part): size for topic, part, size in _sizes(frame).iter_rows()} for frame in (broken, flying)]
    counts = []
    for count in after.counts:
        lasting, passing = (found.get((count.topic, count.partition), 0) for found in sizes)
        counts.append(replace(count, broken=lasting, in_flight=passing))
    return Law(counts, broken, after.last_heartbeat)


def _rows(table: DeltaTable | None, name: str) -> pl.LazyFrame:
    return pl.LazyFrame(schema=polars_schema(TABLES[name].schema)) if table is None else scan(table)


def _broken(places: pl.DataFrame, homes: pl.DataFrame, lost: pl.DataFrame) -> pl.DataFrame:
    stray = homes.join(places, on=PLACE, how="anti")
    doubled = [frame.filter(frame.select(PLACE).is_duplicated()).unique(PLACE) for frame in (places, homes)]
    parts = [(lost, LOST), (stray, STRAY), *((frame, DOUBLED) for frame in doubled)]
    found = pl.concat(frame.select(*PLACE, pl.lit(why).alias("why")) for frame, why in parts)
    return found.unique().sort(*PLACE, "why")


def _counts(places: pl.DataFrame, homes: pl.DataFrame, beats: pl.DataFrame, broken: pl.DataFrame) -> list[Count]:
    key = ["topic", "partition"]
    kinds = {
        "bronze": _sizes(places),
        "heartbeats": _sizes(beats),
        "events": _sizes(homes.filter(pl.col("kind") == "events")),
        "quarantined": _sizes(homes.filter(pl.col("kind") == "quarantined")),
        "broken": _sizes(broken),
        "next_offset": places.group_by(key).agg(pl.col("offset").max() + 1),
    }
    table = pl.concat([frame.select(key) for frame in kinds.values()]).unique().sort(key)
    for name, frame in kinds.items():
        table = table.join(frame.rename({frame.columns[-1]: name}), on=key, how="left")
    return [Count(**row) for row in table.fill_null(0).to_dicts()]


def _sizes(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.group_by("topic", "partition").agg(pl.len().cast(pl.Int64))
