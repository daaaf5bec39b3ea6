"""Events, policies and rates as plain values."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Context, Decimal

SOURCES = ("AGODA", "SUPPLIER")
ACTIVITY_TYPES = ("BOOKING", "PAYMENT", "REFUND", "CANCELLATION")
STATUSES = ("BOOKED", "CONFIRMED", "PAID", "CANCELLED", "REFUNDED", "FAILED")

#: Wide enough that every product below is exact before it is rounded.
EXACT = Context(prec=80)

#: US dollars for one whole unit of a currency, by the rate's date and the currency's code.
Fx = Mapping[tuple[date, str], Decimal]

_TWO = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CNY "
    "COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS "
    "INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR "
    "MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP "
    "STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG"
)
_NONE = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THREE = "BHD IQD JOD KWD LYD OMR TND"
_FOUR = "CLF UYW"
#: Minor-unit exponent of every ISO 4217 currency in force in 2026. XAU, XXX and their like have no minor unit.
EXPONENTS: Mapping[str, int] = {
    code: exponent for exponent, codes in ((0, _NONE), (2, _TWO), (3, _THREE), (4, _FOUR)) for code in codes.split()
}


@dataclass(frozen=True, slots=True)
class Event:
    """One delivery of one version of an activity, as one side reports it."""

    event_id: str
    source: str
    supplier_id: str
    activity_id: str
    activity_type: str
    amount_minor: int
    currency: str
    status: str
    version: int
    event_time: datetime  # aware, UTC, whole milliseconds
    kafka_time: datetime  # aware, UTC, whole milliseconds
    grace_seconds: int | None = None  # as stamped at normalisation; None: the policy's
    policy_version: int = 0  # whose stamp that is

    @property
    def key(self) -> tuple[str, str]:
        """The match key."""
        return (self.supplier_id, self.activity_id)

    @property
    def content(self) -> tuple[str, int, str, str, datetime]:
        """What two deliveries of one event id must share to be the same event."""
        return (self.activity_type, self.amount_minor, self.currency, self.status, self.event_time)

    @property
    def identity(self) -> tuple[object, ...]:
        """Equal for an event and its redeliveries, different for anything else."""
        return (self.source, self.supplier_id, self.activity_id, self.version, self.event_id, self.content)

    @property
    def rank(self) -> tuple[int, datetime, str, int, str, str, str]:
        """Greater is later. The activity type only settles what the contract leaves open: a tie in all the rest."""
        return (
            self.version,
            self.event_time,
            self.event_id,
            self.amount_minor,
            self.currency,
            self.status,
            self.activity_type,
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """One supplier's policy, all values resolved; durations in whole seconds. The defaults are section 4's."""

    mode: str = "NRT_HOURLY"
    grace: int = 3600
    versions: str = "aligned"
    abs_tol_usd: Decimal = Decimal("0.50")
    pct_tol: Decimal = Decimal("0.01")
    allowed_skew: int = 900
    max_delay: int = 7200
    high_usd: Decimal = Decimal("100")
    critical_usd: Decimal = Decimal("1000")
    format: str | None = None


def first_publications(events: Iterable[Event]) -> list[Event]:
    """Each distinct event once, with the publish time and the grace of its first publication."""
    first: dict[tuple[object, ...], Event] = {}
    for event in events:
        known = first.get(event.identity)
        if known is None or _published(event) < _published(known):
            first[event.identity] = event
    return list(first.values())


def _published(event: Event) -> tuple[datetime, int, int]:
    return (event.kafka_time, event.policy_version, event.grace_seconds or 0)


def stamped(event: Event, policy: Policy) -> Event:
    """The event with its policy's grace where normalisation gave it none."""
    return event if event.grace_seconds is not None else replace(event, grace_seconds=policy.grace)
