"""Records that cannot become events: one maker a kind, each knowing the reason codes that it must get."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from jobs.ingest.events import MINUTE, SECOND, Event, Record, iso

MEBIBYTE = 1 << 20

Reasons = tuple[str, ...]
Maker = Callable[[Event], tuple[Record, Reasons]]


class Poison(NamedTuple):
    """What is sent, and why it can be no event."""

    record: Record
    reasons: Reasons


def _fields(event: Event) -> dict[str, Any]:
    return {
        "eventId": event.event_id,
        "activityId": event.activity,
        "supplierId": event.supplier,
        "activityType": event.kind,
        "amountMinor": event.amount,
        "currency": event.currency,
        "status": event.status,
        "version": event.version,
        "eventTime": iso(event.time_ms),
    }


def _with(event: Event, **changes: Any) -> Record:
    value = json.dumps(_fields(event) | changes, ensure_ascii=False).encode()
    return event.record()._replace(value=value)


def _raw(value: bytes | None) -> Maker:
    """A value that is no JSON object whatever the event."""
    return lambda event: (event.record()._replace(value=value), ("MALFORMED_JSON",))


def _edited(edit: Callable[[bytes], bytes]) -> Maker:
    """A good record's value made malformed."""

    def make(event: Event) -> tuple[Record, Reasons]:
        record = event.record()
        assert record.value is not None
        return record._replace(value=edit(record.value)), ("MALFORMED_JSON",)

    return make


def _missing(name: str) -> Maker:
    """Without one field."""

    def make(event: Event) -> tuple[Record, Reasons]:
        fields = _fields(event)
        del fields[name]
        return event.record()._replace(value=json.dumps(fields).encode()), (f"MISSING_FIELD:{name}",)

    return make


def _null(name: str) -> Maker:
    """One field null, which is as good as missing."""
    return lambda event: (_with(event, **{name: None}), (f"MISSING_FIELD:{name}",))


def _invalid(name: str, value: Any) -> Maker:
    """One field with a value that the contract does not allow."""
    return lambda event: (_with(event, **{name: value}), (f"INVALID_FIELD:{name}",))


def _number(name: str, text: str) -> Maker:
    """One field with a number that Python's json would not write."""

    def make(event: Event) -> tuple[Record, Reasons]:
        value = json.dumps(_fields(event) | {name: "@"}).replace('"@"', text).encode()
        return event.record()._replace(value=value), (f"INVALID_FIELD:{name}",)

    return make


def _unknown_currency(code: str) -> Maker:
    return lambda event: (_with(event, currency=code), ("UNKNOWN_CURRENCY",))


def _event_in_future(event: Event) -> tuple[Record, Reasons]:
    """One millisecond more than five minutes after the record's own timestamp."""
    return _with(event, eventTime=iso(event.published_ms + 5 * MINUTE + 1)), ("EVENT_TIME_IN_FUTURE",)


def _published_in_future(event: Event) -> tuple[Record, Reasons]:
    """Sent with a timestamp that lies ahead of the reading clock, which only the sender can know."""
    return event.record()._replace(ahead=True), ("PUBLISHED_IN_FUTURE",)


def _too_large(event: Event) -> tuple[Record, Reasons]:
    return _with(event, padding="x" * MEBIBYTE), ("TOO_LARGE",)


def _several(event: Event) -> tuple[Record, Reasons]:
    record = _with(event, status=None, version=0, currency="ZZZ", eventTime=iso(event.published_ms + 9 * MINUTE))
    return record, ("EVENT_TIME_IN_FUTURE", "INVALID_FIELD:version", "MISSING_FIELD:status", "UNKNOWN_CURRENCY")


REQUIRED = ("activityId", "supplierId", "activityType", "amountMinor", "currency", "status", "version", "eventTime")

#: Every kind once; the big one is last, so that it is never drawn for the surplus.
MAKERS: tuple[Maker, ...] = (
    _raw(None),
    _raw(b""),
    _raw(b"null"),
    _raw(b'["not","an","object"]'),
    _raw(b"\xff\xfe\x00binary"),
    _raw(b"[" * 5_000 + b"]" * 5_000),
    _edited(lambda value: value[:-20]),
    _edited(lambda value: value + b" and more"),
    _edited(lambda value: value[:-1] + b',"version":2}'),
    _edited(lambda value: value.replace(b'"supplierId":"', b'"supplierId":"\xc3\x28')),
    *(_missing(name) for name in REQUIRED),
    *(_null(name) for name in ("supplierId", "eventTime")),
    _invalid("eventId", "e" * 129),
    _invalid("activityId", ""),
    _invalid("supplierId", "s" * 129),
    _invalid("activityType", "booking"),
    _invalid("amountMinor", -1),
    _invalid("amountMinor", 10**15 + 1),
    _invalid("amountMinor", "12345"),
    _number("amountMinor", "1e400"),
    _number("amountMinor", "123.45"),
    _number("version", "9" * 60),
    _invalid("status", "DONE"),
    _invalid("version", 0),
    _invalid("version", True),
    _invalid("eventTime", "yesterday"),
    _invalid("eventTime", "2026-03-09 10:00:00"),
    _invalid("currency", 840),
    _unknown_currency("ZZZ"),
    _unknown_currency("DEM"),
    _event_in_future,
    _published_in_future,
    _several,
    _too_large,
)


def make(number: int, event: Event) -> Poison:
    """The kind of that number made from a good event."""
    event.published_ms = max(event.published_ms, event.time_ms + SECOND)
    return Poison(*MAKERS[number](event))
