"""Raw Kafka records: events as producers of many habits write them, and poison."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import Any
from zlib import crc32

from tests.oracle.model import Event
from tests.oracle.normalise import SOURCE_OF_TOPIC, Raw
from tests.workloads.values import CLOCK

TOPIC_OF_SOURCE = {source: topic for topic, source in SOURCE_OF_TOPIC.items()}
PARTITIONS = 4


def raw_records(events: Iterable[Event], rng: Random, poisoned: int = 0) -> list[Raw]:
    """The events' records and so many poisoned ones, shuffled, with offsets per partition in the order given."""
    drafts = [_draft(event, rng) for event in events] + poison(rng, poisoned)
    rng.shuffle(drafts)
    return numbered(drafts)


def numbered(drafts: Iterable[Raw]) -> list[Raw]:
    """The same records with offsets from 0 in each topic and partition."""
    ends: dict[tuple[str, int], int] = {}
    records = []
    for draft in drafts:
        place = (draft.topic, draft.partition)
        offset = ends.get(place, 0)
        ends[place] = offset + 1
        records.append(
            Raw(draft.topic, draft.partition, offset, draft.key, draft.value, draft.timestamp, draft.headers)
        )
    return records


def payload(event: Event) -> dict[str, Any]:
    """The event as section 2 writes it."""
    return {
        "eventId": event.event_id,
        "activityId": event.activity_id,
        "supplierId": event.supplier_id,
        "activityType": event.activity_type,
        "amountMinor": event.amount_minor,
        "currency": event.currency,
        "status": event.status,
        "version": event.version,
        "eventTime": event.event_time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }


def time_text(time: datetime, rng: Random) -> str:
    """One of the ways to write a whole millisecond: another offset, digits that are cut off, no fraction at all."""
    minutes = rng.choice((0, 0, 420, -210, 765, -720))
    local = time.astimezone(timezone(timedelta(minutes=minutes)))
    text = local.strftime("%Y-%m-%dT%H:%M:%S")
    millis = f"{time.microsecond // 1000:03}"
    if millis != "000" or rng.random() < 0.7:
        text += "." + millis + rng.choice(("", "", "0", "999", "999999"))
    sign, (hours, rest) = "-" if minutes < 0 else "+", divmod(abs(minutes), 60)
    offsets = [f"{sign}{hours:02}:{rest:02}", f"{sign}{hours:02}{rest:02}"]
    offsets += ["Z", "Z", "+00"] if minutes == 0 else []
    offsets += [f"{sign}{hours:02}"] if rest == 0 else []
    return text + rng.choice(offsets)


def _draft(event: Event, rng: Random) -> Raw:
    fields = payload(event) | {"eventTime": time_text(event.event_time, rng)}
    headers: list[tuple[str, bytes | None]] = []
    if rng.random() < 0.2:  # as the outbox relay sends it
        headers = [("trace", b"\x00\xff"), ("id", event.event_id.encode())]
        if rng.random() < 0.5:
            fields["eventId"] = None
        else:
            del fields["eventId"]
    if rng.random() < 0.2:
        fields["extra"] = rng.choice(([], {"a": {"a": [None, 1.5e300]}}, "😀", 10**40, "x" * 5000))
        fields["heartbeat"] = rng.choice((False, "true", None, 1))
    names = list(fields)
    rng.shuffle(names)
    text = json.dumps(
        {name: fields[name] for name in names},
        ensure_ascii=rng.random() < 0.5,
        indent=rng.choice((None, None, 2)),
    )
    key = event.activity_id.encode()
    return Raw(
        TOPIC_OF_SOURCE[event.source],
        crc32(key) % PARTITIONS,
        0,
        key,
        text.encode(),
        event.kafka_time,
        tuple(headers),
    )


def poison(rng: Random, count: int) -> list[Raw]:
    """Records that mostly are no events; the oracle says of each what becomes of it. Every kind is there in turn."""
    return [_poisoned(rng, kind, number) for number, kind in zip(range(count), _endless(_values(rng)), strict=False)]


def _poisoned(rng: Random, value: bytes | None, number: int) -> Raw:
    topic = rng.choice(sorted(SOURCE_OF_TOPIC))
    published = CLOCK - rng.choice((timedelta(0), timedelta(days=rng.randint(1, 20))))
    if rng.random() < 0.1:
        published = CLOCK + timedelta(minutes=5, milliseconds=rng.choice((-1, 0, 1, 10**7)))
    key = rng.choice((None, b"", b"\xff\xfe", f"BAD-{number}".encode()))
    headers = rng.choice(((), (("supplierId", None),), (("supplierId", b"OTHER"),), (("a", b"\xff"), ("a", b""))))
    return Raw(topic, rng.randrange(PARTITIONS), 0, key, value, published, headers)


def _endless(values: list[bytes | None]) -> Iterable[bytes | None]:
    while True:
        yield from values


def _values(rng: Random) -> list[bytes | None]:
    good = Event(
        "p", "AGODA", "POISON", "P-1", "BOOKING", 1, "USD", "BOOKED", 1, datetime(2026, 3, 1, tzinfo=UTC), CLOCK
    )
    fields = payload(good)

    def text(**changes: Any) -> bytes:
        return json.dumps({k: v for k, v in (fields | changes).items() if v is not ...}).encode()

    def spliced(raw: bytes, name: str = "extra") -> bytes:
        return text(**{name: "@"}).replace(b'"@"', raw)

    future = (CLOCK + timedelta(days=2)).isoformat()
    missing = [text(**{name: gone}) for name in fields for gone in (..., None)]
    unfit: tuple[Any, ...] = ("", [], {}, True, 1.5, -1, "x" * 129, 10**30)
    wrong = [text(**{name: bad}) for name in fields for bad in unfit]
    broken: list[bytes | None] = [
        None,
        b"",
        b" ",
        b"null",
        b"[]",
        b"7",
        b'"x"',
        b"{",
        b"}",
        b"{}",
        b"\x00",
        b"\xff\xfe",
    ]
    broken += [text() + b"x", text() + text(), text()[:-1], b"\xef\xbb\xbf" + text(), text().decode().encode("utf-16")]
    numbers = [
        b"1e400",
        b"-1e400",
        b"1" + b"0" * 500,
        b"1" + b"0" * 2000,
        b"NaN",
        b"Infinity",
        b"01",
        b"+1",
        b".5",
        b"1.",
    ]
    spliced_in = [spliced(raw, name) for raw in numbers for name in ("extra", "amountMinor", "version")]
    odd = [
        b'"\xed\xa0\x80"',
        b'"\\ud800"',
        b'"\\udc00\\ud800"',
        b'"\x01"',
        b'"\\x"',
        b"{'a':1}",
        b'{"a":1,"a":2}',
        b"[1,]",
    ]
    odd += [b"[" * depth + b"]" * depth for depth in (10, 900, 2000, 50_000)]
    names = [b'{"' + b"n" * length + b'":1}' for length in (40_000, 60_000)]
    times = [
        text(eventTime=bad)
        for bad in ("2026-03-01", "2026-02-30T00:00:00Z", "2026-03-01T00:00:00", "2026-03-01T00:00:00Z\n", 1, future)
    ]
    beats = [
        json.dumps({"heartbeat": True, "eventTime": at}).encode() for at in (future, None, "x", "2026-03-01T00:00:00Z")
    ]
    money = [text(currency=code) for code in ("XAU", "XXX", "usd", "US", "DEM", "EUR ", "€")]
    sizes = [text(pad="p" * (size - len(text(pad="")))) for size in (1_048_576, 1_048_577, 1_100_000)]
    repeated = [text().replace(b'"eventId"', b'"version"'), text().replace(b'"currency"', b'"\\u0073tatus"')]
    doubled = [b'{"heartbeat":true,"heartbeat":true,"eventTime":"2026-03-01T00:00:00Z"}', b'{"heartbeat":true}']
    values = broken + missing + wrong + spliced_in + [spliced(raw) for raw in odd + names]
    values += times + beats + money + sizes + repeated + doubled
    rng.shuffle(values)
    return values
