"""Which deliveries' payloads were erased on somebody's request."""

from collections.abc import Sequence

import polars as pl

from jobs.common.lake import open_table, scan
from jobs.common.marks import erased_mark
from jobs.common.settings import Settings
from jobs.daily.explain_text import Delivery


def erased_payloads(settings: Settings, deliveries: Sequence[Delivery]) -> list[str]:
    """A sentence for each delivery whose payload bronze holds no more; a lake without requests is not asked."""
    bronze = open_table(settings, "activity_raw")
    if bronze is None or open_table(settings, "erasures") is None:
        return []
    wanted = {(one.topic, one.partition, one.offset) for one in deliveries}
    near = scan(bronze).filter(
        pl.col("offset").is_in(sorted({offset for *_, offset in wanted})),
        pl.col("value").bin.contains(b'"reco:erased"'),
    )
    found = near.select("topic", "partition", "offset", "value").collect().rows()
    marks = {(topic, part, offset): erased_mark(value) for topic, part, offset, value in found}
    return [
        f"The payload of {topic}/{part}@{offset} was {mark}; what was read of it stays."
        for (topic, part, offset), mark in sorted(marks.items())
        if mark is not None and (topic, part, offset) in wanted
    ]
