"""Cases that break a rule. Each bends a matched pair so that its truth follows from the contract by construction."""

from decimal import Decimal

from jobs.ingest.events import AGODA, DAY, HOUR, SECOND, Event
from jobs.ingest.pair import Break, Pair, Planted

NO_MONEY = Decimal(0)


def missing_supplier(pair: Pair) -> Planted:
    """AGODA alone."""
    return Planted([pair.agoda], [Break(0, "MISSING_SUPPLIER", pair.usd(pair.agoda))])


def missing_agoda(pair: Pair) -> Planted:
    """The supplier alone."""
    return Planted([pair.supplier], [Break(0, "MISSING_AGODA", pair.usd(pair.supplier))])


def missing_unpriced(pair: Pair) -> Planted | None:
    """One side alone, in a currency without a rate: money at risk unknown."""
    if not pair.unpriced:
        return None
    event = pair.either()
    event.currency = pair.rng.choice(pair.unpriced)
    return Planted([event], [Break(0, _missing(event), None)])


def missing_delayed(pair: Pair) -> Planted:
    """One side alone, and that published too late."""
    event = pair.either()
    event.published_ms = event.time_ms + pair.limits.delay_ms + SECOND + pair.rng.randrange(HOUR)
    return Planted([event], [Break(0, _missing(event), pair.usd(event)), Break(0, f"DELAYED_{event.source}", NO_MONEY)])


def missing_duplicated(pair: Pair) -> Planted:
    """One side alone, sent twice with two amounts."""
    event = pair.either()
    events, risk = _conflicting(pair, event)
    return Planted(events, [Break(0, _missing(event), pair.usd(event)), Break(0, f"DUPLICATE_{event.source}", risk)])


def price_far(pair: Pair) -> Planted:
    """Prices well apart."""
    pair.supplier.amount = pair.far_amount(pair.agoda)
    return Planted(pair.both, [_price(pair)])


def price_just_over(pair: Pair) -> Planted:
    """Dollars, one cent more than the tolerance."""
    pair.set_both(currency="USD", amount=10_000 * (1 + pair.rng.randrange(30)))
    pair.supplier.amount += pair.steps(pair.limit(), "USD") + 1
    return Planted(pair.both, [_price(pair)])


def price_and_status(pair: Pair) -> Planted:
    """Two rules broken at once."""
    pair.supplier.amount = pair.far_amount(pair.agoda)
    pair.either().status = "FAILED"
    return Planted(pair.both, [_price(pair), Break(0, "STATUS_MISMATCH", pair.greater())])


def rate_missing(pair: Pair) -> Planted | None:
    """A currency without a rate, and amounts that differ by one minor unit; or only one side in that currency."""
    if not pair.unpriced:
        return None
    pair.either().currency = pair.rng.choice(pair.unpriced)
    if pair.rng.random() < 0.5:
        pair.set_both(currency=pair.rng.choice(pair.unpriced))
        pair.either().amount += 1
    return Planted(pair.both, [Break(0, "FX_RATE_MISSING", None)])


def status_differs(pair: Pair) -> Planted:
    """One side says it failed."""
    pair.either().status = "FAILED"
    return Planted(pair.both, [Break(0, "STATUS_MISMATCH", pair.greater())])


def status_unpriced(pair: Pair) -> Planted | None:
    """Statuses differ in a currency without a rate: equal amounts are fine, the money at risk is unknown."""
    if not pair.unpriced:
        return None
    pair.set_both(currency=pair.rng.choice(pair.unpriced))
    pair.either().status = "FAILED"
    return Planted(pair.both, [Break(0, "STATUS_MISMATCH", None)])


def skewed(pair: Pair) -> Planted:
    """Event times further apart than allowed, by minutes or by hours."""
    early, late = pair.rng.sample(pair.both, 2)
    pair.move(late, early.time_ms + pair.limits.skew_ms + 1 + pair.rng.randrange(2 * HOUR))
    return Planted(pair.both, [Break(0, "TIMESTAMP_SKEW", NO_MONEY)])


def skewed_just_over(pair: Pair) -> Planted:
    """Event times one millisecond further apart than allowed."""
    early, late = pair.rng.sample(pair.both, 2)
    pair.move(late, early.time_ms + pair.limits.skew_ms + 1)
    return Planted(pair.both, [Break(0, "TIMESTAMP_SKEW", NO_MONEY)])


def duplicate_agoda(pair: Pair) -> Planted:
    """The same content under a second id."""
    return _duplicate(pair, pair.agoda)


def duplicate_supplier(pair: Pair) -> Planted:
    """The same content under a second id."""
    return _duplicate(pair, pair.supplier)


def duplicate_without_id(pair: Pair) -> Planted:
    """An event without an id sent twice: each delivery derives its own."""
    event = pair.either()
    event.event_id = None
    return Planted([*pair.both, pair.again(event, event_id=None, published_ms=pair.soon(event))], [_doubled(event)])


def conflict_agoda(pair: Pair) -> Planted:
    """Two amounts for one version; the wrong one happened earlier, so the right one counts."""
    events, risk = _conflicting(pair, pair.agoda)
    return Planted([*events, pair.supplier], [Break(0, "DUPLICATE_AGODA", risk)])


def conflict_supplier(pair: Pair) -> Planted:
    """Two amounts for one version; the wrong one happened earlier, so the right one counts."""
    events, risk = _conflicting(pair, pair.supplier)
    return Planted([*events, pair.agoda], [Break(0, "DUPLICATE_SUPPLIER", risk)])


def conflict_same_id(pair: Pair) -> Planted:
    """Two amounts under one event id: a duplicate, no redelivery."""
    event = pair.either()
    events, risk = _conflicting(pair, event, event_id=event.event_id)
    other = pair.supplier if event is pair.agoda else pair.agoda
    return Planted([*events, other], [Break(0, f"DUPLICATE_{event.source}", risk)])


def conflict_wins(pair: Pair) -> Planted:
    """The wrong amount has the greater event id at the same time: it counts, so the price differs as well."""
    wrong = pair.again(pair.supplier, event_id=f"z{pair.new_id()}", amount=pair.far_amount(pair.agoda))
    risk = pair.distance(wrong, pair.supplier)
    price = Break(0, "PRICE_MISMATCH", pair.distance(wrong, pair.agoda))
    return Planted([*pair.both, wrong], [price, Break(0, "DUPLICATE_SUPPLIER", risk)])


def conflict_in_status(pair: Pair) -> Planted:
    """Two statuses for one version, the wrong one earlier: a conflict without money."""
    event = pair.either()
    wrong = pair.again(event, status="FAILED")
    pair.move(wrong, event.time_ms - SECOND)
    return Planted([*pair.both, wrong], [_doubled(event)])


def conflict_unpriced(pair: Pair) -> Planted | None:
    """Two amounts in a currency without a rate: money at risk unknown."""
    if not pair.unpriced:
        return None
    pair.set_both(currency=pair.rng.choice(pair.unpriced))
    event = pair.either()
    wrong = pair.again(event, amount=event.amount + 5)
    pair.move(wrong, event.time_ms - SECOND)
    return Planted([*pair.both, wrong], [Break(0, f"DUPLICATE_{event.source}", None)])


def delayed_agoda(pair: Pair) -> Planted:
    """Published hours after it happened."""
    return _delayed(pair, pair.agoda, SECOND + pair.rng.randrange(3 * HOUR))


def delayed_supplier(pair: Pair) -> Planted:
    """Published hours after it happened."""
    return _delayed(pair, pair.supplier, SECOND + pair.rng.randrange(3 * HOUR))


def delayed_just_over(pair: Pair) -> Planted:
    """Published one millisecond too late."""
    return _delayed(pair, pair.either(), 1)


def amended_one_side(pair: Pair) -> Planted:
    """One side amends the price soon after; the other never follows."""
    event = pair.either()
    other = pair.supplier if event is pair.agoda else pair.agoda
    amended = pair.again(event, version=2, amount=pair.far_amount(event))
    pair.move(amended, max(event.time_ms, other.time_ms + pair.limits.skew_ms // 2))
    # AGODA's amount sets the tolerance: a far amount is judged again where AGODA's own has moved.
    agoda = amended if event.source == AGODA else pair.agoda
    apart, agoda_usd = pair.distance(amended, other), pair.usd(agoda)
    assert apart is not None
    assert agoda_usd is not None
    breaks = [Break(0, "PRICE_MISMATCH", apart)] if apart > pair.limits.price(agoda_usd) else []
    return Planted([*pair.both, amended], breaks)


def refunded_one_side(pair: Pair) -> Planted:
    """Refunded on the next day by one side only: judged on that day against the other's version of today."""
    pair.set_both(kind="BOOKING", status="CONFIRMED")
    event = pair.either()
    other = pair.supplier if event is pair.agoda else pair.agoda
    refund = pair.next_day(event, kind="REFUND", status="REFUNDED")
    # AGODA's latest event dates the rate: the next day's where AGODA refunds, today's where the supplier does.
    breaks = [Break(1, "STATUS_MISMATCH", pair.greater(days=1 if event.source == AGODA else 0))]
    if refund.time_ms - other.time_ms > pair.limits.skew_ms:
        breaks.append(Break(1, "TIMESTAMP_SKEW", NO_MONEY))
    return Planted([*pair.both, refund], breaks)


def midnight_gap(pair: Pair) -> Planted:
    """The supplier follows after midnight by exactly the grace: two days' facts, the first without its supplier."""
    grace = pair.limits.grace_ms
    pair.move(pair.agoda, pair.next_midnight - min(grace // 2, 30 * SECOND))
    pair.move(pair.supplier, pair.agoda.time_ms + grace)
    assert pair.next_midnight <= pair.supplier.time_ms < pair.next_midnight + DAY
    breaks = [Break(0, "MISSING_SUPPLIER", pair.usd(pair.agoda))]
    if grace > pair.limits.skew_ms:
        breaks.append(Break(1, "TIMESTAMP_SKEW", NO_MONEY))
    return Planted(pair.both, breaks)


def _delayed(pair: Pair, event: Event, over_ms: int) -> Planted:
    event.published_ms = event.time_ms + pair.limits.delay_ms + over_ms
    return Planted(pair.both, [Break(0, f"DELAYED_{event.source}", NO_MONEY)])


def _duplicate(pair: Pair, event: Event) -> Planted:
    return Planted([*pair.both, pair.again(event, published_ms=pair.soon(event))], [_doubled(event)])


def _doubled(event: Event) -> Break:
    return Break(0, f"DUPLICATE_{event.source}", NO_MONEY)


def _conflicting(pair: Pair, event: Event, event_id: str | None = None) -> tuple[list[Event], Decimal | None]:
    """The event and a wrong one before it, and how far they are apart, US dollars."""
    wrong = pair.again(event, event_id=event_id or pair.new_id(), amount=pair.far_amount(pair.agoda))
    pair.move(wrong, event.time_ms - SECOND)
    return [event, wrong], pair.distance(event, wrong)


def _missing(event: Event) -> str:
    """The break that stands on a fact with this side alone."""
    return "MISSING_SUPPLIER" if event.source == AGODA else "MISSING_AGODA"


def _price(pair: Pair) -> Break:
    return Break(0, "PRICE_MISMATCH", pair.distance(pair.agoda, pair.supplier))
