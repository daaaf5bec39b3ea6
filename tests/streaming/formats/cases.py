"""Payloads of suppliers' formats, each with the event that it is, or the reasons why it is none."""

import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import fastavro

NOW = datetime(2026, 3, 9, 10, tzinfo=UTC)

#: Where the rows below differ from it, they say so.
JSON_FORMAT = """
version: 1
payload: json
fields:
  eventId: {path: $.id}
  activityId: {path: $.ref}
  activityType: {path: $.type, map: {NEW: BOOKING, 7: REFUND}, default: PAYMENT}
  amountMinor: {path: $.sum, unit: major}
  currency: {path: $.cur, default: USD}
  status: {path: $.state, map: {ok: PAID, "true": BOOKED}}
  version: {path: $.rev, default: 1}
  eventTime: {path: $.at, pattern: "dd/MM/yyyy HH:mm", zone: Europe/Paris}
"""
SCHEMA = {
    "type": "record",
    "name": "R",
    "fields": [
        {"name": "ref", "type": "string"},
        {"name": "sum", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 3}},
        {"name": "rate", "type": ["null", "double"], "default": None},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    ],
}
FORMATS = {
    "json": JSON_FORMAT,
    "strict": JSON_FORMAT.replace("$.id}", "$.id, required: true}").replace(
        "  version:", "  supplierId: {path: $.sup}\n  version:"
    ),
    "comma": JSON_FORMAT.replace("unit: major", 'unit: major, decimal: ",", grouping: ".", absolute: true'),
    "minor": JSON_FORMAT.replace("unit: major", "unit: minor, default: 0"),
    "iso": JSON_FORMAT.replace('pattern: "dd/MM/yyyy HH:mm", zone: Europe/Paris', "pattern: iso"),
    "seconds": JSON_FORMAT.replace('pattern: "dd/MM/yyyy HH:mm", zone: Europe/Paris', "pattern: epoch_seconds"),
    "millis": JSON_FORMAT.replace('pattern: "dd/MM/yyyy HH:mm", zone: Europe/Paris', "pattern: epoch_millis"),
    "offset": JSON_FORMAT.replace('"dd/MM/yyyy HH:mm", zone: Europe/Paris', '"MMM d, yyyy h:mm a XXX"'),
    "composed": JSON_FORMAT.replace("{path: $.ref}", '{compose: [X, $.ref, "$.rooms[0][\'no\']"], separator: "-"}'),
    "csv": """
version: 1
payload: csv
csv: {columns: [ref, sum, "état", at], trim: true}
fields:
  activityId: {path: $.ref}
  activityType: {constant: PAYMENT}
  amountMinor: {path: $.sum, unit: major}
  currency: {constant: KWD}
  status: {path: $.état, map: {ok: PAID}}
  version: {constant: 3}
  eventTime: {path: $.at, pattern: iso}
""",
    "avro": f"""
version: 1
payload: avro
avro: {{schema: '{json.dumps(SCHEMA)}'}}
fields:
  activityId: {{path: $.ref}}
  activityType: {{constant: PAYMENT}}
  amountMinor: {{path: $.sum, unit: major}}
  currency: {{constant: KWD}}
  status: {{constant: PAID}}
  version: {{path: $.at, pattern: iso}}
  eventTime: {{path: $.at}}
""",
}
FORMATS["float"] = FORMATS["avro"].replace("$.sum", "$.rate")

_JSON = {"id": "e1", "ref": "R1", "type": "NEW", "sum": 12, "state": "ok", "rev": 2, "at": "09/03/2026 11:00"}
_EVENT = {
    "eventId": "e1",
    "activityId": "R1",
    "supplierId": "Sstrict",
    "activityType": "BOOKING",
    "amountMinor": 1200,
    "currency": "USD",
    "status": "PAID",
    "version": 2,
    "eventAt": NOW,
}
_LITTLE = {"eventId": None, "activityType": "PAYMENT", "currency": "KWD"}


class Case(NamedTuple):
    """A payload of a format and what it must become."""

    format: str
    value: bytes | None
    expected: dict[str, Any] | tuple[str, ...]


def _of(name: str, expected: dict[str, Any] | str, **changes: Any) -> Case:
    """The plain payload with changes (... takes a key away), and what differs in its event, or its one reason."""
    value = json.dumps({k: v for k, v in (_JSON | changes).items() if v is not ...}).encode()
    return Case(name, value, (expected,) if isinstance(expected, str) else _EVENT | expected)


def _raw(name: str, expected: dict[str, Any] | str, written: str, **changes: Any) -> Case:
    """The same, with the amount written just so."""
    case = _of(name, expected, **changes, sum="@")
    assert case.value
    return case._replace(value=case.value.replace(b'"@"', written.encode()))


def _avro(expected: dict[str, Any] | str, name: str = "avro", cut: int = 0, **changes: Any) -> Case:
    datum = {"ref": "R1", "sum": Decimal("12.345"), "rate": 1.5, "at": NOW.replace(microsecond=1999)} | changes
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(SCHEMA), datum)
    event = (
        _EVENT | _LITTLE | {"amountMinor": 12345, "version": 1773050400001, "eventAt": NOW.replace(microsecond=1000)}
    )
    value = out.getvalue()[: -cut or None]
    return Case(name, value, (expected,) if isinstance(expected, str) else event | expected)


def _csv(expected: dict[str, Any] | str, row: str) -> Case:
    event = _EVENT | _LITTLE | {"amountMinor": 12345, "version": 3}
    return Case("csv", row.encode(), (expected,) if isinstance(expected, str) else event | expected)


def _malformed(name: str, value: bytes | None) -> Case:
    return Case(name, value, ("MALFORMED_JSON",))


_BAD_TIMES: tuple[Any, ...] = (
    *("31/02/2026 10:00", "9/3/2026 11:00", "09/03/2026", "", 5, []),
    # Years that Java's clock does not reach, or no reader of the tables.
    *("01/01/+999999999 10:00", "01/01/+294248 10:00", "01/01/-294248 10:00", "01/01/+12026 10:00"),
)
_BAD_VERSIONS: tuple[Any, ...] = (0, -1, 1.5, "1.0", "x", "", "9" * 19, 10**19)
#: Lengths of some gigabytes, before a few bytes: a reader that believes them has no memory left.
_BOMBS = (b"\xfe\xff\xff\xff\x0f", b"\xec\xff\xff\xff\x0fx", b"\x80\xc2\xd7\xda\x0e", b"\x04R1\x80\xc2\xd7\xda\x0e")
_AMOUNT, _TIME = "INVALID_FIELD:amountMinor", "INVALID_FIELD:eventTime"

CASES: list[Case] = [
    _of("json", {}),
    _of("json", {}, extra={"heartbeat": True}, heartbeat=True),
    # Ids.
    _of("json", {"eventId": None}, id=...),
    _of("json", {"eventId": None}, id=None),
    _of("json", "INVALID_FIELD:eventId", id=""),
    _of("json", {"activityId": "71"}, ref=71),
    _of("json", {"activityId": "12345678901234567890"}, ref=12345678901234567890),
    _of("json", "INVALID_FIELD:activityId", ref=7.5),
    _of("json", "INVALID_FIELD:activityId", ref=True),
    _of("json", "INVALID_FIELD:activityId", ref=["R1"]),
    _of("json", "INVALID_FIELD:activityId", ref="x" * 129),
    _of("json", "MISSING_FIELD:activityId", ref=None),
    _of("strict", {}, sup="Sstrict"),
    _of("strict", "MISSING_FIELD:eventId", sup="Sstrict", id=None),
    _of("strict", "INVALID_FIELD:eventId", sup="Sstrict", id=""),
    _of("strict", "INVALID_FIELD:supplierId", sup="T"),
    _of("strict", "MISSING_FIELD:supplierId"),
    _of("composed", {"activityId": "X-R1-4"}, rooms=[{"no": 4}, {"no": 5}]),
    _of("composed", "MISSING_FIELD:activityId", rooms=[{}]),
    _of("composed", "INVALID_FIELD:activityId", rooms=[{"no": [4]}]),
    # Words.
    _of("json", {"activityType": "REFUND"}, type=7),
    _of("json", {"activityType": "PAYMENT"}, type=...),
    _of("json", "INVALID_FIELD:activityType", type="new"),
    _of("json", "INVALID_FIELD:activityType", type=""),
    _of("json", "INVALID_FIELD:activityType", type={}),
    _of("json", "INVALID_FIELD:activityType", type="BOOKING"),
    _of("json", {"status": "BOOKED"}, state=True),
    _of("json", "INVALID_FIELD:status", state=False),
    _of("json", "MISSING_FIELD:status", state=...),
    _of("json", "UNKNOWN_CURRENCY", cur="usd"),
    _of("json", "INVALID_FIELD:currency", cur=840),
    # Money.
    _raw("json", {"amountMinor": 12345}, "123.45"),
    _raw("json", {"amountMinor": 30}, "0.30000000000000000"),
    _raw("json", {"amountMinor": 1}, "0.01"),
    _raw("json", {"amountMinor": 0}, "0"),
    _raw("json", {"amountMinor": 12345}, '"123.450"'),
    _raw("json", {"amountMinor": 10**15}, "10000000000000.00"),
    _raw("json", {"amountMinor": 12, "currency": "JPY"}, "12.0", cur="JPY"),
    _raw("json", {"amountMinor": 12345, "currency": "KWD"}, "12.345", cur="KWD"),
    _raw("json", {"amountMinor": 90071992547409, "currency": "JPY"}, '"90071992547409"', cur="JPY"),
    *[
        _raw("json", _AMOUNT, bad)
        for bad in ("12.345", "1e2", "-1", '"1,5"', '"1 000"', '" 12"', '"12\\n"', '""', "[]")
    ],
    *[_raw("json", _AMOUNT, bad) for bad in ('".5"', '"5."', '"+5"', '"1e2"', '"٣"', "true", "10000000000000.01")],
    _raw("json", _AMOUNT, "12.5", cur="JPY"),
    _raw("json", "MISSING_FIELD:amountMinor", "null"),
    _raw("json", "UNKNOWN_CURRENCY", "12.345", cur="ZZZ"),
    _raw("comma", {"amountMinor": 123456789}, '"1.234.567,89"'),
    _raw("comma", {"amountMinor": 123456789}, '"-1234567,89"'),
    _raw("comma", {"amountMinor": 1250}, "-12.5"),
    *[_raw("comma", _AMOUNT, bad) for bad in ('"1.23"', '"12.34,5"', '"1,234.56"', '"--1"', '"1,2,3"')],
    _raw("minor", {"amountMinor": 1234}, '"1234"'),
    _raw("minor", {"amountMinor": 1234}, "1234.00"),
    _raw("minor", {"amountMinor": 0}, "null"),
    _raw("minor", _AMOUNT, "12.34"),
    # Versions.
    _of("json", {"version": 1}, rev=...),
    _of("json", {"version": 17}, rev="017"),
    *[_of("json", "INVALID_FIELD:version", rev=bad) for bad in _BAD_VERSIONS],
    # Times.
    _of("json", "MISSING_FIELD:eventTime", at=None),
    *[_of("json", _TIME, at=bad) for bad in _BAD_TIMES],
    _of("json", {"eventAt": datetime(2025, 10, 26, 0, 30, tzinfo=UTC)}, at="26/10/2025 02:30"),
    _of("json", {"eventAt": datetime(2025, 10, 26, 2, 0, tzinfo=UTC)}, at="26/10/2025 03:00"),
    _of("json", {"eventAt": datetime(2025, 3, 30, 0, 59, tzinfo=UTC)}, at="30/03/2025 01:59"),
    _of("json", _TIME, at="30/03/2025 02:30"),
    _of("json", {"eventAt": datetime(2025, 3, 30, 1, 0, tzinfo=UTC)}, at="30/03/2025 03:00"),
    _of("json", "EVENT_TIME_IN_FUTURE", at="09/03/2026 11:06"),
    _of("iso", {"eventAt": NOW.replace(microsecond=123000)}, at="2026-03-09T17:00:00.1239+07:00"),
    _of("iso", _TIME, at="2026-03-09T10:00:00"),
    _of("iso", _TIME, at=1773050400),
    _of("seconds", {}, at=1773050400),
    _of("seconds", {"eventAt": NOW.replace(microsecond=999000)}, at="1773050400.9999"),
    *[_of("seconds", _TIME, at=bad) for bad in ("x", 10**12, 1e300, "1773050400\n", False)],
    _of("millis", {"eventAt": NOW.replace(microsecond=1000)}, at=1773050400001),
    *[_of("millis", _TIME, at=bad) for bad in (10**15, 10**18, -(10**15), 1773050400.5)],
    _of("offset", {}, at="Mar 9, 2026 6:00 AM -04:00"),
    _of("offset", {"eventAt": datetime(2026, 3, 8, 22, 30, tzinfo=UTC)}, at="mar 8, 2026 10:30 pm Z"),
    _of("offset", _TIME, at="Mar 9, 2026 6:00 AM"),
    # What cannot be read.
    *[
        Case("json", bad, ("MALFORMED_JSON",))
        for bad in (None, b"", b"[]", b"{", b'{"a":1}{}', b'{"a":1,"a":2}', b"\xff")
    ],
    Case("json", b"{}" + b" " * 1_048_576, ("TOO_LARGE",)),
    Case(
        "json",
        b"{}",
        ("MISSING_FIELD:activityId", "MISSING_FIELD:amountMinor", "MISSING_FIELD:eventTime", "MISSING_FIELD:status"),
    ),
    _csv({}, "R1,12.345,ok,2026-03-09T10:00:00Z"),
    _csv({}, "R1 , 12.345,ok,2026-03-09T10:00:00Z\r\n"),
    _csv({"activityId": 'a,"b"'}, '"a,""b""",12.345,"ok",2026-03-09T10:00:00Z'),
    _csv("MISSING_FIELD:activityId", ",12.345,ok,2026-03-09T10:00:00Z"),
    _csv("MISSING_FIELD:activityId", '"",12.345,ok,2026-03-09T10:00:00Z'),
    _csv("INVALID_FIELD:status", "R1,12.345,OK,2026-03-09T10:00:00Z"),
    *[
        _malformed("csv", bad)
        for bad in (
            b"",
            b"\n",
            b"R1,12.345,ok",
            b"R1,12.345,ok,2026-03-09T10:00:00Z,",
            b"R1,12.345,ok,2026-03-09T10:00:00Z\nR2,1,ok,2026-03-09T10:00:00Z",
            b'R1,12.345,ok,"2026-03-09T10:00:00Z',
            b"R1," + b"x," * 30_000,
            b"R1,12.345,ok\xe9,2026-03-09T10:00:00Z",
        )
    ],
    _avro({}),
    _avro({"activityId": "é"}, ref="é"),
    _avro("INVALID_FIELD:amountMinor", name="float"),
    _avro("MISSING_FIELD:amountMinor", name="float", rate=None),
    _avro("MALFORMED_JSON", cut=1),
    *[_malformed("avro", bad) for bad in (None, b"", b'{"ref":"R1"}', *_BOMBS)],
]
