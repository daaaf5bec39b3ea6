"""Cases that look odd and break no rule: each sends something unusual in which nothing may be found."""

from jobs.ingest.events import HOUR, MINUTE, SECOND, Event
from jobs.ingest.pair import Pair, Planted


def late(pair: Pair) -> Planted:
    """Published as late as is allowed, to the millisecond."""
    event = pair.either()
    event.published_ms = event.time_ms + pair.limits.delay_ms
    return _fine(pair)


def redelivered(pair: Pair) -> Planted:
    """The same event sent again and again, soon and long after."""
    event = pair.either()
    long_after = event.time_ms + pair.limits.delay_ms + HOUR
    return _fine(
        pair,
        pair.again(event, event_id=event.event_id, published_ms=pair.soon(event)),
        pair.again(event, event_id=event.event_id, published_ms=long_after),
    )


def header_id(pair: Pair) -> Planted:
    """No id in the payload but one in the record's header, as an outbox relay sends it; delivered twice."""
    for event in pair.both:
        event.event_id, event.header_id = None, pair.new_id()
    event = pair.either()
    return _fine(pair, pair.again(event, event_id=None, published_ms=pair.soon(event)))


def without_id(pair: Pair) -> Planted:
    """No id at all: derived from where the record lies."""
    pair.set_both(event_id=None)
    return _fine(pair)


def amended(pair: Pair) -> Planted:
    """Both sides send a second version with a new price."""
    after, amount = MINUTE + pair.rng.randrange(HOUR), pair.far_amount(pair.agoda)
    return _fine(pair, *(_second(pair, event, after, amount) for event in pair.both))


def amended_out_of_order(pair: Pair) -> Planted | None:
    """Both sides send a second version, and one side's first version arrives after it."""
    if pair.limits.delay_ms < MINUTE:
        return None
    after, amount = min(pair.limits.delay_ms // 4, 10 * MINUTE), pair.far_amount(pair.agoda)
    seconds = [_second(pair, event, after, amount) for event in pair.both]
    for first, second in zip(pair.both, seconds, strict=True):
        second.published_ms = second.time_ms + SECOND
        first.published_ms = second.published_ms + SECOND
    return _fine(pair, *seconds)


def refunded(pair: Pair) -> Planted:
    """Refunded by both sides on the next day."""
    pair.set_both(kind="BOOKING", status="CONFIRMED")
    refund = pair.next_day(pair.agoda, kind="REFUND", status="REFUNDED")
    answer = pair.again(pair.supplier, version=2, kind="REFUND", status="REFUNDED")
    pair.move(answer, refund.time_ms)
    return _fine(pair, refund, answer)


def split_by_midnight(pair: Pair) -> Planted:
    """One side before midnight, the other after it, well inside the grace and the allowed skew."""
    room = min(pair.limits.grace_ms, pair.limits.skew_ms, 10 * MINUTE)
    if room < 4:
        return _fine(pair)
    early, after = pair.rng.sample(pair.both, 2)
    pair.move(early, pair.next_midnight - 1 - pair.rng.randrange(room // 2 - 1))
    pair.move(after, pair.next_midnight + pair.rng.randrange(room // 2))
    return _fine(pair)


def several_by_midnight(pair: Pair) -> Planted | None:
    """A chain across midnight, each step inside the grace, its end before midnight + 2 × grace: all one day's."""
    step = min(pair.limits.grace_ms - 1, pair.limits.skew_ms)
    if step < SECOND:
        return None
    pair.move(pair.agoda, pair.next_midnight - 1)
    pair.move(pair.supplier, pair.next_midnight - 1 + step)
    second = pair.again(pair.agoda, version=2)
    pair.move(second, pair.supplier.time_ms + step // 2)
    answer = pair.again(pair.supplier, version=2)
    pair.move(answer, second.time_ms)
    return _fine(pair, second, answer)


def cross_currency(pair: Pair) -> Planted | None:
    """AGODA in dollars, the supplier in its own currency: as near as minor units allow."""
    agoda, supplier = pair.both
    cents = pair.steps(pair.usd(agoda) or pair.limit(), "USD")
    agoda.currency, agoda.amount = "USD", cents
    supplier.amount = pair.steps(pair.usd(agoda) or pair.limit(), supplier.currency)
    apart = pair.distance(agoda, supplier)
    return None if apart is None or apart > pair.limit() else _fine(pair)


def price_within(pair: Pair) -> Planted:
    """Prices differ by up to half of what is allowed."""
    pair.supplier.amount += pair.steps(pair.limit() / 2, pair.supplier.currency)
    return _fine(pair)


def price_at_limit(pair: Pair) -> Planted:
    """Dollars, exactly as far apart as is allowed."""
    pair.set_both(currency="USD", amount=10_000 * (1 + pair.rng.randrange(30)))
    pair.supplier.amount += pair.steps(pair.limit(), "USD")
    return _fine(pair)


def skew_at_limit(pair: Pair) -> Planted:
    """Event times exactly as far apart as is allowed."""
    early, after = pair.rng.sample(pair.both, 2)
    pair.move(after, early.time_ms + pair.limits.skew_ms)
    return _fine(pair)


def unpriced_equal(pair: Pair) -> Planted | None:
    """A currency without a rate, but the same amount on both sides."""
    if not pair.unpriced:
        return None
    pair.set_both(currency=pair.rng.choice(pair.unpriced))
    return _fine(pair)


def zero_amount(pair: Pair) -> Planted:
    """Nothing to pay."""
    pair.set_both(amount=0)
    return _fine(pair)


def unicode_id(pair: Pair) -> Planted:
    """An id outside ASCII."""
    pair.set_both(activity=f"予約-{pair.agoda.activity}-Ørsted é 🏨")
    return _fine(pair)


def local_clock(pair: Pair) -> Planted:
    """One side writes its own clock with an offset, which may show another date."""
    pair.either().offset_minutes = pair.rng.choice((420, 540, 330, -480, -210))
    return _fine(pair)


def extra_fields(pair: Pair) -> Planted:
    """Fields the contract does not know."""
    pair.set_both(extra=',"guest":{"nights":3,"tags":["vip",null]},"remark":"späte Anreise"')
    return _fine(pair)


def ahead_of_its_record(pair: Pair) -> Planted:
    """A producer's clock exactly five minutes ahead of the broker's: still an event."""
    for event in pair.both:
        event.time_ms = pair.agoda.published_ms + 5 * MINUTE
        event.published_ms = pair.agoda.published_ms
    return _fine(pair)


def same_id_elsewhere(pair: Pair) -> Planted:
    """Another supplier uses the same activity id: another key, and nothing to do with this one."""
    time_ms, amount = pair.agoda.time_ms, pair.agoda.amount + 1_000
    twins = [
        pair.again(event, supplier=pair.other_supplier, amount=amount, time_ms=time_ms, published_ms=time_ms)
        for event in pair.both
    ]
    return _fine(pair, *twins)


def _second(pair: Pair, event: Event, after_ms: int, amount: int) -> Event:
    second = pair.again(event, version=2, amount=amount)
    pair.move(second, event.time_ms + after_ms)
    return second


def _fine(pair: Pair, *more: Event) -> Planted:
    return Planted([*pair.both, *more], [])
