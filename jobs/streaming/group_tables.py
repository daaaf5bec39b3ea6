"""The tables of several match applications: made by the one that gathers, which alone knows what gold has."""

from datetime import timedelta

import polars as pl
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.common import tables
from jobs.common.errors import UserError
from jobs.common.groups import GATHERED, grouping, of_group, parts_of
from jobs.common.lake import open_table, scan
from jobs.common.log import get_logger
from jobs.common.ownership import PROPERTY, owner_of
from jobs.common.session import recorded
from jobs.common.settings import GROUPED, Settings
from jobs.streaming.groups import UNSEEDED, only_mine

log = get_logger(__name__)

#: A new group knows the verdicts on its suppliers of so many days, and of the horizon before.
SEED_DAYS = 14
#: What a group gave last lies in the newest of its days.
_LATEST = timedelta(days=2)


def may_change(settings: Settings) -> None:
    """Whether this grouping (or one application for all) may take the place of the one that writes gold now.

    UserError where something that the groups of before gave is not in gold yet, and where this grouping was in force
    earlier: its tables know nothing of what came since.
    """
    table = open_table(settings, GROUPED[0])
    owner = None if table is None else table.metadata().configuration.get(PROPERTY)
    if owner is None or owner == owner_of(settings, GROUPED[0]):
        return
    for part in parts_of(settings):
        if open_table(part, GROUPED[0]) is not None:
            folders = f"groups/{grouping(settings)}"
            raise UserError(
                f"{settings.lake.root}/{folders} is left from when suppliers were grouped so before, and knows nothing "
                f"of what came since: remove it, and {settings.stream.checkpoint_root}/{folders} and "
                f"{settings.stream.checkpoint_root}/gather/{grouping(settings)}."
            )
    _, _, before = owner.partition("@")[0].partition("/gather/")
    left = sum(_left(settings, before, group) for group in range(int(before.partition("-")[0]))) if before else 0
    if left:
        raise UserError(
            f"{left:,} rows of the groups {before} are not in gold yet, and would be lost: with the settings of "
            "before, stop all match applications and run `reco stream --only gather --available-now`; then start again."
        )


def _left(settings: Settings, before: str, group: int) -> int:
    """How many of a group's newest verdicts, and exceptions as they are, gold does not have."""
    found = 0
    for name, same in zip(GROUPED, (["result_id"], ["exception_id", "result_id", "judged_by", "state"]), strict=True):
        mine, gold = open_table(part_at(settings, before, group), name), open_table(settings, name)
        if mine is None or gold is None:
            continue
        rows = scan(mine)
        if name == GROUPED[0]:
            newest = rows.select(pl.col("verdict_date").max()).collect().item()
            rows = rows.filter(pl.col("verdict_date") > newest - _LATEST) if newest else rows
        joined = rows.select(same).join(scan(gold).select(same), on=same, how="anti", nulls_equal=True)
        found += int(joined.select(pl.len()).collect().item())
    return found


def part_at(settings: Settings, before: str, group: int) -> Settings:
    """The settings of a group of another grouping, good for its tables alone."""
    part = of_group(settings.model_copy(deep=True), group)
    part._part = f"groups/{before}/{group}"
    return part


def make(spark: SparkSession, settings: Settings) -> None:
    """Make gold's tables and each group's, those with what gold has of the group's suppliers.

    So a group takes nothing twice and forgets nothing: verdicts of `SEED_DAYS` and the horizon, all exceptions.
    """
    for name in GATHERED:
        tables.ensure_table(spark, settings, name)
    for part in parts_of(settings):
        for name in GROUPED:
            path = tables.ensure_table(spark, part, name)
            if tables.newest_version(spark, path) == UNSEEDED:
                _seed(spark, settings, part, name)


def _seed(spark: SparkSession, settings: Settings, part: Settings, name: str) -> None:
    rows = only_mine(part, tables.read(spark, settings.table_path(name)))
    if name == GROUPED[0]:
        days = SEED_DAYS + settings.stream.nrt_horizon_hours // 24
        newest = tables.read(spark, settings.table_path(name)).agg(F.max("verdict_date")).collect()[0][0]
        if newest is not None:
            rows = rows.where(F.col("verdict_date") >= F.lit(newest - timedelta(days=days)))
    with recorded(spark):
        tables.conformed(rows, name).write.format("delta").mode("append").save(part.table_path(name))
    log.info("group made", table=part.told_path(name))
