"""A table's log without the commits that nothing reads any more.

The log: github.com/delta-io/delta, PROTOCOL.md, "Delta Log Entries" and "Checkpoints".
"""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta

from jobs.common.storage import File, Storage
from jobs.maintain.plan import Wanted

_LOG = "_delta_log"
#: Also the sums that Spark keeps beside each file of a folder.
_NAME = re.compile(r"_delta_log/\.?(\d{20})\.(?:json|checkpoint\.(?:\d+\.\d+\.)?parquet|crc)(?:\.crc)?$")


def superfluous(storage: Storage, wanted: Wanted, now: datetime, days: int) -> list[File]:
    """Files of the log that no version of the last `days`, none pinned and none since `wanted.since` is made of.

    A version is made of the newest checkpoint up to it and the commits after that one. The first commit stays: Spark
    takes its presence for the sign that older versions can be read.
    """
    files = [(int(found[1]), one) for one in storage.files(_LOG) if (found := _NAME.search(one.path))]
    points = sorted({version for version, one in files if one.path.endswith(".parquet")})
    commits = sorted(version for version, one in files if one.path.endswith(".json"))
    if not points or not commits:
        return []
    old = now - timedelta(days=days)
    from_here = max([v for v, one in files if v in set(points) and one.modified < old], default=0)
    if wanted.since is not None:
        from_here = min(from_here, _point(points, wanted.since))
    kept = {0, *_made_of(points, commits, wanted.pins)}
    return [one for version, one in files if version < from_here and version not in kept]


def _point(points: Iterable[int], version: int) -> int:
    return max((point for point in points if point <= version), default=0)


def _made_of(points: list[int], commits: list[int], pins: Iterable[int]) -> set[int]:
    there = set(commits)
    return {v for pin in pins for v in range(_point(points, pin), pin + 1) if v in there or v in set(points)}
