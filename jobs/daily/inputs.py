"""What a close reads: every input at a pinned Delta version, so that it can be read again the same way."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from importlib.metadata import PackageNotFoundError, version

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.common import tables
from jobs.common.currencies import minor_units
from jobs.common.errors import UserError
from jobs.common.local_rows import local_rows
from jobs.common.settings import Settings
from reco_rules.money import MAX_RATE_AGE_DAYS, rates_as_of
from reco_rules.ownership import HOURS_AFTER, HOURS_BEFORE
from reco_rules.policy import BUILT_IN, Value
from schemas.tables import TABLES

Defaults = Mapping[str, Value]


@dataclass(frozen=True)
class Pins:
    """The versions a close reads; recorded in `gold/closes`."""

    silver_version: int
    policies_table_version: int | None
    fx_table_version: int | None
    policy_version: int
    fx_version: int
    history_days: int
    code_version: str


@dataclass(frozen=True)
class Inputs:
    """The frames a close works on."""

    pins: Pins
    silver: DataFrame
    policies: DataFrame
    defaults: Defaults
    fx: DataFrame
    minor_units: DataFrame

    def rates(self, day: date) -> DataFrame:
        """The rates that may price a key of `day`: `fx_date, fx_currency, usd_per_minor`."""
        first, last = day - timedelta(days=self.pins.history_days + 1), day + timedelta(days=1)
        recent = self.fx.where(F.col("rate_date").between(first - timedelta(days=MAX_RATE_AGE_DAYS), last))
        dates = self.fx.sparkSession.range(1).select(F.explode(F.sequence(F.lit(first), F.lit(last))).alias("fx_date"))
        return rates_as_of(recent, self.minor_units, dates)

    def around(self, first: date, last: date) -> DataFrame:
        """Deliveries of the days `first` to `last` and of the hours beside them that decide who owns a key."""
        event_date, hour = F.col("event_date"), F.col("event_hour")
        day = timedelta(days=1)
        return self.silver.where(
            event_date.between(first - day, last + day)
            & (
                event_date.between(first, last)
                | ((event_date == F.lit(first - day)) & (hour >= 24 - HOURS_BEFORE))
                | ((event_date == F.lit(last + day)) & (hour < HOURS_AFTER))
            )
        )


def code_version() -> str:
    """The installed version of this software."""
    try:
        return version("reco")
    except PackageNotFoundError:
        return "unpackaged"


def pin(spark: SparkSession, settings: Settings) -> Pins:
    """The newest version of every input. UserError where there is no silver yet."""
    silver = settings.table_path("activity")
    if not tables.exists(spark, silver):
        raise UserError(
            f"There is no table silver/activity under {settings.lake.root}: run `reco stream --available-now` first, "
            "or set lake.root to the lake you mean."
        )
    policies, fx = _pinned(spark, settings.table_path("policies")), _pinned(spark, settings.table_path("fx_rates"))
    return Pins(
        silver_version=tables.version_of(spark, silver),
        policies_table_version=policies,
        fx_table_version=fx,
        policy_version=_greatest(spark, settings.table_path("policies"), policies, "policy_version"),
        fx_version=_greatest(spark, settings.table_path("fx_rates"), fx, "fx_version"),
        history_days=settings.daily.history_days,
        code_version=code_version(),
    )


def newest(spark: SparkSession, settings: Settings) -> Inputs:
    """Everything as it is now. UserError where there is no silver yet."""
    return load(spark, settings, pin(spark, settings))


def load(spark: SparkSession, settings: Settings, pins: Pins) -> Inputs:
    """The frames of pinned versions."""
    policies = _read(spark, settings, "policies", pins.policies_table_version).where(
        F.col("policy_version") == pins.policy_version
    )
    default = policies.where(F.col("supplier_id").isNull()).head()
    units = [(code, Decimal(1).scaleb(-digits)) for code, digits in sorted(minor_units().items())]
    return Inputs(
        pins=pins,
        silver=tables.read(spark, settings.table_path("activity"), pins.silver_version),
        policies=F.broadcast(policies.where(F.col("supplier_id").isNotNull())),
        defaults=default.asDict() if default is not None else BUILT_IN,
        fx=_read(spark, settings, "fx_rates", pins.fx_table_version),
        minor_units=local_rows(spark, units, "currency string, minor_unit decimal(5,4)"),
    )


def _pinned(spark: SparkSession, path: str) -> int | None:
    return tables.version_of(spark, path) if tables.exists(spark, path) else None


def _read(spark: SparkSession, settings: Settings, name: str, pinned: int | None) -> DataFrame:
    if pinned is None:
        return local_rows(spark, [], TABLES[name].schema)
    return tables.read(spark, settings.table_path(name), pinned)


def _greatest(spark: SparkSession, path: str, pinned: int | None, column: str) -> int:
    if pinned is None:
        return 0
    row = tables.read(spark, path, pinned).agg(F.max(column)).head()
    return int(row[0]) if row is not None and row[0] is not None else 0
