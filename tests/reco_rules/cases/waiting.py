"""How long a break pends, worked out by hand: the last grace in which an answer may still come.

KEYS: what was sent of one key, times in minutes; expected: the minute until which it waits, None where for nothing.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tests.reco_rules.cases import Table

A, S, BOOKING, PAYMENT = "AGODA", "SUPPLIER", "BOOKING", "PAYMENT"
Sent = tuple[str, int, float, int, str]


@dataclass(frozen=True)
class Waiting:
    """One key: its policy's `versions`; what was sent: side, version, minute of publication, grace in minutes, type."""

    name: str
    versions: str
    sent: tuple[Sent, ...]
    until: float | None


def at(minutes: float) -> datetime:
    """So many minutes after 10 March 2026."""
    return datetime(2026, 3, 10, tzinfo=UTC) + timedelta(minutes=minutes)


def _aligned(name: str, *sent: Sent, until: float | None) -> Waiting:
    return Waiting(name, "aligned", sent, until)


def _independent(name: str, *sent: Sent, until: float | None) -> Waiting:
    return Waiting(name, "independent", sent, until)


KEYS: tuple[Waiting, ...] = (
    _aligned("one side", (A, 1, 0, 10, BOOKING), until=10),
    _aligned("the other side", (S, 1, 2, 10, BOOKING), until=12),
    _aligned("the first version counts", (A, 1, 0, 10, BOOKING), (A, 2, 5, 10, BOOKING), until=10),
    _aligned("the first publication counts", (A, 1, 3, 10, BOOKING), (A, 1, 0, 20, BOOKING), until=20),
    _aligned("milliseconds", (A, 1, 0.00005, 1, BOOKING), until=1.00005),
    _aligned("answered", (A, 1, 0, 10, BOOKING), (S, 1, 1, 10, BOOKING), until=None),
    _aligned("answered before", (A, 1, 3, 10, BOOKING), (S, 1, 1, 10, BOOKING), until=None),
    _aligned("answered under another type", (A, 1, 0, 10, BOOKING), (S, 1, 1, 10, PAYMENT), until=None),
    _aligned("amended", (A, 1, 0, 10, BOOKING), (S, 1, 1, 10, BOOKING), (A, 2, 5, 10, BOOKING), until=15),
    _aligned("amended by the other", (A, 1, 0, 10, BOOKING), (S, 1, 1, 10, BOOKING), (S, 2, 5, 10, PAYMENT), until=15),
    _aligned("amended twice", (S, 1, 1, 10, BOOKING), (A, 2, 5, 10, BOOKING), (A, 3, 9, 10, BOOKING), until=15),
    _aligned(
        "amended twice, by the other", (A, 1, 1, 9, BOOKING), (S, 2, 5, 9, BOOKING), (S, 3, 6, 9, PAYMENT), until=14
    ),
    _aligned(
        "an old one unanswered", (A, 1, 0, 10, BOOKING), (A, 2, 5, 10, BOOKING), (S, 2, 6, 10, BOOKING), until=None
    ),
    _aligned(
        "the answer has an old one more",
        (A, 2, 5, 10, BOOKING),
        (S, 1, 0, 9, BOOKING),
        (S, 2, 6, 10, BOOKING),
        until=None,
    ),
    _aligned("apart, the later side waits", (A, 3, 0, 10, BOOKING), (S, 2, 4, 10, BOOKING), until=10),
    _aligned("apart, the other side waits", (A, 2, 0, 10, BOOKING), (S, 3, 4, 10, BOOKING), until=14),
    _independent("same type", (A, 7, 0, 10, BOOKING), (S, 1, 1, 10, BOOKING), until=None),
    _independent("both wait", (A, 1, 0, 10, BOOKING), (S, 1, 4, 10, PAYMENT), until=14),
    _independent("both wait, the first longer", (A, 1, 0, 20, BOOKING), (S, 1, 4, 10, PAYMENT), until=20),
    _independent("one waits", (A, 1, 0, 10, BOOKING), (S, 1, 1, 10, BOOKING), (S, 2, 4, 10, PAYMENT), until=14),
    _independent("an old type", (A, 1, 0, 7, BOOKING), (A, 2, 1, 10, PAYMENT), (S, 5, 4, 10, PAYMENT), until=None),
    _independent(
        "the greatest version speaks", (A, 1, 0, 10, PAYMENT), (A, 2, 1, 10, BOOKING), (S, 1, 4, 10, PAYMENT), until=11
    ),
)

_STATE = {"anomaly_type": "string", "pending_until": "timestamp", "watermark": "timestamp", "expected": "string"}
STATES = Table(
    "states",
    _STATE,
    (
        ("an answer may come", "MISSING_SUPPLIER", at(1), at(0), "PENDING"),
        ("by a millisecond", "MISSING_AGODA", at(0) + timedelta(milliseconds=1), at(0), "PENDING"),
        ("its time is over", "MISSING_SUPPLIER", at(0), at(0), "OPEN"),
        ("long ago", "PRICE_MISMATCH", at(0), at(9), "OPEN"),
        ("for nothing", "STATUS_MISMATCH", None, at(0), "OPEN"),
        ("between versions", "TIMESTAMP_SKEW", at(1), at(0), "PENDING"),
        ("no answer mends a duplicate", "DUPLICATE_AGODA", at(1), at(0), "OPEN"),
        ("nor the other side's", "DUPLICATE_SUPPLIER", at(1), at(0), "OPEN"),
        ("nor a delay", "DELAYED_SUPPLIER", at(1), at(0), "OPEN"),
        ("nor ours", "DELAYED_AGODA", at(1), at(0), "OPEN"),
    ),
)

_SLOT = {"versions": "string", "version": "bigint", "activity_type": "string", "expected": "string"}
SLOTS = Table(
    "slots",
    _SLOT,
    (
        ("the version", "aligned", 3, BOOKING, "3"),
        ("the type", "independent", 3, BOOKING, BOOKING),
        ("aligned where nothing is said", None, 3, BOOKING, "3"),
    ),
)
