"""The policies and rates that a micro-batch works by."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.common import tables
from jobs.common.currencies import minor_units
from jobs.common.lake import open_table, read
from jobs.common.local_rows import held, local_rows
from jobs.common.settings import Settings
from reco_rules.money import rates_as_of
from reco_rules.policy import BUILT_IN, Value
from schemas.tables import TABLES

#: Sets of dates whose rates are kept; the last batches had one or two.
_KEPT = 8


@dataclass(frozen=True)
class InForce:
    """One version of the policies: the suppliers it lists and what holds for all others; version 0 is built in."""

    version: int
    listed: Sequence[Mapping[str, Any]]
    defaults: Mapping[str, Value]

    def rows(self, spark: SparkSession) -> DataFrame:
        """The listed suppliers' rows of `ref/policies`, as a constant of the plan."""
        listed = [tuple(row.values()) for row in self.listed]
        return F.broadcast(local_rows(spark, listed, TABLES["policies"].schema))


def policies_in_force(settings: Settings, pinned: int | None = None) -> InForce:
    """The newest version of the policies, or the pinned one, read now."""
    # Without Spark, whose first look at a table takes a good part of a small batch's time.
    known = read(None if pinned == 0 else open_table(settings, "policies"), "policies")
    version = pinned or int(known["policy_version"].max() or 0)  # type: ignore[arg-type]
    rows = known.filter(pl.col("policy_version") == version).to_dicts()
    default = next((row for row in rows if row["supplier_id"] is None), BUILT_IN)
    return InForce(version, [row for row in rows if row["supplier_id"] is not None], default)


class References:
    """Policies and rates, read again when a table has a new commit: a change holds from the next micro-batch on."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._policies: tuple[int | None, InForce] | None = None
        self._rates: dict[object, DataFrame] = {}
        self._versions: dict[str, int | None] = {}

    def policies(self, spark: SparkSession) -> InForce:
        """The newest version of the policies."""
        commit = self._newest(spark, "policies")
        if self._policies is None or self._policies[0] != commit:
            self._policies = commit, policies_in_force(self._settings)
        return self._policies[1]

    def rates(self, spark: SparkSession, dates: Iterable[date]) -> DataFrame:
        """The rates in force on those dates: `fx_date, fx_currency, usd_per_minor`, as a constant of the plan."""
        days, path = tuple(sorted(set(dates))), self._settings.table_path("fx_rates")
        seen = (days, self._newest(spark, "fx_rates"))
        if seen not in self._rates:
            if len(self._rates) > _KEPT:
                self._rates.clear()
            fx = tables.read(spark, path) if seen[1] is not None else local_rows(spark, [], TABLES["fx_rates"].schema)
            units = [(code, Decimal(1).scaleb(-digits)) for code, digits in sorted(minor_units().items())]
            minor = local_rows(spark, units, "currency string, minor_unit decimal(5,4)")
            on_days = local_rows(spark, [(day,) for day in days], "fx_date date")
            self._rates[seen] = held(rates_as_of(fx, minor, on_days))
        return self._rates[seen]

    def versions(self, spark: SparkSession) -> tuple[int | None, int | None]:
        """Newest versions of both tables: what was judged by others may be judged otherwise now."""
        return self._newest(spark, "policies"), self._newest(spark, "fx_rates")

    def _newest(self, spark: SparkSession, name: str) -> int | None:
        path = self._settings.table_path(name)
        self._versions[name] = tables.newest_version(spark, path, self._versions.get(name))
        return self._versions[name]
