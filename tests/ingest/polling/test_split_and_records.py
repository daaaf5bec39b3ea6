"""Items keep their bytes; the same content has the same id, whatever it looks like."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.ingest.polling.config import SupplierApi
from jobs.ingest.polling.config_parts import PagePaging, SincePaging
from jobs.ingest.polling.failure import PollFailedError
from jobs.ingest.polling.paths import ABSENT, look_up, parse_path, shown_path
from jobs.ingest.polling.records import Item, canonical, to_item
from jobs.ingest.polling.split import Page, load

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def api(**more: Any) -> SupplierApi:
    whole = {"supplier": "SUP-1", "url": "https://a.example", "items": "items", "paging": PagePaging()}
    return SupplierApi(**{**whole, **more})


def item(raw: str | bytes, **more: Any) -> Item:
    return to_item(api(**more), "t", raw.encode() if isinstance(raw, str) else raw)


def event_id(raw: str | bytes, **more: Any) -> str:
    return dict(item(raw, **more).record.headers)["id"].decode()


@settings(max_examples=100, deadline=None)
@given(
    st.lists(JSON, max_size=4), st.dictionaries(st.text(), JSON, max_size=3), st.booleans(), st.sampled_from([None, 1])
)
def test_an_answer_is_taken_apart_and_nothing_is_changed(
    items: list[Any], around: dict[str, Any], ascii_only: bool, indent: int | None
) -> None:
    whole = {**around, "data": {"a": around, "items": items, "z": [1]}, "next": "x"}
    page = Page(
        json.dumps(whole, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass"), ("data", "items")
    )
    assert [json.loads(raw.decode("utf-8", "surrogatepass")) for raw in page] == items
    assert len(page) == len(items)
    assert page.find(("next",)) == "x"
    assert page.find(("data", "items")) == []


def test_items_are_the_bytes_of_the_supplier() -> None:
    first, second = b'{"p" : 1.50,\t"t":"\xc3\xa9\\u00e9"}', b'{"broken":"\xff", "n": NaN}'
    page = Page(b"\xef\xbb\xbf [ " + first + b" ,\r\n" + second + b" ] ", ())
    assert list(page) == [first, second]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"items": [{"a": 1}, {"a"', "not JSON at byte"),
        (b'{"items": [1 2]}', "not JSON at byte"),
        (b'{"items": [1,]}', "not JSON at byte"),
        (b'{"items": [1]} x', "not JSON at byte"),
        (b'{"items": [1], "x": }', "not JSON at byte"),
        (b"<html>secret</html>", "not JSON at byte 0"),
        (b"", "not JSON at byte 0"),
        (b'{"item": []}', "nothing at items"),
        (b"[]", "nothing at items"),
        (b'{"items": {}}', "no list at items"),
        (b'{"items": [], "items": [1]}', "says items twice"),
        (b'{"items": [' + b"[" * 100_000, "nested too deeply"),
        (b'{"items": [' + b"1," * 100_001 + b"1]}", "more than 100,000 items"),
    ],
)
def test_what_is_no_answer_is_said_without_its_text(body: bytes, says: str) -> None:
    with pytest.raises(PollFailedError, match=says) as caught:
        Page(body, ("items",))
    assert "secret" not in str(caught.value)


def test_null_is_an_empty_list() -> None:
    assert len(Page(b'{"items": null, "next": null}', ("items",))) == 0


@pytest.mark.parametrize(
    ("text", "path"),
    [("$", ()), ("$.a.b", ("a", "b")), ('a["x.y"][0].z', ("a", "x.y", 0, "z")), ("[1]", (1,)), ("a b.c", ("a b", "c"))],
)
def test_places(text: str, path: tuple[str | int, ...]) -> None:
    assert parse_path(text) == path
    assert parse_path(shown_path(("a", 1, "b"))) == ("a", 1, "b")


@pytest.mark.parametrize("text", ["", "a..b", ".", "$a", "a[", "a[x]", "a]", 5, None, "a."])
def test_what_is_no_place(text: Any) -> None:
    with pytest.raises(ValueError, match="must be a place in the JSON"):
        parse_path(text)


def test_looking_up() -> None:
    value = {"a": [{"b": None}]}
    assert look_up(value, ("a", 0, "b")) is None
    assert [look_up(value, path) for path in (("b",), ("a", 1), ("a", "b"), ("a", 0, "b", "c"))] == [ABSENT] * 4


def test_the_id_is_that_of_the_content() -> None:
    one = event_id('{"activityId":"B","amount":1.50,"tags":["x",null]}')
    assert one == event_id('{ "tags": ["x", null], "amount": 15e-1, "activityId": "\\u0042" }')
    others = [
        '{"activityId":"B","amount":1.51,"tags":["x",null]}',
        '{"activityId":"B","amount":1.50,"tags":["x"]}',
        '{"activityId":"B","amount":"1.50","tags":["x",null]}',
        '{"activityId":"B","amount":1.50,"tags":["x","null"]}',
        '{"activityId":"B","amount":1.50,"tags":["x",null],"more":null}',
        '{"activityId":"B","amount":1.50,"tags":"x"}',
    ]
    assert len({one, *map(event_id, others)}) == 1 + len(others)
    assert one != event_id('{"activityId":"B","amount":1.50,"tags":["x",null]}', supplier="SUP-2")
    assert len(one) == 64


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        ("1", "1.0", True),
        ("100", "1e2", True),
        ("0", "-0.0", True),
        ("-5", "5", False),
        ("12345678901234567890.1", "12345678901234567890.2", False),
        ("0.1", "0.10000000000000001", False),
        ("1e999999999999999999999", "1", False),
        ('"1"', "1", False),
        ("true", "1", False),
        ('"null"', "null", False),
        ("[1,2]", '["1,2"]', False),
        ("{}", "[]", False),
    ],
)
def test_canonical_content(first: str, second: str, is_same: bool) -> None:
    assert (canonical(load(first.encode())) == canonical(load(second.encode()))) == is_same


def test_the_suppliers_own_event_id_is_used_where_it_has_one() -> None:
    raw = '{"activityId":"B","meta":{"id":"ev-1"}}'
    assert event_id(raw, event_id="meta.id") == "ev-1"
    assert event_id('{"activityId":"B","id":17}', event_id="id") == "17"
    for useless in ('{"activityId":"B"}', '{"id":""}', '{"id":null}', f'{{"id":"{"x" * 129}"}}'):
        assert event_id(useless, event_id="id") == event_id(useless)


def test_what_changes_with_each_reading_is_left_out_of_the_id() -> None:
    one, two = '{"activityId":"B","at":1}', '{"activityId":"B","at":2}'
    assert event_id(one) != event_id(two)
    assert event_id(one, ignore=["at"]) == event_id(two, ignore=["at"])
    assert item(two, ignore=["at"]).record.value == two.encode()


@pytest.mark.parametrize(
    "raw", ["5", "null", '"x"', "[1]", "{}", '{"activityId":null}', '{"activityId":""}', b'{"x":"\xff"}']
)
def test_what_has_no_key_is_a_record_all_the_same(raw: str | bytes) -> None:
    record = item(raw).record
    assert record.key is None
    assert record.value == (raw.encode() if isinstance(raw, str) else raw)
    assert dict(record.headers)["supplierId"] == b"SUP-1"


def test_the_key_is_the_activity() -> None:
    assert item('{"booking":{"no":"é"}}', key="booking.no").record.key == "é".encode()
    assert item('{"activityId":12}').record.key == b"12"


@pytest.mark.parametrize(
    ("written", "time", "seconds"),
    [
        ('"2026-03-09T10:00:00.5Z"', "iso", 1_773_050_400.5),
        ('"2026-03-09T17:00:00+07:00"', "iso", 1_773_050_400),
        ('"2026-03-09T10:00:00"', "iso", None),
        ("1773050400", "epoch_seconds", 1_773_050_400),
        ('"1773050400500"', "epoch_millis", 1_773_050_400.5),
        ("1773050400", "iso", None),
        ('"soon"', "iso", None),
        ("1e30", "epoch_seconds", None),
        ("1e999999", "epoch_seconds", None),
        ("-1e999990", "epoch_millis", None),
        ("1e9999999999", "epoch_millis", None),
        ("1e-999999", "epoch_millis", 0),
        ("NaN", "epoch_millis", None),
        ("null", "iso", None),
        ("true", "epoch_seconds", None),
    ],
)
def test_the_time_of_a_change(written: str, time: str, seconds: float | None) -> None:
    paging = SincePaging.model_validate({"param": "s", "updated": "u", "time": time})
    found = item(f'{{"u":{written}}}', paging=paging).updated
    assert (None if found is None else found.timestamp()) == seconds


@pytest.mark.parametrize(
    ("written", "utc"),
    [
        ("2026-07-01T12:00:00", "2026-07-01T10:00:00+00:00"),
        ("2026-07-01T12:00:00Z", "2026-07-01T12:00:00+00:00"),
        ("2026-10-25T02:30:00", "2026-10-25T00:30:00+00:00"),  # twice: the earlier one
        ("2026-03-29T02:30:00", "2026-03-29T00:30:00+00:00"),  # never: likewise
    ],
)
def test_a_time_by_a_zones_clock_is_the_earlier_one(written: str, utc: str) -> None:
    paging = SincePaging.model_validate({"param": "s", "updated": "u", "zone": "Europe/Berlin"})
    found = item(f'{{"u":"{written}"}}', paging=paging).updated
    assert found is not None
    assert found.isoformat() == utc


def test_a_deep_item_has_an_id_too(tmp_path: Path) -> None:
    deep = "[" * 700 + "]" * 700
    assert event_id(deep) == event_id(deep)
