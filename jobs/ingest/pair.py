"""An activity that both sides report alike, and the moves the planted cases are made of."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from random import Random
from typing import Any, NamedTuple

from jobs.common.currencies import minor_units
from jobs.ingest.events import DAY, HOUR, MINUTE, SECOND, Event, Limits, Rates, midnight_ms


class Break(NamedTuple):
    """One row of truth: so many days after the pair's own day, this break with this money at risk (None: unpriced)."""

    days: int
    anomaly_type: str
    at_risk: Decimal | None


class Planted(NamedTuple):
    """What a case sends, and the breaks that by the contract must be found in it: none for a harmless one."""

    events: list[Event]
    breaks: list[Break]


@dataclass(slots=True)
class Pair:
    """Both sides of one activity in perfect agreement, with what a case needs to bend it."""

    agoda: Event
    supplier: Event
    day: date
    limits: Limits
    rates: Rates
    rng: Random
    unpriced: tuple[str, ...]
    other_supplier: str

    @property
    def both(self) -> list[Event]:
        """The two events, AGODA's first."""
        return [self.agoda, self.supplier]

    @property
    def next_midnight(self) -> int:
        """Epoch milliseconds at which the pair's day ends."""
        return midnight_ms(self.day) + DAY

    def usd(self, event: Event, days: int = 0) -> Decimal | None:
        """The event's amount in US dollars, by the rate of so many days after the pair's day."""
        return self.rates.usd(event.amount, event.currency, self.day + timedelta(days=days))

    def distance(self, one: Event, other: Event) -> Decimal | None:
        """How far two amounts are apart, US dollars, by the rate of the pair's day; None where one is unpriced."""
        one_usd, other_usd = self.usd(one), self.usd(other)
        return None if one_usd is None or other_usd is None else abs(one_usd - other_usd)

    def greater(self, days: int = 0) -> Decimal | None:
        """The greater side's amount, US dollars; None where either is unpriced."""
        agoda_usd, supplier_usd = self.usd(self.agoda, days), self.usd(self.supplier, days)
        return None if agoda_usd is None or supplier_usd is None else max(agoda_usd, supplier_usd)

    def steps(self, usd: Decimal, currency: str) -> int:
        """How many minor units of the currency fit into so many US dollars."""
        rate = self.rates.of(currency, self.day)
        assert rate is not None
        return int(usd / rate.scaleb(-minor_units()[currency]))

    def limit(self) -> Decimal:
        """The greatest price distance allowed for AGODA's amount, US dollars."""
        agoda_usd = self.usd(self.agoda)
        assert agoda_usd is not None
        return self.limits.price(agoda_usd)

    def far_amount(self, event: Event) -> int:
        """An amount well outside the tolerance around the event's: half as far again and a dollar more."""
        step = self.steps(self.limit() * 3 / 2 + 1, event.currency) + 1
        step += self.rng.randrange(step + event.amount // 20)
        return event.amount - step if event.amount > step and self.rng.random() < 0.5 else event.amount + step

    def set_both(self, **values: Any) -> None:
        """Give both sides the same new values."""
        for event in self.both:
            for name, value in values.items():
                setattr(event, name, value)

    def flip(self, do: Callable[[Event, Event], None]) -> None:
        """Call with both events in random order: a case that may fall on either side."""
        do(*(self.both if self.rng.random() < 0.5 else reversed(self.both)))

    def either(self) -> Event:
        """One of the two events, by chance."""
        return self.rng.choice(self.both)

    def again(self, event: Event, **changes: Any) -> Event:
        """The event once more, under an id of its own unless told otherwise."""
        return replace(event, **{"event_id": self.new_id(), **changes})

    def new_id(self) -> str:
        """A fresh event id."""
        return f"{self.rng.getrandbits(128):032x}"

    def soon(self, event: Event) -> int:
        """A publish time up to ten minutes after the event's own, never so late that it would count as delayed."""
        later = event.published_ms + SECOND + self.rng.randrange(10 * MINUTE)
        return max(event.published_ms, min(event.time_ms + self.limits.delay_ms, later))

    def move(self, event: Event, time_ms: int) -> None:
        """Let the event happen at another time, published as quickly as before."""
        event.published_ms += time_ms - event.time_ms
        event.time_ms = time_ms

    def next_day(self, event: Event, **changes: Any) -> Event:
        """A further version between 09:00 and 16:00 of the next day: far from midnight whatever the grace."""
        time_ms = self.next_midnight + 9 * HOUR + self.rng.randrange(7 * HOUR)
        version = event.version + 1
        latency = event.published_ms - event.time_ms
        return self.again(event, version=version, time_ms=time_ms, published_ms=time_ms + latency, **changes)
