"""How often each case occurs, and on which activities of a day it falls."""

from collections.abc import Callable
from random import Random

from jobs.ingest import breaks, harmless
from jobs.ingest.pair import Pair, Planted

Case = Callable[[Pair], Planted | None]

#: Activities in a hundred thousand. At least one of each a day, as far as there is room.
CASES: dict[Case, int] = {
    breaks.missing_supplier: 600,
    breaks.missing_agoda: 500,
    breaks.price_far: 500,
    breaks.status_differs: 400,
    breaks.skewed: 300,
    breaks.duplicate_agoda: 200,
    breaks.duplicate_supplier: 200,
    breaks.conflict_agoda: 100,
    breaks.conflict_supplier: 100,
    breaks.delayed_agoda: 200,
    breaks.delayed_supplier: 200,
    breaks.rate_missing: 100,
    breaks.missing_unpriced: 40,
    breaks.missing_delayed: 60,
    breaks.missing_duplicated: 40,
    breaks.price_just_over: 60,
    breaks.price_and_status: 60,
    breaks.status_unpriced: 30,
    breaks.skewed_just_over: 30,
    breaks.duplicate_without_id: 40,
    breaks.conflict_same_id: 40,
    breaks.conflict_wins: 40,
    breaks.conflict_in_status: 30,
    breaks.conflict_unpriced: 20,
    breaks.delayed_just_over: 30,
    breaks.amended_one_side: 200,
    breaks.refunded_one_side: 300,
    breaks.midnight_gap: 30,
    harmless.late: 500,
    harmless.redelivered: 1_500,
    harmless.header_id: 500,
    harmless.without_id: 300,
    harmless.amended: 2_000,
    harmless.amended_out_of_order: 200,
    harmless.refunded: 1_000,
    harmless.split_by_midnight: 500,
    harmless.several_by_midnight: 50,
    harmless.cross_currency: 2_000,
    harmless.price_within: 2_000,
    harmless.price_at_limit: 50,
    harmless.skew_at_limit: 50,
    harmless.unpriced_equal: 300,
    harmless.zero_amount: 100,
    harmless.unicode_id: 100,
    harmless.local_clock: 2_000,
    harmless.extra_fields: 500,
    harmless.ahead_of_its_record: 50,
    harmless.same_id_elsewhere: 100,
}


def draw(rng: Random, activities: int, room: int) -> dict[int, Case]:
    """Which of a day's activities are special: cases on numbers below room (the rest of the day stays plain)."""
    wanted: list[Case] = list(CASES)
    for case, rate in CASES.items():
        wanted += [case] * (activities * rate // 100_000 - 1)
    wanted = wanted[:room]
    return dict(zip(rng.sample(range(room), len(wanted)), wanted, strict=True))
