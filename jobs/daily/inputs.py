"""What a close reads: every input at a pinned Delta version, so that it can be read again the same way."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from importlib.metadata import PackageNotFoundError, version

from pyspark.sql import DataFrame
from pyspark.sql.types import DateType, DecimalType, StructField, StructType

from jobs.common.currencies import minor_units
from jobs.common.days import days_before
from jobs.common.engines import Session, engine_of
from jobs.common.errors import UserError
from jobs.common.settings import Settings
from reco_rules.engine import F
from reco_rules.money import MAX_RATE_AGE_DAYS, rates_as_of
from reco_rules.ownership import HOURS_AFTER, HOURS_BEFORE
from reco_rules.policy import BUILT_IN, Value
from schemas.tables import TABLES
from schemas.types import STRING

Defaults = Mapping[str, Value]

_FX_DATE = StructType([StructField("fx_date", DateType())])
_UNIT = StructType([StructField("currency", STRING), StructField("minor_unit", DecimalType(5, 4))])


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
        first, last = days_before(day, self.pins.history_days + 1), day + timedelta(days=1)
        recent = self.fx.where(F.col("rate_date").between(days_before(first, MAX_RATE_AGE_DAYS), last))
        days = [(first + timedelta(days=number),) for number in range((last - first).days + 1)]
        dates = engine_of(self.fx.sparkSession).local_rows(days, _FX_DATE)
        return rates_as_of(recent, self.minor_units, dates)

    def around(self, first: date, last: date) -> DataFrame:
        """Deliveries of the days `first` to `last` and of the hours beside them that decide who owns a key."""
        event_date, hour = F.col("event_date"), F.col("event_hour")
        evening, morning = days_before(first, 1), last + timedelta(days=1)
        return self.silver.where(
            event_date.between(evening, morning)
            & (
                event_date.between(first, last)
                | ((event_date == F.lit(evening)) & (hour >= 24 - HOURS_BEFORE))
                | ((event_date == F.lit(morning)) & (hour < HOURS_AFTER))
            )
        )


def code_version() -> str:
    """The installed version of this software."""
    try:
        return version("reco")
    except PackageNotFoundError:
        return "unpackaged"


def pin(session: Session, settings: Settings) -> Pins:
    """The newest version of every input. UserError where there is no silver yet."""
    engine, silver = engine_of(session), settings.table_path("activity")
    if not engine.exists(silver):
        raise UserError(
            f"There is no table silver/activity under {settings.lake.root}: run `reco stream --available-now` first, "
            "or set lake.root to the lake you mean."
        )
    policies, fx = _pinned(session, settings.table_path("policies")), _pinned(session, settings.table_path("fx_rates"))
    return Pins(
        silver_version=engine.version_of(silver),
        policies_table_version=policies,
        fx_table_version=fx,
        policy_version=_greatest(session, settings.table_path("policies"), policies, "policy_version"),
        fx_version=_greatest(session, settings.table_path("fx_rates"), fx, "fx_version"),
        history_days=settings.daily.history_days,
        code_version=code_version(),
    )


def newest(session: Session, settings: Settings) -> Inputs:
    """Everything as it is now. UserError where there is no silver yet."""
    return load(session, settings, pin(session, settings))


def load(session: Session, settings: Settings, pins: Pins) -> Inputs:
    """The frames of pinned versions."""
    policies = _read(session, settings, "policies", pins.policies_table_version).where(
        F.col("policy_version") == pins.policy_version
    )
    default = policies.where(F.col("supplier_id").isNull()).head()
    units = [(code, Decimal(1).scaleb(-digits)) for code, digits in sorted(minor_units().items())]
    return Inputs(
        pins=pins,
        silver=engine_of(session).read(settings.table_path("activity"), pins.silver_version),
        policies=F.broadcast(policies.where(F.col("supplier_id").isNotNull())),
        defaults=default.asDict() if default is not None else BUILT_IN,
        fx=_read(session, settings, "fx_rates", pins.fx_table_version),
        minor_units=engine_of(session).local_rows(units, _UNIT),
    )


def _pinned(session: Session, path: str) -> int | None:
    engine = engine_of(session)
    return engine.version_of(path) if engine.exists(path) else None


def _read(session: Session, settings: Settings, name: str, pinned: int | None) -> DataFrame:
    if pinned is None:
        return engine_of(session).local_rows([], TABLES[name].schema)
    return engine_of(session).read(settings.table_path(name), pinned)


def _greatest(session: Session, path: str, pinned: int | None, column: str) -> int:
    if pinned is None:
        return 0
    row = engine_of(session).read(path, pinned).agg(F.max(column)).head()
    return int(row[0]) if row is not None and row[0] is not None else 0
