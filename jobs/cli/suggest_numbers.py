"""Limits from a supplier's own values: percentiles, what is set aside as a break, and what each limit would cost.

Values are whole numbers (milliseconds, millionths of a dollar, millionths of a ratio), so that nothing is rounded.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

#: The percentiles that are shown and tried as limits.
SHOWN = tuple(map(Decimal, ("50", "75", "90", "95", "99", "99.5", "99.9", "100")))
#: Of all values, at most this share is taken for breaks by the narrow fence.
_FEW = Fraction(2, 100)


@dataclass(frozen=True)
class Option:
    """One limit: the false verdicts that it gives, and the money that it hides, US dollars."""

    limit: int
    marks: str
    within: Decimal
    false_verdicts: int
    hidden_usd: Decimal


@dataclass(frozen=True)
class Measure:
    """One limit of a policy, its values and its trade-off; `now`, `proposed` and limits in the unit of the values."""

    key: str
    values: int
    set_aside: int
    percentiles: dict[str, int]
    now: int
    proposed: int
    options: list[Option]


def percentile(ordered: Sequence[int], percent: Decimal) -> int:
    """The smallest value that at least `percent` of the ascending values do not pass (nearest rank)."""
    rank = -(-Fraction(percent) * len(ordered) // 100)
    return ordered[max(int(rank), 1) - 1]


def needed(percent: Decimal) -> int:
    """How many values it takes for one of them to lie beyond the percentile."""
    return int(-(-1 // (1 - Fraction(percent) / 100))) if percent < 100 else 1


def is_far_out(values: Sequence[int]) -> Callable[[int], bool]:
    """Whether a value is taken for a break: beyond Tukey's outer fence, three quartile distances, on logarithms.

    Exploratory Data Analysis (J. W. Tukey, 1977), ch. 2. log v > log Q3 + 3 (log Q3 - log Q1) is v Q1^3 > Q3^4, which
    whole numbers tell exactly. Zero counts as one unit. Where most values are zero, their fence would call all
    others breaks: it holds only if those are few; else the fence is that of the values over zero.
    """
    ordered = sorted(max(value, 1) for value in values)
    beyond = _fence(ordered)
    if sum(1 for value in ordered if beyond(value)) <= _FEW * len(ordered):
        return beyond
    return _fence(sorted(value for value in values if value > 0))


def _fence(ordered: Sequence[int]) -> Callable[[int], bool]:
    if not ordered:
        return lambda _: False
    low, high = percentile(ordered, Decimal(25)), percentile(ordered, Decimal(75))
    return lambda value: max(value, 1) * low**3 > high**4


def measure(
    key: str,
    values: Sequence[int],
    now: int,
    percent: Decimal,
    rounded_up: Callable[[int], int],
    hidden: Callable[[int, Callable[[int], bool]], Decimal],
    *,
    accuses_all: bool = False,
) -> Measure:
    """The limit that `percent` of the ordinary values keep to, rounded up, beside others.

    `hidden`: the US dollars that a limit hides, given it and what is taken for a break. `accuses_all`: what is set
    aside counts as a false verdict too, once it is over a limit.
    """
    far = is_far_out(values)
    ordinary = sorted(value for value in values if not far(value))
    ranks = {f"P{rank:f}": percentile(ordinary, rank) for rank in SHOWN}
    proposed = rounded_up(percentile(ordinary, percent))
    accused = values if accuses_all else ordinary
    marks: dict[int, list[str]] = {}
    for name, value in [("now", now), ("proposed", proposed), *ranks.items()]:
        marks.setdefault(value, []).append(name)
    options = [
        Option(
            limit=limit,
            marks=", ".join(marks[limit]),
            within=Decimal(sum(1 for value in values if value <= limit)) / len(values),
            false_verdicts=sum(1 for value in accused if value > limit),
            hidden_usd=hidden(limit, far),
        )
        for limit in sorted(marks)
    ]
    return Measure(key, len(values), len(values) - len(ordinary), ranks, now, proposed, options)
