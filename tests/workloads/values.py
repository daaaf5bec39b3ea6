"""What workloads are drawn from: days, rates, policies, ids, all biased towards limits."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from random import Random
from typing import TypeVar

from tests.oracle.model import Fx, Policy

Choice = TypeVar("Choice")

#: The days that are closed. Events lie on them, up to nine days before them, and a few hours after them.
DAYS: tuple[date, ...] = tuple(date(2026, 3, 9) + timedelta(days=n) for n in range(4))
HISTORY_DAYS = 7
OLDEST = DAYS[0] - timedelta(days=9)
#: When everything has been published and read.
CLOCK = datetime(2026, 3, 25, tzinfo=UTC)

MILLISECOND = timedelta(milliseconds=1)
#: Weighted: the common one, no and three decimals, a gap in the rates, none at all.
CURRENCIES = ("USD", "USD", "USD", "EUR", "EUR", "JPY", "KWD", "CHF", "SEK", "IDR")
_RATES = {"EUR": "1.082512345678", "JPY": "0.006743500001", "KWD": "3.2512005"}

_ODD_IDS = (
    " ",
    "  ",
    "x",
    "X",
    "x ",
    "é",
    "e\u0301",  # the same to the eye, another id
    "😀" * 128,
    "～",
    "\u0000",
    "a|b",
    "a\\|b",
    "a/b%2F",
    "'\"`;--",
    "\n\t",
    "null",
    "NULL",
    "0",
    "00",
    "שלום\u202e",
    "ß",
    "ẞ",
    "{}",
    "\ufeff",
    "長" * 128,
)


def fx_rates() -> dict[tuple[date, str], Decimal]:
    """EUR, JPY, KWD and IDR on weekdays, CHF only until 3 March: eight days later there is none. SEK never."""
    rates: dict[tuple[date, str], Decimal] = {}
    day = OLDEST - timedelta(days=14)
    while day <= DAYS[-1] + timedelta(days=1):
        step = Decimal(day.toordinal() % 11).scaleb(-6)
        if day.weekday() < 5:
            rates |= {(day, currency): Decimal(rate) + step for currency, rate in _RATES.items()}
            rates[day, "IDR"] = Decimal("0.00005")  # an odd number of cents is half a millionth too much
        if day <= date(2026, 3, 3):
            rates[day, "CHF"] = Decimal("1.13") + step
        day += timedelta(days=1)
    return rates


FX: Fx = fx_rates()


def often(rng: Random, common: Choice, rare: Sequence[Choice], share: float = 0.3) -> Choice:
    """Mostly the common value."""
    return rng.choice(rare) if rng.random() < share else common


def policy(rng: Random) -> Policy:
    """Any legal policy; half of the time the defaults in everything but the grace."""
    grace = rng.choice((60, 61, 600, 3600, 3600, 7200, 21_599, 21_600, rng.randint(60, 21_600)))
    if rng.random() < 0.4:
        return Policy(grace=grace)
    low, high = rng.choice((("100", "1000"), ("0", "0"), ("0.000001", "0.01"), ("50", "50"), ("1000", "10")))
    return Policy(
        mode=rng.choice(("NRT_HOURLY", "DAILY_ONLY")),
        grace=grace,
        versions=rng.choice(("aligned", "independent")),
        abs_tol_usd=Decimal(rng.choice(("0", "0.000001", "0.01", "0.50", "2", "100", "0.333333"))),
        pct_tol=Decimal(rng.choice(("0", "0.000001", "0.01", "0.05", "0.012345", "1"))),
        allowed_skew=rng.choice((0, 1, 60, 900, 3600, 86_400, rng.randint(0, 86_400))),
        max_delay=rng.choice((0, 1, 60, 7200, 604_800, rng.randint(0, 604_800))),
        high_usd=Decimal(low),
        critical_usd=Decimal(high),
    )


def some_id(rng: Random, plain: str) -> str:
    """An id of 1 to 128 characters, now and then an odd one."""
    return often(rng, plain, _ODD_IDS, 0.15)


def instant(rng: Random, day: date, grace: timedelta) -> datetime:
    """Some time of the day in UTC: near either midnight, on the limits of its neighbourhood, or anywhere."""
    midnight = datetime.combine(day, time(), UTC)
    edge = rng.choice((-1, 0, 1)) * MILLISECOND
    place = rng.randrange(5)
    if place == 0:  # just before the day ends
        return midnight + timedelta(days=1) - rng.choice((MILLISECOND, grace / 2, grace)) + min(edge, 0 * MILLISECOND)
    if place == 1:  # just after it began
        return midnight + rng.choice((0 * grace, grace / 2, grace, 2 * grace)) + max(edge, 0 * MILLISECOND)
    return midnight + rng.randrange(86_400_000) * MILLISECOND


def gap(rng: Random, limits: Sequence[timedelta]) -> timedelta:
    """A distance at, just under or just over one of the limits, or none, or anything up to it."""
    limit = rng.choice(limits) // MILLISECOND * MILLISECOND
    near = (limit, limit - MILLISECOND, limit + MILLISECOND, 0 * MILLISECOND, MILLISECOND)
    if rng.random() < 0.7:
        return max(rng.choice(near), 0 * MILLISECOND)
    return rng.randrange(max(limit // MILLISECOND, 1)) * MILLISECOND
