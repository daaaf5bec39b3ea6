"""What stands in bronze and quarantine for a payload that was masked whole or erased."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

_MASKED, _ERASED = "reco:masked", "reco:erased"
#: A mark is never longer; what is longer needs no reading.
_LONGEST = 1024


@dataclass(frozen=True)
class Erased:
    """By which request a payload was erased, and when (ISO 8601, UTC)."""

    request: str
    at: str

    def __str__(self) -> str:
        return f"erased on {self.at[:10]} by request {self.request}"


def erased_value(request: str, at: datetime, supplier: str | None, beats: bool) -> bytes:
    """The mark of an erased payload; a heartbeat stays one, and whose record it was stays told, for who may see it."""
    told: dict[str, Any] = {"heartbeat": True} if beats else {}
    told |= {"supplierId": supplier} if supplier is not None else {}
    told[_ERASED] = {"request": request, "at": at.strftime("%Y-%m-%dT%H:%M:%SZ")}
    return json.dumps(told, separators=(",", ":")).encode()


def erased_mark(value: bytes | None) -> Erased | None:
    """What the mark tells; None where the value is none."""
    told = _told(value, _ERASED)
    if told is None or not (isinstance(told.get("request"), str) and isinstance(told.get("at"), str)):
        return None
    return Erased(told["request"], told["at"])


def is_masked_whole(value: bytes | None) -> bool:
    """Whether a payload was masked whole, since it could not be taken apart."""
    return _told(value, _MASKED) is not None


def _told(value: bytes | None, name: str) -> dict[str, Any] | None:
    if value is None or len(value) > _LONGEST or f'"{name}"'.encode() not in value:
        return None
    try:
        told = json.loads(value)
    except (ValueError, RecursionError):
        return None
    found = told.get(name) if isinstance(told, dict) and set(told) <= {"heartbeat", "supplierId", name} else None
    return found if isinstance(found, dict) else None
