"""Rules 1, 3 and 4 and the outcome: existence, status, skew."""

from datetime import UTC, datetime
from decimal import Decimal

from tests.reco_rules.cases import SECONDS, Table

D = Decimal


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


EXISTENCE = Table(
    "existence",
    {
        "agoda_event_id": "string",
        "supplier_event_id": "string",
        "expected_missing_agoda": "boolean",
        "expected_missing_supplier": "boolean",
    },
    (
        ("both are there", "a1", "s1", False, False),
        ("no SUPPLIER", "a1", None, False, True),
        ("no AGODA", None, "s1", True, False),
    ),
)

STATUS_DIFFERS = Table(
    "status_differs",
    {"agoda_status": "string", "supplier_status": "string", "expected": "boolean"},
    (
        ("alike", "BOOKED", "BOOKED", False),
        ("booked is not confirmed", "BOOKED", "CONFIRMED", True),
        ("paid is not refunded", "PAID", "REFUNDED", True),
        ("cancelled is not failed", "CANCELLED", "FAILED", True),
        ("no SUPPLIER", "PAID", None, False),
        ("no AGODA", None, "PAID", False),
        ("neither", None, None, False),
    ),
)

_NOON = _at("2026-03-10T12:00:00")
SKEW = Table(
    "skew",
    {
        "agoda_event_time": "timestamp",
        "supplier_event_time": "timestamp",
        "allowed_skew_seconds": "bigint",
        "expected_skew_seconds": SECONDS,
        "expected": "boolean",
    },
    (
        ("the same instant", _NOON, _NOON, 900, D("0"), False),
        ("one millisecond under", _NOON, _at("2026-03-10T12:14:59.999"), 900, D("899.999"), False),
        ("at the limit", _NOON, _at("2026-03-10T12:15:00"), 900, D("900"), False),
        ("one millisecond over", _NOON, _at("2026-03-10T12:15:00.001"), 900, D("900.001"), True),
        ("one millisecond under, SUPPLIER first", _NOON, _at("2026-03-10T11:45:00.001"), 900, D("899.999"), False),
        ("at the limit, SUPPLIER first", _NOON, _at("2026-03-10T11:45:00"), 900, D("900"), False),
        ("one millisecond over, SUPPLIER first", _NOON, _at("2026-03-10T11:44:59.999"), 900, D("900.001"), True),
        ("none is allowed, none is there", _NOON, _NOON, 0, D("0"), False),
        ("none is allowed, one millisecond", _NOON, _at("2026-03-10T12:00:00.001"), 0, D("0.001"), True),
        # 20 minutes apart, in two days.
        ("across midnight", _at("2026-03-09T23:50:00"), _at("2026-03-10T00:10:00"), 1200, D("1200"), False),
        # Europe's and America's clocks change in March; UTC's do not: 24 hours are 86400 seconds.
        ("across a change of clocks", _at("2026-03-29T00:30:00"), _at("2026-03-30T00:30:00"), 86_399, D("86400"), True),
        ("seven days", _at("2026-03-03T12:00:00"), _NOON, 900, D("604800"), True),
        ("before 1970", _at("1969-12-31T23:59:59.999"), _at("1970-01-01T00:00:00.001"), 0, D("0.002"), True),
        ("no SUPPLIER", _NOON, None, 900, None, False),
        ("no AGODA", None, _NOON, 900, None, False),
    ),
)

#: Which breaks make which outcome. Duplicates and delays never do.
OUTCOMES = Table(
    "outcomes",
    {"breaks": "array<string>", "expected": "string"},
    (
        ("nothing", [], "MATCHED"),
        ("price", ["PRICE_MISMATCH"], "MISMATCHED"),
        ("a missing rate", ["FX_RATE_MISSING"], "MISMATCHED"),
        ("status", ["STATUS_MISMATCH"], "MISMATCHED"),
        ("skew", ["TIMESTAMP_SKEW"], "MISMATCHED"),
        ("all pair rules", ["PRICE_MISMATCH", "STATUS_MISMATCH", "TIMESTAMP_SKEW"], "MISMATCHED"),
        ("duplicates alone", ["DUPLICATE_AGODA", "DUPLICATE_SUPPLIER"], "MATCHED"),
        ("delays alone", ["DELAYED_AGODA", "DELAYED_SUPPLIER"], "MATCHED"),
        ("a delay beside a price", ["DELAYED_AGODA", "PRICE_MISMATCH"], "MISMATCHED"),
        ("no SUPPLIER", ["MISSING_SUPPLIER"], "MISSING_SUPPLIER"),
        ("no AGODA", ["MISSING_AGODA"], "MISSING_AGODA"),
        ("no SUPPLIER, and a duplicate", ["DUPLICATE_AGODA", "MISSING_SUPPLIER"], "MISSING_SUPPLIER"),
        ("no AGODA, and a delay", ["DELAYED_SUPPLIER", "MISSING_AGODA"], "MISSING_AGODA"),
    ),
)
