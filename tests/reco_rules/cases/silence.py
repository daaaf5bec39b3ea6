"""Feeds that stop: usual gaps worked out by hand, the limit they give, and both sides of each limit.

GAPS: when a supplier's events were published, in minutes after 1 March 2026, 00:00; expected: the last of them, the
usual gap and the daily gap in minutes, None where nothing is known. What comes again as `again` is a redelivery.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from tests.reco_rules.cases import SECONDS, Table

D = Decimal
DAY = 24 * 60


@dataclass(frozen=True)
class Feed:
    """One supplier's deliveries and what is usual of it."""

    name: str
    sent: Sequence[float]
    last: float
    usual: int | None
    daily: int | None = None
    #: Deliveries once more of the event that was sent first.
    again: Sequence[float] = ()


def at(minutes: float) -> datetime:
    """So many minutes after 1 March 2026."""
    return datetime(2026, 3, 1, tzinfo=UTC) + timedelta(minutes=minutes)


def _steps(*gaps: int) -> list[float]:
    """The first event at minute 600, each next one so many minutes after the one before."""
    return [600 + sum(gaps[:number]) for number in range(len(gaps) + 1)]


def _later(day: int) -> range:
    """160 minutes, each day begun later by more."""
    return range(600 + 10 * day * day, 760 + 10 * day * day)


_SHIFT, _ALL_DAY = range(9 * 60, 17 * 60, 5), range(0, DAY, 10)
GAPS: tuple[Feed, ...] = (
    Feed("one event", [600], 600, None),
    Feed("too little to call a gap usual", _steps(*[2] * 19), 638, None),
    Feed("just enough", _steps(*[2] * 20), 640, 2),
    Feed("seconds and milliseconds", [m + 0.99 for m in _steps(*[2] * 20)], 640.99, 2),
    Feed("many events in a minute are one", [600 + n / 100 for n in range(90)] + _steps(*[5] * 19), 695, None),
    Feed("a file an hour of a hundred events", [60 * h + n / 100 for h in range(21) for n in range(99)], 1200.98, 60),
    Feed("of few gaps the longest does not count", _steps(*[2] * 10, 300, *[2] * 9, 7), 945, 7),
    Feed("nor does one outage of many", _steps(*[2] * 100, 300, *[2] * 48), 1196, 2),
    Feed("of 199 gaps one may be longer", _steps(*[1] * 197, 50, 60), 907, 50),
    Feed("of 200 gaps two", _steps(*[1] * 198, 50, 60), 908, 1),
    # Nine minutes on the second day; the night is the longest.
    Feed("days that differ", [*range(600, 631, 2), *range(2040, 2176, 9)], 2175, 9, 2),
    Feed("ties", _steps(*[2] * 10, 9, 9, 9, *[2] * 10), 667, 9),
    Feed("a redelivery is no event", _steps(*[2] * 20), 640, 2, again=[601, 603, 700]),
    Feed("the first publication counts", [590, *_steps(*[2] * 20)[1:]], 640, 2, again=[595]),
    Feed("each night of a week", [DAY * d + m for d in range(7) for m in _SHIFT], 6 * DAY + 1015, 5, 965),
    Feed("two days, one night", [DAY * d + m for d in range(2) for m in _SHIFT], DAY + 1015, 5, 5),
    Feed("an outage among five days", [DAY * d + m for d in (0, 1, 3, 4, 5) for m in _ALL_DAY], 6 * DAY - 10, 10, 10),
    # Longest gaps of the days: 1, 1291, 1311, 1331.
    Feed("more than half of four days", [DAY * d + m for d in range(4) for m in _later(d)], 3 * DAY + 849, 1, 1291),
    Feed("more than half of three days", [DAY * d + m for d in range(3) for m in _later(d)], 2 * DAY + 799, 1, 1291),
)

_LIMIT = {"usual": SECONDS, "daily": SECONDS, "floor": "bigint", "expected": SECONDS}
LIMITS = Table(
    "limits",
    _LIMIT,
    (
        ("three usual gaps", D(700), None, 1800, D(2100)),
        ("at least the floor", D(600), None, 1801, D(1801)),
        ("a daily gap and a half", D(60), D("57600"), 1800, D(86400)),
        ("a daily gap of less", D(60), D(100), 100, D(180)),
        ("just above", D(60), D(121), 100, D("181.5")),
        ("nothing usual", None, None, 1800, None),
        ("nothing usual, whatever the days", None, D(60), 1800, None),
    ),
)

_LAST = at(0)
SILENT = Table(
    "silent",
    {"last_event": "timestamp", "watermark": "timestamp", "limit_seconds": SECONDS, "expected": "boolean"},
    (
        ("at the limit", _LAST, at(30), D(1800), False),
        ("a millisecond over", _LAST, at(30) + timedelta(milliseconds=1), D(1800), True),
        ("the stream's time behind the feed", _LAST, at(-60), D(1800), False),
        ("no limit known", _LAST, at(9000), None, False),
        ("no event", None, at(9000), D(1800), False),
        ("no time yet", _LAST, None, D(1800), False),
    ),
)

HELD = Table(
    "held",
    {
        "anomaly_type": "string",
        "known_since": "timestamp",
        "last_event": "timestamp",
        "grace": "bigint",
        "expected": "boolean",
    },
    (
        ("after the last event", "MISSING_SUPPLIER", at(1), _LAST, 60, True),
        ("due when the last event came", "MISSING_SUPPLIER", at(-1), _LAST, 60, False),
        ("due a millisecond after", "MISSING_SUPPLIER", at(-1) + timedelta(milliseconds=1), _LAST, 60, True),
        ("another break", "MISSING_AGODA", at(1), _LAST, 60, False),
        ("no silence", "MISSING_SUPPLIER", at(1), None, None, False),
        ("no time", "MISSING_SUPPLIER", None, _LAST, 60, False),
        ("no type", None, at(1), _LAST, 60, False),
    ),
)
