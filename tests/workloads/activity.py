"""The deliveries of one activity: both sides' versions, and what went wrong with them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from random import Random

from tests.oracle.close import rate
from tests.oracle.model import ACTIVITY_TYPES, EXPONENTS, SOURCES, STATUSES, Event, Policy
from tests.workloads.values import CLOCK, CURRENCIES, DAYS, FX, MILLISECOND, OLDEST, gap, instant, often, some_id

_MOST = 10**15
_AHEAD = timedelta(minutes=5)


@dataclass(frozen=True)
class _Stage:
    """One version as both sides should have reported it."""

    version: int
    time: datetime
    amount: int
    currency: str
    status: str
    kind: str


def activity(rng: Random, supplier_id: str, activity_id: str, policy: Policy) -> list[Event]:
    """All deliveries of one key, unsorted, not yet stamped with a grace."""
    times = _chain(rng, policy) if rng.random() < 0.15 else list(_times(rng, policy))
    stages = list(_stages(rng, times))
    only = rng.choice(SOURCES) if rng.random() < 0.12 else None
    events = [
        event
        for number, stage in enumerate(stages)
        for event in _reported(rng, stage, f"{number}", supplier_id, activity_id, policy)
        if only in (None, event.source)
    ]
    events = events or [_event(rng, stages[0], "AGODA", "0", supplier_id, activity_id, policy)]
    for event in tuple(events):
        if rng.random() < 0.1:
            events += _duplicates(rng, event, policy)
    return events + [again for event in events for again in _redeliveries(rng, event)]


def _times(rng: Random, policy: Policy) -> Iterator[datetime]:
    """When the versions happened: minutes apart or days, now and then in a story that began days before."""
    grace = timedelta(seconds=policy.grace)
    day, before = rng.choice(DAYS), 0
    if rng.random() < 0.3:
        before = rng.choice((1, 5, 6, 7, 7, 8, 8, 9))
    now = instant(rng, max(day - timedelta(days=before), OLDEST), grace)
    yield now
    for _ in range(often(rng, 0, (1, 1, 2, 3), 0.6) or (1 if before else 0)):
        if before:  # what comes next is the day that is closed: often just within the history, or just not
            now, before = instant(rng, day, grace), 0
        elif rng.random() < 0.3:
            now = instant(rng, now.date() + timedelta(days=rng.choice((1, 1, 2, 6, 7, 8))), grace)
        else:
            now += gap(rng, (grace, grace / 2, grace / 3))
        if now.date() <= DAYS[-1] + timedelta(days=1):
            yield now


def _chain(rng: Random, policy: Policy) -> list[datetime]:
    """Events that lead from before midnight to twice the grace after it, each just near enough to the one before."""
    grace = timedelta(seconds=policy.grace)
    midnight = datetime.combine(rng.choice(DAYS) + timedelta(days=1), time(), UTC)
    step = often(rng, grace - MILLISECOND, (grace, grace / 2), 0.2) // MILLISECOND * MILLISECOND
    end = midnight + 2 * grace + rng.choice((-1, 0, 1)) * MILLISECOND
    count = int((end - midnight) / step) + 1
    times = [end - n * step for n in range(count, -1, -1)]
    return times + ([end + step] if rng.random() < 0.3 else [])


def _stages(rng: Random, times: Iterable[datetime]) -> Iterator[_Stage]:
    amount = rng.choice((0, 1, 101, 10_000, 10_000, 123_456, rng.randint(0, 10**7), _MOST - rng.randint(0, 1)))
    currency, status = rng.choice(CURRENCIES), "BOOKED"
    version = often(rng, 1, (2, 10), 0.1)
    for now in times:
        yield _Stage(version, now, amount, currency, status, rng.choice(ACTIVITY_TYPES))
        # A later report of an earlier version is a regression; the greater version must win.
        version = max(1, version + often(rng, 1, (-1, 2, 9), 0.2))
        amount = min(_MOST, often(rng, amount, (amount + 1, amount * 2, 0), 0.4))
        currency = often(rng, currency, CURRENCIES, 0.1)
        status = often(rng, status, STATUSES, 0.6)


def _reported(
    rng: Random, stage: _Stage, number: str, supplier_id: str, activity_id: str, policy: Policy
) -> Iterator[Event]:
    missing = rng.choice(SOURCES) if rng.random() < 0.15 else None
    first = rng.choice(SOURCES)
    for source in SOURCES:
        if source == missing:
            continue
        seen = stage
        if source != first:
            limits = [timedelta(seconds=seconds) for seconds in (policy.grace, policy.allowed_skew, 1)]
            seen = replace(stage, time=stage.time + gap(rng, limits) if rng.random() < 0.7 else stage.time)
        if source == "SUPPLIER" and rng.random() < 0.35:
            seen = _differing(rng, seen, policy)
        yield _event(rng, seen, source, number, supplier_id, activity_id, policy)


def _differing(rng: Random, stage: _Stage, policy: Policy) -> _Stage:
    """The same with another status, currency or amount: often as far off as is just allowed, or one unit more."""
    what = rng.randrange(4)
    if what == 0:
        return replace(stage, status=rng.choice(STATUSES))
    if what == 1:
        return replace(stage, currency=rng.choice(CURRENCIES))
    known = rate(stage.currency, stage.time.date(), FX) or Decimal(1)
    unit_usd = known.scaleb(-EXPONENTS[stage.currency])
    allowed = int(max(policy.abs_tol_usd / unit_usd, policy.pct_tol * stage.amount))
    off = rng.choice((1, -1)) * rng.choice((allowed - 1, allowed, allowed + 1, 1, rng.randint(0, 10**6)))
    return replace(stage, amount=min(max(stage.amount + off, 0), _MOST))


def _event(
    rng: Random, stage: _Stage, source: str, number: str, supplier_id: str, activity_id: str, policy: Policy
) -> Event:
    delay = gap(rng, (timedelta(seconds=policy.max_delay), timedelta(seconds=30)))
    if rng.random() < 0.1:
        delay = -often(rng, _AHEAD, (MILLISECOND, _AHEAD / 2), 0.5)
    return Event(
        event_id=some_id(rng, f"{source[0]}{number}"),
        source=source,
        supplier_id=supplier_id,
        activity_id=activity_id,
        activity_type=stage.kind,
        amount_minor=stage.amount,
        currency=stage.currency,
        status=stage.status,
        version=stage.version,
        event_time=stage.time,
        kafka_time=min(stage.time + delay, CLOCK),
    )


def _duplicates(rng: Random, event: Event, policy: Policy) -> Iterable[Event]:
    """The version once more: under another id, with another content, or both; at times twice."""
    limits = (timedelta(seconds=policy.grace), timedelta(seconds=policy.max_delay))
    for n in range(often(rng, 1, (2,), 0.2)):
        twin = event
        if rng.random() < 0.6:
            twin = replace(twin, event_id=often(rng, f"{event.event_id[:100]}'{n}", ("～", "😀", "a", "Z"), 0.5))
        what = rng.randrange(6)
        if what == 0:
            twin = replace(
                twin, amount_minor=rng.choice((0, event.amount_minor // 2, min(_MOST, event.amount_minor + 1)))
            )
        elif what == 1:
            twin = replace(twin, currency=rng.choice(CURRENCIES))
        elif what == 2:
            twin = replace(twin, status=rng.choice(STATUSES))
        elif what == 3:
            moved = event.event_time + often(rng, MILLISECOND, (gap(rng, limits), timedelta(days=1)), 0.4)
            twin = replace(twin, event_time=moved)
        published = max(twin.event_time - _AHEAD, event.kafka_time) + gap(rng, limits)
        yield replace(twin, kafka_time=min(published, CLOCK))


def _redeliveries(rng: Random, event: Event) -> Iterable[Event]:
    """The same event, published again a little or much later."""
    while rng.random() < 0.15:
        event = replace(event, kafka_time=event.kafka_time + rng.choice((1, 1000, 3_600_000, 86_400_000)) * MILLISECOND)
        yield event
