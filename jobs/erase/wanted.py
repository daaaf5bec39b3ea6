"""What a request looks for, and whether a record has it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from jobs.common.marks import erased_mark
from jobs.common.privacy import Tree, tree_of

Headers = list[dict[str, Any]] | None


class Selector(StrEnum):
    """How a person's records are known."""

    FIELD = "FIELD"
    ANYWHERE = "ANYWHERE"
    PERSON = "PERSON"
    ACTIVITY = "ACTIVITY"


class _Members(list[tuple[str, Any]]):
    """An object's members in order: of a name that comes twice, both."""


@dataclass(frozen=True)
class Wanted:
    """`texts`: values and their pseudonyms, looked for under `fields`, or everywhere where there are none.

    `activities`: supplier and activity; `keys`: how their records may be keyed, by activity.
    """

    selector: Selector
    texts: frozenset[str] = frozenset()
    fields: tuple[str, ...] = ()
    activities: frozenset[tuple[str, str]] = frozenset()
    keys: Mapping[str, frozenset[str]] | None = None

    @property
    def needles(self) -> list[bytes]:
        """Bytes one of which a record must have, unless it has escapes."""
        keys = [key for found in (self.keys or {}).values() for key in found]
        return sorted(text.encode() for text in {*self.texts, *keys})

    def is_in(self, value: bytes | None, headers: Headers, key: bytes | None) -> bool:
        """Whether a record is one of those; one that was erased before is none."""
        if erased_mark(value) is not None:
            return False
        payload = _read(value)
        if self.activities:
            return self._is_of_activity(payload, value, headers, key)
        if payload is None:
            found = _has_bytes(value, self.texts)
        elif self.fields:
            return _has_under(payload, tree_of(self.fields), self.texts)
        else:
            found = any(text in scalar for scalar in _scalars(payload, names=True) for text in self.texts)
        return found or self.is_in_key(key) or any(self.is_in_key(one["value"]) for one in headers or ())

    def is_in_key(self, key: bytes | None) -> bool:
        """Whether a record's key, or a header's value, has one of the texts."""
        return any(text.encode() in (key or b"") for text in self.texts)

    def _is_of_activity(self, payload: Any, value: bytes | None, headers: Headers, key: bytes | None) -> bool:
        told = dict(payload) if isinstance(payload, _Members) else {}
        named = header_supplier(headers)
        for supplier, activity in self.activities:
            keys = {one.encode() for one in (self.keys or {}).get(activity, ())}
            if told.get("activityId") == activity and supplier in (told.get("supplierId"), named):
                return True
            if key in keys and supplier in (told.get("supplierId"), named):
                return True
            if payload is None and activity.encode() in (value or b"") and supplier.encode() in (value or b""):
                return True
        return False


def header_supplier(headers: Headers) -> str | None:
    """Whom the header `supplierId` names, in text."""
    for header in headers or ():
        if header["key"] == "supplierId" and header["value"]:
            return bytes(header["value"]).decode("utf-8", "replace")
    return None


def payload_supplier(value: bytes | None) -> str | None:
    """Whom the payload names as its supplier."""
    payload = _read(value)
    told = dict(payload).get("supplierId") if isinstance(payload, _Members) else None
    return told if isinstance(told, str) and len(told) <= 128 else None


def _read(value: bytes | None) -> Any:
    try:
        return json.loads(value or b"", object_pairs_hook=_Members, parse_float=str, parse_int=str)
    except (ValueError, RecursionError):
        return None


def _has_bytes(value: bytes | None, texts: frozenset[str]) -> bool:
    """Whether what is no JSON has one of them, as it is or as JSON would escape it."""
    ways = {way for text in texts for way in (text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])}
    return any(way.encode() in (value or b"") for way in ways)


def _has_under(value: Any, tree: "Tree | None", texts: frozenset[str]) -> bool:
    """Whether a personal field is one of them; what stands where an object is due, has one."""
    if tree is None:
        return any(scalar in texts or scalar.strip() in texts for scalar in _scalars(value))
    if isinstance(value, _Members):
        return any(name in tree and _has_under(below, tree[name], texts) for name, below in value)
    if isinstance(value, list):
        return any(_has_under(one, tree, texts) for one in value)
    return isinstance(value, str) and any(text in value for text in texts)


def _scalars(value: Any, names: bool = False) -> Iterator[str]:
    if isinstance(value, _Members):
        for name, below in value:
            if names:
                yield name
            yield from _scalars(below, names)
    elif isinstance(value, list):
        for one in value:
            yield from _scalars(one, names)
    elif isinstance(value, str):
        yield value
