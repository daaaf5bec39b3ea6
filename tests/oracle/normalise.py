"""What becomes of one raw record, by the contract's section 2."""

import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from tests.oracle.model import ACTIVITY_TYPES, EXPONENTS, STATUSES, Event

MAX_BYTES = 1_048_576
MAX_DEPTH = 1000  # nesting, number length and name length: what the JSON reader of the platform refuses
MAX_NUMBER = 1000
MAX_NAME = 50_000
MAX_AMOUNT = 10**15
MAX_VERSION = 2**63 - 1  # a long; the contract names no upper limit
MAX_AHEAD = timedelta(minutes=5)
SOURCE_OF_TOPIC = {"agoda.raw.activity": "AGODA", "supplier.raw.activity": "SUPPLIER"}

Verdict = tuple[Literal["event"], Event] | tuple[Literal["heartbeat"]] | tuple[Literal["quarantine"], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Raw:
    """One Kafka record of a raw topic; `timestamp` is when it was published."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: datetime
    headers: Sequence[tuple[str, bytes | None]] = ()


class _MalformedError(Exception):
    """Not the JSON that the contract asks for."""


class _Real:
    """A number with a fraction or an exponent: never an integer, whatever its value."""


def normalise(record: Raw, clock: datetime) -> Verdict:
    """An event, a heartbeat, or the sorted reasons for quarantine. `clock` is the reading clock."""
    value = record.value
    if value is not None and len(value) > MAX_BYTES:
        return ("quarantine", ("TOO_LARGE",))
    try:
        fields = parse(value or b"")
    except _MalformedError:
        return ("quarantine", ("MALFORMED_JSON",))
    reasons = set[str]()
    if record.timestamp > clock + MAX_AHEAD:
        reasons.add("PUBLISHED_IN_FUTURE")
    event_time = _field(fields, "eventTime", parse_time, reasons)
    if event_time is not None and event_time > record.timestamp + MAX_AHEAD:
        reasons.add("EVENT_TIME_IN_FUTURE")
    of = _named_supplier(record)
    if fields.get("heartbeat") is True and of is None:
        return ("quarantine", tuple(sorted(reasons))) if reasons else ("heartbeat",)
    known = {name: _field(fields, name, check, reasons) for name, check in _CHECKS.items()}
    if of is not None and known["supplierId"] not in (None, of):
        reasons.add("INVALID_FIELD:supplierId")
    event_id = _event_id(record, fields, reasons)
    currency = known["currency"]
    if currency is not None and currency not in EXPONENTS:
        reasons.add("UNKNOWN_CURRENCY")
    if reasons:
        return ("quarantine", tuple(sorted(reasons)))
    event = Event(
        event_id=event_id,
        source=SOURCE_OF_TOPIC[record.topic],
        supplier_id=known["supplierId"],
        activity_id=known["activityId"],
        activity_type=known["activityType"],
        amount_minor=known["amountMinor"],
        currency=known["currency"],
        status=known["status"],
        version=known["version"],
        event_time=event_time,
        kafka_time=record.timestamp,
    )
    return ("event", event)


def parse(value: bytes) -> dict[str, object]:
    """The record's JSON object. Raises _MalformedError for anything else, however near."""
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _MalformedError from error
    if _depth(text) > MAX_DEPTH:
        raise _MalformedError
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, 20 * MAX_DEPTH))
    try:
        found = json.loads(
            text, object_pairs_hook=_object, parse_int=_integer, parse_float=_real, parse_constant=_refuse
        )
    except ValueError as error:
        raise _MalformedError from error
    finally:
        sys.setrecursionlimit(limit)
    if not isinstance(found, dict):
        raise _MalformedError
    _refuse_lone_surrogates(found)
    return found


_TIME = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,9}))?(?:(Z)|([+-])(\d{2})(?::?(\d{2}))?)", re.ASCII
)
MAX_OFFSET = timedelta(hours=18)


def parse_time(value: object) -> datetime | None:
    """ISO 8601 with an offset, cut (not rounded) to the millisecond, in UTC; None for anything else."""
    matched = _TIME.fullmatch(value) if isinstance(value, str) else None
    if matched is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in matched.groups()[:6])
    fraction, zulu, sign, offset_hours, offset_minutes = matched.groups()[6:]
    millis = int((fraction or "0")[:3].ljust(3, "0"))
    offset = timedelta()
    if not zulu:
        if int(offset_minutes or 0) > 59:
            return None
        offset = timedelta(hours=int(offset_hours), minutes=int(offset_minutes or 0))
    if offset > MAX_OFFSET:
        return None
    try:
        local = datetime(year, month, day, hour, minute, second, millis * 1000, tzinfo=UTC)
        return local + offset if sign == "-" else local - offset
    except (ValueError, OverflowError):
        return None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and 1 <= len(value) <= 128 else None


def _one_of(allowed: Sequence[str]) -> Callable[[object], str | None]:
    return lambda value: value if isinstance(value, str) and value in allowed else None


def _whole(low: int, high: int) -> Callable[[object], int | None]:
    return lambda value: value if type(value) is int and low <= value <= high else None


_CHECKS: dict[str, Callable[[object], Any]] = {
    "activityId": _text,
    "supplierId": _text,
    "activityType": _one_of(ACTIVITY_TYPES),
    "amountMinor": _whole(0, MAX_AMOUNT),
    "currency": lambda value: value if isinstance(value, str) else None,
    "status": _one_of(STATUSES),
    "version": _whole(1, MAX_VERSION),
}


def _field(fields: dict[str, object], name: str, check: Callable[[object], Any], reasons: set[str]) -> Any:
    """The checked value; None, with a reason, where it is missing or wrong. JSON null counts as missing."""
    value = fields.get(name)
    if value is None:
        reasons.add(f"MISSING_FIELD:{name}")
        return None
    checked = check(value)
    if checked is None:
        reasons.add(f"INVALID_FIELD:{name}")
    return checked


def _event_id(record: Raw, fields: dict[str, object], reasons: set[str]) -> str:
    """The payload's id, else the outbox row's from the header, else one made of the record's coordinates."""
    if fields.get("eventId") is not None:
        return str(_field(fields, "eventId", _text, reasons))
    for name, value in record.headers:
        if name == "id" and value:
            try:
                header = _text(value.decode("utf-8"))
            except UnicodeDecodeError:
                header = None
            if header is not None:
                return header
    return f"{record.topic}-{record.partition}-{record.offset}"


def _named_supplier(record: Raw) -> str | None:
    """Whom the header of a supplier's record names: its first `supplierId` that is an id."""
    for name, value in record.headers if SOURCE_OF_TOPIC[record.topic] == "SUPPLIER" else ():
        try:
            found = _text(value.decode("utf-8")) if name == "supplierId" and value else None
        except UnicodeDecodeError:
            found = None
        if found is not None:
            return found
    return None


def _depth(text: str) -> int:
    """The deepest nesting of brackets outside strings."""
    deepest = depth = 0
    for token in re.finditer(r'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]', text, re.DOTALL):
        if token[0] in ("[", "{"):
            depth += 1
            deepest = max(deepest, depth)
        elif token[0] in ("]", "}"):
            depth -= 1
    return deepest


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs) or any(len(name) > MAX_NAME for name in found):
        raise _MalformedError
    return found


def _integer(digits: str) -> int:
    if len(digits) > MAX_NUMBER:
        raise _MalformedError
    return int(digits)


def _real(digits: str) -> _Real:
    if len(digits) > MAX_NUMBER:
        raise _MalformedError
    return _Real()


def _refuse(_: str) -> object:
    raise _MalformedError  # NaN, Infinity and -Infinity are no JSON


def _refuse_lone_surrogates(found: object) -> None:
    """Half a surrogate pair, escaped in a name or a string anywhere, is no Unicode text."""
    todo = [found]
    while todo:
        value = todo.pop()
        if isinstance(value, str) and re.search("[\ud800-\udfff]", value):
            raise _MalformedError
        if isinstance(value, dict):
            todo += [*value.keys(), *value.values()]
        elif isinstance(value, list):
            todo += value
