"""Values as people read them: money, times, counts, and payloads of strangers made harmless."""

import json
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from jobs.common.margins import RuleResult, duration
from jobs.common.output import plain_decimal, printable

#: Characters of a payload that are shown; the rest is said to be there.
SHOWN = 20_000
_CENT = Decimal("0.01")


def whole(text: str) -> str:
    """The text without halves of surrogate pairs, which JSON can escape and nothing can store."""
    return text.encode("utf-8", "replace").decode()


def usd(value: Any) -> str:
    """`1,234.56`, rounded half up to cents; a dash for what has no price."""
    if value is None:
        return "–"
    return f"{Decimal(value).quantize(_CENT, ROUND_HALF_UP):,f}"


def count(value: Any) -> str:
    """`1,234`; a dash for nothing."""
    return "–" if value is None else f"{value:,}"


def moment(value: Any) -> str:
    """`2026-03-09 10:00:00Z`; a dash for nothing."""
    if value is None:
        return "–"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    return value.isoformat() if isinstance(value, date) else str(value)


def ago(value: datetime | None) -> str:
    """How long ago that was, in its largest unit: `3 h`."""
    if value is None:
        return "–"
    past = datetime.now(UTC) - value
    for unit, size in (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("min", timedelta(minutes=1))):
        if past >= size:
            return f"{past // size} {unit}"
    return "now"


def percent(value: Decimal | None) -> str:
    """`99.12 %` of a ratio; rounded down, so that only all is 100 %."""
    if value is None:
        return "–"
    return f"{int(value * 10_000) / Decimal(100):.2f} %"


def size(value: int | None) -> str:
    """Bytes in their largest unit."""
    if value is None:
        return "–"
    left = Decimal(value)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if left < 1024:
            return f"{left:.0f} {unit}" if unit == "B" else f"{left:.1f} {unit}"
        left /= 1024
    return f"{left:.1f} TiB"


def words(value: Any) -> str:
    """`MISSING_SUPPLIER` as `Missing supplier`; other text as it is, made printable."""
    text = printable(str(value if value is not None else "–"))
    return (
        text.replace("_", " ").capitalize().replace("agoda", "AGODA").replace("Fx ", "FX ") if text.isupper() else text
    )


def shown(value: Any) -> str:
    """Any value in a cell."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Decimal):
        return plain_decimal(value)
    if isinstance(value, date):
        return moment(value)
    return count(value) if isinstance(value, int) else printable(str(value))


def payload_text(value: bytes | None) -> str | None:
    """Bytes of a stranger as text: JSON in lines, what would steer a screen shown escaped, the very long cut."""
    if value is None:
        return None
    text = bytes(value[: 4 * SHOWN]).decode("utf-8", "backslashreplace")
    with suppress(ValueError, RecursionError):
        text = json.dumps(json.loads(text, parse_float=str), indent=2, ensure_ascii=False)
    lines = "\n".join(printable(line) for line in text[:SHOWN].split("\n"))
    return lines if len(text) <= SHOWN else f"{lines}\n… {len(value):,} bytes in all"


def margin_text(rule: RuleResult) -> str:
    """How far from the limit, on which side of it."""
    if rule.margin is None:
        return "–"
    if not rule.margin:
        return "exactly at the limit, which holds"
    apart = abs(rule.margin)
    distance = duration(apart) if rule.unit == "s" else f"{plain_decimal(apart)} {rule.unit}"
    return f"{distance} over" if rule.margin < 0 else f"{distance} to spare"
