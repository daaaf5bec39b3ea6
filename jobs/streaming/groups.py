"""The suppliers of one match application among several, as a condition; and what it needs before it starts."""

import os
import platform
import time
from contextlib import suppress
from datetime import UTC, datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.common.errors import UserError
from jobs.common.groups import DIGITS, of_group, parts_of
from jobs.common.lake import open_table
from jobs.common.metrics import REGISTRY
from jobs.common.ownership import PROPERTY, owner_of
from jobs.common.progress_file import GONE, read_progress
from jobs.common.settings import GROUPED, Settings

#: The version of a group's table that is there, but does not yet know what gold has of the group.
UNSEEDED = 0
_PAUSE = 0.5


def is_mine(settings: Settings, supplier: Column) -> Column | None:
    """Whether this application matches the supplier (`jobs.common.groups.group_of`); None where it matches all."""
    if not settings.is_part:
        return None
    stream, group = settings.stream, settings.stream.match_group
    digits = F.substring(F.sha2(supplier, 256), 1, DIGITS)
    hashed: Column = (F.conv(digits, 16, 10).cast("bigint") % stream.match_groups).eqNullSafe(F.lit(group))
    if not stream.match_suppliers:
        return hashed
    mine = sorted(name for name, placed in stream.match_suppliers.items() if placed == group)
    return F.when(supplier.isin(sorted(stream.match_suppliers)), supplier.isin(mine)).otherwise(hashed)


def only_mine(settings: Settings, rows: DataFrame) -> DataFrame:
    """Those rows whose `supplier_id` this application matches."""
    mine = is_mine(settings, F.col("supplier_id"))
    return rows if mine is None else rows.where(mine)


def ready(settings: Settings) -> Settings:
    """The settings of the match application that these tell; themselves where there is one for all suppliers.

    UserError where the group's tables are not made yet, where they are made for another grouping, and where the same
    group is matched already.
    """
    group = settings.stream.match_group
    if group is None:
        return settings
    mine, count = of_group(settings, group), settings.stream.match_groups
    for name in GROUPED:
        whole, part = open_table(settings, name), open_table(mine, name)
        owner = None if whole is None else whole.metadata().configuration.get(PROPERTY)
        if owner != owner_of(settings, name) or part is None or part.version() == UNSEEDED:
            told = "is not there yet" if owner is None else f"is written by {owner}"
            told = "is there, the group's own is not yet" if owner == owner_of(settings, name) else told
            raise UserError(
                f"Group {group} of {count} has no tables under {settings.lake.root}/groups ({settings.told_path(name)} "
                f"{told}): first start `reco stream` with stream.match_groups {count} and without stream.match_group; "
                "it makes them, and gathers what the groups give."
            )
    _alone(mine)
    return mine


def see_groups(settings: Settings) -> None:
    """Tell Prometheus when each group was last heard of; of one that never was, 0."""
    name = "reco_match_group_told_timestamp_seconds"
    for part in parts_of(settings):
        group = str(part.stream.match_group)
        REGISTRY.put(name, REGISTRY.value(name, group=group) or 0, group=group)
        with suppress(UserError):  # what cannot be read stands still, and is missed
            if (told := read_progress(part, "match")) is not None:
                REGISTRY.put(name, told["told_at"].timestamp(), group=group)


def this_process() -> str:
    """This process, as its progress names it."""
    return f"{platform.node()}:{os.getpid()}"


def _alone(mine: Settings) -> None:
    """Wait until it is sure that nobody else matches the group. UserError where somebody does.

    Not where the machine's own process that matched it last is gone: then it is sure at once.
    """
    first = read_progress(mine, "match")
    deadline = time.monotonic() + GONE.total_seconds()
    while first is not None and time.monotonic() < deadline:
        told = read_progress(mine, "match") or first  # or it is being written
        if told["state"] != "RUNNING" or _is_gone(told["process"]) or datetime.now(UTC) - told["told_at"] > GONE:
            return
        if told["told_at"] != first["told_at"]:
            stream = mine.stream
            raise UserError(
                f"Group {stream.match_group} of {stream.match_groups} is matched already, by the process "
                f"{told['process']}: stop that one, or set stream.match_group to a group that nobody matches."
            )
        time.sleep(_PAUSE)


def _is_gone(process: str | None) -> bool:
    host, _, number = (process or "").rpartition(":")
    if host != platform.node() or not number.isdigit():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
