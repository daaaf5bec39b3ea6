"""Hand-written records that hold the oracle of normalisation."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.oracle.model import EXPONENTS, Event
from tests.oracle.normalise import Raw, normalise, parse_time

NOW = datetime(2026, 3, 9, 10, tzinfo=UTC)
GOOD: dict[str, object] = {
    "eventId": "e1",
    "activityId": "BK-1",
    "supplierId": "SUP-001",
    "activityType": "BOOKING",
    "amountMinor": 12345,
    "currency": "USD",
    "status": "BOOKED",
    "version": 1,
    "eventTime": "2026-03-09T10:00:00.000Z",
}


def of(
    value: bytes | None,
    timestamp: datetime = NOW,
    clock: datetime = NOW,
    headers: tuple[tuple[str, bytes | None], ...] = (),
) -> object:
    """The event or heartbeat, or the reasons."""
    verdict = normalise(Raw("supplier.raw.activity", 2, 7, b"BK-1", value, timestamp, headers), clock)
    return verdict[1] if len(verdict) == 2 else verdict[0]


def with_(**changes: object) -> bytes:
    return json.dumps({k: v for k, v in (GOOD | changes).items() if v is not ...}).encode()


def test_a_good_record_is_an_event() -> None:
    assert of(with_(extra={"x": [1e400, None]}).replace(b"Infinity", b"1e400")) == Event(
        "e1", "SUPPLIER", "SUP-001", "BK-1", "BOOKING", 12345, "USD", "BOOKED", 1, NOW, NOW
    )


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b" ",
        b"null",
        b"[]",
        b'"x"',
        b"{",
        with_() + b"x",
        with_() + with_(),
        b"\xef\xbb\xbf" + with_(),
        with_(activityId="\x00").replace(b"\\u0000", b"\x00"),
        with_(activityId="x").replace(b'"x"', b'"\xff"'),
        with_(activityId="x").replace(b'"x"', b'"\xed\xa0\x80"'),  # a surrogate in UTF-8
        with_(extra=["\ud800"]),
        with_(amountMinor=float("nan")),
        with_(amountMinor=float("inf")),
        with_().replace(b'"eventId"', b'"version"'),
        with_(extra=0).replace(b'"extra": 0', b'"extra": {"a": 1, "\\u0061": 2}'),
        with_(extra=0).replace(b'"extra": 0', b'"extra": ' + b"[" * 1000 + b"]" * 1000),
        with_(amountMinor=0).replace(b'"amountMinor": 0', b'"amountMinor": 1' + b"0" * 1000),
        with_(version=7).replace(b": 7", b": 07"),
        with_(version=7).replace(b": 7", b": 7,}"),
        with_(version=7).replace(b'"version"', b"'version'"),
    ],
)
def test_malformed(value: bytes | None) -> None:
    assert of(value) == ("MALFORMED_JSON",)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        *[({name: ...}, f"MISSING_FIELD:{name}") for name in GOOD if name != "eventId"],
        *[({name: None}, f"MISSING_FIELD:{name}") for name in GOOD if name != "eventId"],
        *[({name: ["x"]}, f"INVALID_FIELD:{name}") for name in GOOD],
        *[({name: ""}, f"INVALID_FIELD:{name}") for name in GOOD if name != "currency"],
        *[({name: "é" * 129}, f"INVALID_FIELD:{name}") for name in ("eventId", "activityId", "supplierId")],
        *[({"amountMinor": bad}, "INVALID_FIELD:amountMinor") for bad in (-1, 10**15 + 1, 1.0, "1", True, 10**300)],
        *[({"version": bad}, "INVALID_FIELD:version") for bad in (0, -1, 1.0, "1", True, 2**63)],
        *[({"currency": bad}, "UNKNOWN_CURRENCY") for bad in ("", "usd", "XAU", "XXX", "DEM", "USD ")],
        ({"status": "booked"}, "INVALID_FIELD:status"),
        ({"activityType": "REFUNDED"}, "INVALID_FIELD:activityType"),
        ({"eventTime": "2026-03-09T10:05:00.001Z"}, "EVENT_TIME_IN_FUTURE"),
    ],
)
def test_one_reason(changes: dict[str, object], reason: str) -> None:
    assert of(with_(**changes)) == (reason,)


@pytest.mark.parametrize(
    "changes",
    [
        {"amountMinor": 0},
        {"amountMinor": 10**15},
        {"version": 2**63 - 1},
        {"activityId": "😀" * 128},
        {"supplierId": " "},
        {"eventTime": "2026-03-09T10:05:00.000999Z"},
        {"heartbeat": False},
        {"heartbeat": "true"},
    ],
)
def test_still_an_event(changes: dict[str, object]) -> None:
    assert isinstance(of(with_(**changes)), Event)


def test_reasons_are_sorted_and_all_there() -> None:
    ahead = NOW + timedelta(minutes=5, milliseconds=1)
    found = of(with_(status=..., version=0, currency="ZZZ"), timestamp=ahead)
    assert found == ("INVALID_FIELD:version", "MISSING_FIELD:status", "PUBLISHED_IN_FUTURE", "UNKNOWN_CURRENCY")
    assert isinstance(of(with_(), timestamp=NOW + timedelta(minutes=5)), Event)


def test_heartbeats() -> None:
    beat = b'{"heartbeat":true,"eventTime":"2026-03-09T10:00:00Z"}'
    assert of(beat) == "heartbeat"
    assert of(b'{"heartbeat":true}') == ("MISSING_FIELD:eventTime",)
    assert of(b'{"heartbeat":true,"eventTime":"today"}') == ("INVALID_FIELD:eventTime",)
    assert of(beat, timestamp=NOW + timedelta(minutes=6)) == ("PUBLISHED_IN_FUTURE",)
    assert of(beat, timestamp=NOW - timedelta(minutes=6)) == ("EVENT_TIME_IN_FUTURE",)


def test_an_absent_event_id_comes_from_the_header_or_the_coordinates() -> None:
    for absent in (..., None):
        event = of(with_(eventId=absent), headers=(("other", b"x"), ("id", b"row-1")))
        assert isinstance(event, Event)
        assert event.event_id == "row-1"
        for headers in ((), (("id", None),), (("id", b""),)):
            event = of(with_(eventId=absent), headers=headers)
            assert isinstance(event, Event)
            assert event.event_id == "supplier.raw.activity-2-7"


def test_size_comes_before_everything() -> None:
    padded = with_(pad="")
    whole = padded.replace(b'"pad": ""', b'"pad": "' + b"x" * (1_048_576 - len(padded)) + b'"')
    assert len(whole) == 1_048_576
    assert isinstance(of(whole), Event)
    assert of(whole + b" ") == ("TOO_LARGE",)
    assert of(b"x" * 1_048_577) == ("TOO_LARGE",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-09T10:00:00Z", NOW),
        ("2026-03-09T17:00:00+07:00", NOW),
        ("2026-03-09T17:00:00+0700", NOW),
        ("2026-03-09T01:00:00.000-09", NOW),
        ("2026-03-09T10:00:00.1239999Z", NOW + timedelta(milliseconds=123)),
        ("2026-03-09T10:00:00.5Z", NOW + timedelta(milliseconds=500)),
        ("1969-12-31T23:59:59.9999Z", datetime(1969, 12, 31, 23, 59, 59, 999000, UTC)),
        *[
            (bad, None)
            for bad in (
                "2026-03-09T10:00:00",
                "2026-03-09 10:00:00Z",
                "2026-03-09T10:00Z",
                "2026-02-29T10:00:00Z",
                "2026-03-09T24:00:00Z",
                "2026-03-09T23:59:60Z",
                "2026-03-09T10:00:00.Z",
                "2026-03-09T10:00:00.1234567890Z",
                "2026-03-09T10:00:00+19:00",
                "2026-03-09T10:00:00+07:60",
                "2026-03-09t10:00:00z",
                "٢٠٢٦-03-09T10:00:00Z",
                "0001-01-01T00:00:00+01:00",
                1773050400000,
            )
        ],
    ],
)
def test_times(text: object, expected: datetime | None) -> None:
    assert parse_time(text) == expected


def test_the_currencies_are_those_of_the_package() -> None:
    iso4217 = pytest.importorskip("iso4217")
    assert {c.code: c.exponent for c in iso4217.Currency if c.exponent is not None} == EXPONENTS
