"""How long a table's log tells of its commits, and of files that are no longer part of it: Delta's own settings."""

import re

from schemas.tables import TABLES

LOG, REMOVED = "delta.logRetentionDuration", "delta.deletedFileRetentionDuration"
_AUDITED, _PASSING = "interval 3650 days", "interval 30 days"
#: Of the close's tables those that it rewrites bit by bit: their past is no evidence.
_REWRITTEN = ("exceptions", "verdict_drift")


def lasting(name: str) -> dict[str, str]:
    """The two properties of a table.

    What a close says and what it was made of can be read for ten years. Silver's log is kept too, for closes are pinned
    to its versions; `reco maintain` leaves of it what they need. But every checkpoint lists all files that were removed
    within the second of them, and the stream's tables lose thousands a day.
    """
    passes = TABLES[name].owner == "stream" or name in _REWRITTEN
    log = _PASSING if passes and name != "activity" else _AUDITED
    return {LOG: log, REMOVED: _PASSING if passes else _AUDITED}


def hours_of(configuration: dict[str, str]) -> int:
    """For how many hours a table's log tells of removed files, where it was set by `lasting`; Delta's week else."""
    found = re.fullmatch(r"interval (\d+) days", configuration.get(REMOVED, "interval 7 days"))
    return 24 * int(found[1]) if found else 0
