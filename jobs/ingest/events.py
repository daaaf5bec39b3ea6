"""What a workload is made of: events, the records that carry them, prices and limits in plain Python."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import cache
from typing import NamedTuple

from jobs.common.currencies import minor_units

AGODA = "AGODA"
SUPPLIER = "SUPPLIER"
SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
#: A rate older than this many days prices nothing (CONTRACT section 5).
RATE_DAYS = 7

_DIGITS = minor_units()
_MICRO_USD = Decimal("0.000001")
_EXACT = Context(prec=60)


class Record(NamedTuple):
    """One Kafka record to be: ahead marks those whose timestamp is set in the future when they are sent.

    `way`: how it gets there, one of `jobs.ingest.ways`.
    """

    published_ms: int
    source: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]] | None = None
    ahead: bool = False
    way: str = "push"


@dataclass(slots=True)
class Event:
    """One version of an activity as one side reports it; times in epoch milliseconds, amount in minor units."""

    source: str
    supplier: str
    activity: str
    kind: str
    amount: int
    currency: str
    status: str
    version: int
    time_ms: int
    published_ms: int
    event_id: str | None
    header_id: str | None = None
    offset_minutes: int = 0
    extra: str = ""

    def record(self) -> Record:
        """The record a producer would send: JSON as CONTRACT section 2 has it, keyed by the activity."""
        head = "" if self.event_id is None else f'"eventId":"{self.event_id}",'
        value = (
            f'{{{head}"activityId":"{self.activity}","supplierId":"{self.supplier}","activityType":"{self.kind}",'
            f'"amountMinor":{self.amount},"currency":"{self.currency}","status":"{self.status}",'
            f'"version":{self.version},"eventTime":"{iso(self.time_ms, self.offset_minutes)}"{self.extra}}}'
        )
        headers = None if self.header_id is None else [("id", self.header_id.encode())]
        return Record(self.published_ms, self.source, self.activity.encode(), value.encode(), headers)


@cache
def _day_text(day: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=day)).isoformat()


def iso(ms: int, offset_minutes: int = 0) -> str:
    """ISO 8601 of epoch milliseconds: in UTC with Z, or as a clock offset_minutes east of it shows it."""
    day, rest = divmod(ms + offset_minutes * MINUTE, DAY)
    seconds, milli = divmod(rest, SECOND)
    zone = "Z"
    if offset_minutes:
        sign = "+" if offset_minutes > 0 else "-"
        zone = f"{sign}{abs(offset_minutes) // 60:02}:{abs(offset_minutes) % 60:02}"
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{_day_text(day)}T{clock}.{milli:03}{zone}"


@cache
def midnight_ms(day: date) -> int:
    """Epoch milliseconds of the day's first moment, UTC."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * SECOND


def utc_date(ms: int) -> date:
    """The UTC date of epoch milliseconds."""
    return datetime.fromtimestamp(ms // SECOND, tz=UTC).date()


@dataclass(frozen=True)
class Limits:
    """A supplier's policy as far as the truth depends on it: times in milliseconds, tolerances as in policies."""

    grace_ms: int
    skew_ms: int
    delay_ms: int
    abs_tol: Decimal
    pct_tol: Decimal

    def price(self, agoda_usd: Decimal) -> Decimal:
        """The greatest allowed distance of the two amounts, US dollars."""
        return max(self.abs_tol, _round(_EXACT.multiply(self.pct_tol, agoda_usd)))


@dataclass(frozen=True)
class Rates:
    """US dollars for one whole unit: by currency, then by date."""

    by_currency: Mapping[str, Mapping[date, Decimal]] = field(default_factory=dict)

    def of(self, currency: str, day: date) -> Decimal | None:
        """The latest rate on or before the day, at most seven days old; None where there is none."""
        if currency == "USD":
            return Decimal(1)
        rates = self.by_currency.get(currency, {})
        for age in range(RATE_DAYS + 1):
            if (rate := rates.get(day - timedelta(days=age))) is not None:
                return rate
        return None

    def usd(self, amount: int, currency: str, day: date) -> Decimal | None:
        """An amount in minor units, in US dollars rounded half up to six places; None without a rate."""
        rate = self.of(currency, day)
        return None if rate is None else _round(_EXACT.multiply(Decimal(amount).scaleb(-_DIGITS[currency]), rate))


def _round(value: Decimal) -> Decimal:
    return value.quantize(_MICRO_USD, rounding=ROUND_HALF_UP, context=_EXACT)
