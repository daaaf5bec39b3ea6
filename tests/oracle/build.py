"""Short ways to write events, times and rates in tests."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.oracle.model import Event, Fx

DAY = date(2026, 3, 10)
FX: Fx = {
    (date(2026, 3, 6), "EUR"): Decimal("1.1"),  # a Friday
    (date(2026, 3, 9), "EUR"): Decimal("1.08"),
    (date(2026, 3, 10), "EUR"): Decimal("1.0825"),
    (date(2026, 3, 10), "JPY"): Decimal("0.0067"),
    (date(2026, 3, 10), "KWD"): Decimal("3.25"),
    (date(2026, 3, 3), "GBP"): Decimal("1.27"),  # 7 days old on DAY
    (date(2026, 3, 2), "CHF"): Decimal("1.13"),  # 8 days old on DAY
}


def at(text: str) -> datetime:
    """`10T09:30[:SS[.fff]]` as an instant of March 2026, UTC."""
    return datetime.fromisoformat(f"2026-03-{text}+00:00")


def ms(count: int) -> timedelta:
    """So many milliseconds."""
    return timedelta(milliseconds=count)


def event(source: str = "AGODA", time: str | datetime = "10T10:00", **fields: Any) -> Event:
    """A booked 100 USD event, published as it happened unless `kafka_time` says otherwise."""
    when = at(time) if isinstance(time, str) else time.astimezone(UTC)
    version = fields.get("version", 1)
    values: dict[str, Any] = {
        "event_id": f"{source[0].lower()}{version}",
        "source": source,
        "supplier_id": "SUP-1",
        "activity_id": "BK-1",
        "activity_type": "BOOKING",
        "amount_minor": 10_000,
        "currency": "USD",
        "status": "BOOKED",
        "version": 1,
        "event_time": when,
        "kafka_time": when,
    }
    return Event(**(values | fields))


def agoda(time: str | datetime = "10T10:00", **fields: Any) -> Event:
    """AGODA's event."""
    return event("AGODA", time, **fields)


def supplier(time: str | datetime = "10T10:00", **fields: Any) -> Event:
    """SUPPLIER's event."""
    return event("SUPPLIER", time, **fields)
