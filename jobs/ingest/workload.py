"""The workload: days of activities on both sides, in the order of publication, and the truth planted in them."""

from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from itertools import accumulate
from operator import itemgetter
from random import Random

from jobs.common.currencies import minor_units
from jobs.ingest import plan, poison
from jobs.ingest.events import AGODA, HOUR, MINUTE, SECOND, SUPPLIER, Event, Limits, Rates, Record, midnight_ms
from jobs.ingest.pair import Pair, Planted

KINDS = (
    ("BOOKING", "CONFIRMED"),
    ("BOOKING", "BOOKED"),
    ("PAYMENT", "PAID"),
    ("CANCELLATION", "CANCELLED"),
    ("REFUND", "REFUNDED"),
)
#: How often each currency is used, as far as it has a rate on every date of the workload.
CURRENCIES = {"USD": 30, "EUR": 15, "JPY": 12, "THB": 12, "KRW": 8, "GBP": 8, "SGD": 5, "IDR": 4, "AUD": 3, "INR": 3}
#: Currencies that are used unpriced, as far as they have no rate at all: two, zero and three minor digits.
UNPRICED = ("KWD", "VND", "TWD")
#: Special cases begin before this hour, so that what follows them on the same day stays on it.
SPECIAL_HOURS = 16
#: A supplier whose allowed skew is longer gets plain activities only: its cases would run into the next day.
LONGEST_SKEW_MS = 4 * HOUR

Truth = tuple[date, str, str, str, Decimal | None]


@dataclass(frozen=True)
class Spec:
    """What to generate: the same Spec gives the same workload. Nothing is published at or after until_ms."""

    start: date
    days: int
    activities: int
    suppliers: int
    seed: int
    limits: Mapping[str, Limits]
    default_limits: Limits
    rates: Rates
    until_ms: int = 1 << 62

    def supplier(self, number: int) -> str:
        """The id of the supplier of that number, from 1, the largest first."""
        return f"SUP-{number:03}"


@dataclass
class Planning:
    """What was planted so far; whole once every record has been taken."""

    truth: list[Truth] = field(default_factory=list)
    poison: Counter[tuple[str, ...]] = field(default_factory=Counter)
    records: Counter[str] = field(default_factory=Counter)
    ways: Counter[str] = field(default_factory=Counter)
    activities: int = 0
    last_published_ms: int = 0


class Workload:
    """Gives the records in the order of publication; `planned` then holds the truth.

    `record_of`: what of an event is sent, and by which way.
    """

    def __init__(self, spec: Spec, record_of: Callable[[Event], Record] = Event.record) -> None:
        self.spec, self._record_of = spec, record_of
        self.planned = Planning()
        self.rng = Random(spec.seed)
        self._names = [spec.supplier(number + 1) for number in range(spec.suppliers)]
        self._weights = list(accumulate(1 / (number + 1) for number in range(spec.suppliers)))
        dates = [spec.start + timedelta(days=number) for number in range(spec.days + 1)]
        priced = [code for code in CURRENCIES if all(spec.rates.of(code, day) for day in dates)]
        self._currencies = [code for code in priced for _ in range(CURRENCIES[code])]
        self._unpriced = tuple(code for code in UNPRICED if not any(spec.rates.of(code, day) for day in dates))
        self._scales = {code: self._millionths(code) for code in priced}
        self._buckets: defaultdict[int, list[Record]] = defaultdict(list)

    def records(self) -> Iterator[Record]:
        """Every record but heartbeats, hour by hour: memory holds an hour and what is still to come of earlier ones."""
        first = midnight_ms(self.spec.start) // HOUR
        for day in range(self.spec.days):
            when = self.spec.start + timedelta(days=day)
            special = plan.draw(self.rng, self.spec.activities, self._number_at(SPECIAL_HOURS))
            self._plant_poison(when)
            for hour in range(24):
                for number in range(self._number_at(hour), self._number_at(hour + 1)):
                    self._plant(when, hour, number, special.get(number))
                yield from self._due(first + day * 24 + hour)
        for hour in sorted(self._buckets):
            yield from self._due(hour)

    def _millionths(self, currency: str) -> int:
        """Millionths of the currency's minor unit that are worth one US cent on the first day."""
        rate = self.spec.rates.of(currency, self.spec.start)
        assert rate is not None
        return int(10_000 * 10 ** minor_units()[currency] / rate)

    def _number_at(self, hour: int) -> int:
        return self.spec.activities * hour // 24

    def _due(self, hour: int) -> Iterator[Record]:
        for record in sorted(self._buckets.pop(hour, []), key=itemgetter(0)):
            self.planned.records[record.source] += 1
            self.planned.ways[record.way] += 1
            yield record

    def _plant(self, day: date, hour: int, number: int, case: plan.Case | None) -> None:
        pair = self._pair(day, hour, number)
        planted = case(pair) if case and pair.limits.skew_ms <= LONGEST_SKEW_MS else None
        if planted is None or any(event.published_ms >= self.spec.until_ms for event in planted.events):
            # The case does not fit here: the activity stays a plain one, made anew since a case bends what it is given.
            pair = self._pair(day, hour, number) if case else pair
            planted = Planted(pair.both, [])
        for event in planted.events:
            self._put(self._record_of(event))
        for found in planted.breaks:
            when = day + timedelta(days=found.days)
            key = planted.events[0].supplier, planted.events[0].activity
            self.planned.truth.append((when, *key, found.anomaly_type, found.at_risk))
        self.planned.activities += 1

    def _put(self, record: Record) -> None:
        self._buckets[record.published_ms // HOUR].append(record)
        self.planned.last_published_ms = max(self.planned.last_published_ms, record.published_ms)

    def _pair(self, day: date, hour: int, number: int) -> Pair:
        """Both sides of one activity in agreement, two minutes or more after its hour begins."""
        rng, random = self.rng, self.rng.random
        index = bisect(self._weights, random() * self._weights[-1], hi=self.spec.suppliers - 1)
        name = self._names[index]
        limits = self.spec.limits.get(name, self.spec.default_limits)
        minutes = 57 if hour < 23 else 37
        time_ms = midnight_ms(day) + hour * HOUR + 2 * MINUTE + int(random() * minutes * MINUTE)
        kind, status = KINDS[int(random() * len(KINDS))]
        currency = self._currencies[int(random() * len(self._currencies))]
        amount = self._amount(currency, day)
        activity = f"{kind[:2]}-{day:%Y%m%d}-{number:06}"
        near, quick = min(limits.skew_ms, 20 * SECOND), min(limits.delay_ms, 20 * SECOND)
        there = time_ms + int((2 * random() - 1) * near)
        published, answered = time_ms + int(random() * quick), there + int(random() * quick)
        ids = f"{rng.getrandbits(128):032x}", f"{rng.getrandbits(128):032x}"
        shared = (name, activity, kind, amount, currency, status, 1)
        return Pair(
            Event(AGODA, *shared, time_ms, published, ids[0]),
            Event(SUPPLIER, *shared, there, answered, ids[1]),
            day,
            limits,
            self.spec.rates,
            rng,
            self._unpriced,
            self._names[index - 1],
        )

    def _amount(self, currency: str, day: date) -> int:
        """Worth 5 to some 5,000 US dollars, small amounts more often, in minor units of the currency."""
        share = self.rng.random()
        cents = 500 + int(share * share * share * 500_000)
        return self._scales[currency] * cents // 1_000_000

    def _plant_poison(self, day: date) -> None:
        """Each kind once a day, and in all one record in five hundred activities."""
        kinds = len(poison.MAKERS)
        for number in range(max(kinds, self.spec.activities // 500)):
            pair = self._pair(day, self.rng.randrange(SPECIAL_HOURS), number)
            event = pair.either()
            event.activity = f"X{event.activity}"
            spoiled = poison.make(number if number < kinds else self.rng.randrange(kinds - 1), event)
            if spoiled.record.published_ms < self.spec.until_ms:
                self._put(spoiled.record)
                self.planned.poison[spoiled.reasons] += 1
