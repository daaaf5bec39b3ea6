"""From a supplier's item to a record of the raw topic, with an id that makes a repeat harmless."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from typing import Any
from zoneinfo import ZoneInfo

from jobs.ingest.polling.config import SupplierApi
from jobs.ingest.polling.config_parts import SincePaging
from jobs.ingest.polling.paths import look_up
from jobs.ingest.polling.split import Number, load
from jobs.ingest.publisher import Outgoing

_SEPARATOR = "\x1f"
_NOTHING = "\x00"
_LONGEST_ID = 128
#: Microseconds of the units in which times since 1970 are told.
_EPOCH_UNITS = {"epoch_seconds": 1_000_000, "epoch_millis": 1_000}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: No time is farther from 1970, in seconds or milliseconds.
_FARTHEST = 10**15


@dataclass(frozen=True, slots=True)
class Item:
    """A record to be published, its content's digest, and when the supplier says it was changed (UTC) if it does."""

    record: Outgoing
    digest: bytes
    updated: datetime | None


def to_item(api: SupplierApi, topic: str, raw: bytes) -> Item:
    """The record of one item: the supplier's own bytes, keyed by the activity.

    Its header `id` is a hash of supplier and content: seen again unchanged, in the overlap of two polls or after a
    kill, it is the same event delivered again, which counts once; changed, it is a new event. An id by place or time
    of reading would make each repeat a duplicate, an anomaly. Where `event_id` names the supplier's own, that is used.
    An item without a key, or that is no object, is a record all the same: normalise quarantines it whole.
    """
    value = load(raw)
    content = _without(value, api)
    try:
        text = canonical(content)
    except RecursionError:
        text = raw.decode("latin-1")
    digest = sha256(_SEPARATOR.join((api.supplier, text)).encode("utf-8", "surrogatepass")).digest()
    own = _text(look_up(value, api.event_id)) if api.event_id is not None else None
    named = own if own is not None and len(own) <= _LONGEST_ID else digest.hex()
    key = _text(look_up(value, api.key))
    headers = (("supplierId", api.supplier.encode()), ("id", named.encode("utf-8", "replace")))
    record = Outgoing(topic, None if key is None else key.encode("utf-8", "replace"), raw, headers)
    # What is remembered as published is the whole: a change under the supplier's own id is published too.
    return Item(record, digest, _updated(value, api))


def canonical(value: Any) -> str:
    """JSON's content as one text: keys sorted, 1.50 and 1.5 alike, null and an absent key apart."""
    if isinstance(value, Number):
        return _number(value)
    if value is None:
        return _NOTHING
    if isinstance(value, dict):
        members = sorted((json.dumps(name), canonical(member)) for name, member in value.items())
        return "{" + ",".join(f"{name}:{member}" for name, member in members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    return json.dumps(value)


def _number(text: str) -> str:
    try:
        sign, digits, exponent = Decimal(text).as_tuple()
    except InvalidOperation:
        return text
    if not isinstance(exponent, int):
        return text  # NaN and the like, which are no JSON: normalise says so
    plain = "".join(map(str, digits)).lstrip("0")
    kept = plain.rstrip("0")
    return f"{'-' if sign and kept else ''}{kept}e{exponent + len(plain) - len(kept)}" if kept else "0"


def _without(value: Any, api: SupplierApi) -> Any:
    """The item without what changes with each reading."""
    if not isinstance(value, dict) or not api.ignore:
        return value
    return {name: member for name, member in value.items() if name not in api.ignore}


def _text(value: Any) -> str | None:
    return str(value) if isinstance(value, str) and value else None


def _updated(value: Any, api: SupplierApi) -> datetime | None:
    paging = api.paging
    if not isinstance(paging, SincePaging):
        return None
    found = look_up(value, paging.updated)
    try:
        if isinstance(found, str) and paging.time in _EPOCH_UNITS:
            told = Decimal(found)
            # Such as 1e999999 is no time, and would take minutes to write out.
            if -_FARTHEST < told < _FARTHEST:
                return _EPOCH + timedelta(microseconds=int(told * _EPOCH_UNITS[paging.time]))
        if isinstance(found, str) and not isinstance(found, Number):
            return _in_utc(datetime.fromisoformat(found), paging.zone)
    except (ValueError, OverflowError, InvalidOperation):
        pass
    return None


def _in_utc(read: datetime, zone: str | None) -> datetime | None:
    """None for a time without an offset where no zone is said. One that a clock showed twice is the earlier one."""
    if read.tzinfo is not None:
        return read.astimezone(UTC)
    if zone is None:
        return None
    there = ZoneInfo(zone)
    return min(read.replace(tzinfo=there, fold=fold).astimezone(UTC) for fold in (0, 1))
