"""Each way of paging, on lists that grow, change and shift while they are read: what was there is in the topic."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from jobs.ingest.polling.circuit import CircuitState
from jobs.ingest.polling.config_parts import SincePaging
from jobs.ingest.polling.poller import Poller
from jobs.ingest.polling.walk_pages import told as told_time
from tests.ingest.polling.servers import says, server
from tests.ingest.polling.support import Rig, row

CURSOR = {"kind": "cursor", "param": "after", "next": "next"}
SINCE = {"kind": "updated_since", "param": "since", "updated": "at"}
TOKEN = {"token_param": "token", "next": "next"}
PAGES = {"kind": "page", "page_param": "page"}


def serve(httpserver: HTTPServer, answer: Callable[[Request], Any]) -> str:
    """The address at which `answer` answers, as JSON."""
    return serve_at(httpserver, "/x", answer)


def serve_at(httpserver: HTTPServer, path: str, answer: Callable[[Request], Any]) -> str:
    def respond(request: Request) -> Response:
        said = answer(request)
        return said if isinstance(said, Response) else Response(json.dumps(said))

    httpserver.expect_request(path).respond_with_handler(respond)
    return httpserver.url_for(path)


def why(poller: Poller) -> str | None:
    """One poll, and why it failed."""
    return poller.poll_once().why


def state(rig: Rig) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(rig.settings.poll.state) / "SUP-1.json").read_text())
    return found


class Feed:
    """Rows in the order of their places, some not committed yet; a cursor is the place of the last row given."""

    def __init__(self, rows: int) -> None:
        self.rows = list(range(1, rows + 1))
        self.hidden: set[int] = set()
        self.asked: list[int] = []

    def answer(self, request: Request) -> Any:
        after = int(request.args.get("after", 0))
        self.asked.append(after)
        found = [n for n in self.rows if n > after and n not in self.hidden][:3]
        return {"items": [row(n) for n in found], "next": str(found[-1] if found else after)}


def test_a_feed_is_read_to_its_end_and_on_from_there(rig: Rig, httpserver: HTTPServer) -> None:
    feed = Feed(7)
    url = serve(httpserver, feed.answer)
    assert rig.poll(url, paging=CURSOR, overlap="0s").why is None
    assert (rig.numbers(), feed.asked) == ([1, 2, 3, 4, 5, 6, 7], [0, 3, 6, 7])
    feed.rows += [8]
    assert rig.poll(url, paging=CURSOR, overlap="0s").why is None
    assert (rig.numbers()[-1], feed.asked[4:]) == (8, [7, 8])


def test_a_row_committed_late_is_read_in_the_overlap(rig: Rig, httpserver: HTTPServer) -> None:
    feed = Feed(7)
    feed.hidden = {2}
    url = serve(httpserver, feed.answer)
    rig.poll(url, paging=CURSOR)
    assert rig.numbers() == [1, 3, 4, 5, 6, 7]
    feed.hidden = set()
    outcome = rig.poll(url, paging=CURSOR)
    # Another process: it has forgotten what was sent, and the repeats have the ids they had.
    assert (outcome.why, outcome.tally.published) == (None, 7)
    assert len({record.id for record in rig.published()}) == 7


def test_the_overlap_begins_at_the_cursor_of_that_time(
    rig: Rig, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = Feed(0)
    now = [1_000_000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    poller = rig.poller(serve(httpserver, feed.answer), paging=CURSOR, overlap="5m")
    for minute in range(30):
        now[0] += 60
        feed.rows.append(minute + 1)
        # A row whose place was given four minutes ago is committed just now.
        feed.hidden = {n for n in feed.rows if n % 7 == 0 and n > minute - 3}
        feed.asked.clear()
        assert why(poller) is None
    # No more is read again than the overlap, an interval, and the tenth to which cursors are remembered.
    assert minute - 8 <= feed.asked[0] <= minute - 5
    feed.hidden = set()
    assert why(poller) is None
    assert rig.numbers() == list(range(1, 31))
    assert len(state(rig)["tips"]) <= 12


def test_a_walk_that_failed_goes_on_where_it_was(rig: Rig, httpserver: HTTPServer) -> None:
    feed = Feed(9)
    fails = [True]
    url = serve(
        httpserver,
        lambda request: Response("", 404) if request.args.get("after") == "6" and fails[0] else feed.answer(request),
    )
    said = rig.poll(url, paging=CURSOR).why
    assert "may no longer know the place" in str(said)
    assert "reco poll --supplier SUP-1 --reset-to start" in str(said)
    assert rig.numbers() == [1, 2, 3, 4, 5, 6]
    fails[0] = False
    assert rig.poll(url, paging=CURSOR).why is None
    # The broken walk from 6 to its end, and since it was broken one more: what came late behind it is seen as well.
    assert (set(rig.numbers()), feed.asked) == (set(range(1, 10)), [0, 3, 6, 9, 0, 3, 6, 9])


def test_a_row_committed_late_behind_a_broken_walk_is_read(rig: Rig, httpserver: HTTPServer) -> None:
    feed = Feed(9)
    feed.hidden = {2}
    breaks = [True]
    url = serve(
        httpserver,
        lambda request: Response("", 403) if request.args.get("after") == "7" and breaks[0] else feed.answer(request),
    )
    assert "403" in str(rig.poll(url, paging=CURSOR).why)
    feed.hidden, breaks[0] = set(), False
    outcome = rig.poll(url, paging=CURSOR)
    assert (outcome.why, outcome.is_end) == (None, True)
    assert set(rig.numbers()) == set(range(1, 10))


@pytest.mark.parametrize(
    ("answer", "more", "said"),
    [
        ({"items": [row(1)]}, {}, "nothing at next"),
        ({"items": [row(1)], "next": {"a": 1}}, {}, "neither text nor a number"),
        ({"items": [row(1)], "next": True}, {}, "neither text nor a number"),
        ({"items": [row(1)], "next": None, "more": True}, {"more": "more"}, "says that there is more, and not where"),
        ({"items": [row(1)], "next": "2", "more": "yes"}, {"more": "more"}, "does not say true or false"),
    ],
)
def test_a_cursor_that_cannot_be_followed(
    rig: Rig, httpserver: HTTPServer, answer: Any, more: dict[str, str], said: str
) -> None:
    poller = rig.poller(serve(httpserver, lambda _: answer), paging={**CURSOR, **more})
    assert said in str(why(poller))
    assert poller.circuit.state is CircuitState.OPEN


@pytest.mark.parametrize(
    ("answer", "more"),
    [
        ({"items": [row(1)], "next": None}, {}),
        ({"items": [row(1)]}, {"next_optional": True}),
        ({"items": [row(1)], "next": 5, "more": False}, {"more": "more"}),
        ({"items": [], "next": "other"}, {}),
    ],
)
def test_the_end_of_a_feed(rig: Rig, httpserver: HTTPServer, answer: Any, more: dict[str, Any]) -> None:
    assert rig.poll(serve(httpserver, lambda _: answer), paging={**CURSOR, **more}).why is None
    assert len(httpserver.log) == 1


def test_no_content_is_the_end(rig: Rig, httpserver: HTTPServer) -> None:
    assert rig.poll(serve(httpserver, lambda _: Response("", 204)), paging=CURSOR).why is None


def test_cursors_that_go_in_a_circle_end(rig: Rig, httpserver: HTTPServer) -> None:
    circle = {None: "a", "a": "b", "b": "a"}
    url = serve(httpserver, lambda request: {"items": [row(1)], "next": circle[request.args.get("after")]})
    assert "go in a circle" in str(rig.poll(url, paging=CURSOR).why)


def test_a_server_that_does_not_know_the_cursor_is_found_out_each_time(rig: Rig, httpserver: HTTPServer) -> None:
    url = serve(httpserver, lambda _request: {"items": [row(1), row(2)], "next": "c1"})
    for _ in range(2):
        assert "does it know paging.param" in str(rig.poll(url, paging=CURSOR).why)
    assert rig.numbers() == [1, 1, 2, 2]


def test_a_page_that_comes_for_ever_under_new_cursors_ends(rig: Rig, httpserver: HTTPServer) -> None:
    url = serve(httpserver, lambda r: {"items": [row(1)], "next": str(int(r.args.get("after", 0)) + 1)})
    outcome = rig.poll(url, paging=CURSOR)
    assert "pages in a row are the same" in str(outcome.why)
    assert outcome.tally.pages < 50


def test_a_feed_whose_end_is_its_last_row_again_is_no_mistake(rig: Rig, httpserver: HTTPServer) -> None:
    rows = ["1", "2", "3"]

    def answer(request: Request) -> Any:
        after = rows.index(request.args.get("after", "1"))
        return {"items": [row(int(n)) for n in rows[after : after + 2]], "next": rows[after : after + 2][-1]}

    url = serve(httpserver, answer)
    assert rig.poll(url, paging=CURSOR, overlap="0s").why is None
    assert rig.poll(url, paging=CURSOR, overlap="0s").why is None
    assert set(rig.numbers()) == {1, 2, 3}


def test_more_pages_than_max_pages_are_read_by_the_next_poll(rig: Rig, httpserver: HTTPServer) -> None:
    poller = rig.poller(serve(httpserver, Feed(9).answer), paging=CURSOR, max_pages=2)
    first = poller.poll_once()
    assert (first.is_end, first.why, poller.circuit.wait) == (False, None, 0)
    outcome = poller.run_to_end()
    assert outcome is not None
    assert outcome.is_end
    assert rig.numbers() == list(range(1, 10))


def at(minutes: float) -> str:
    return (datetime(2026, 3, 9, 10, tzinfo=UTC) + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")


def test_since_goes_on_from_the_greatest_time_less_the_overlap(rig: Rig, httpserver: HTTPServer) -> None:
    asked: list[str | None] = []
    rows = [row(1, at=at(0)), row(2, at=at(30.5)), row(3, at=at(7)), row(4), row(5, at="2099-01-01T00:00:00Z")]

    def answer(request: Request) -> Any:
        asked.append(request.args.get("since"))
        return {"items": rows}

    poller = rig.poller(serve(httpserver, answer), paging={**SINCE, "start": at(-60)}, overlap="10m")
    assert why(poller) is None
    del rows[4]
    began = datetime.now(UTC)
    assert why(poller) is None
    # A time of the future moves it no further than to the beginning of the poll.
    assert asked[0] == at(-60).replace("Z", ".000Z")
    assert timedelta(0) <= began - datetime.fromisoformat(str(asked[1])) - timedelta(minutes=10) < timedelta(seconds=20)


def test_time_moves_no_further_than_the_suppliers_own_clock(rig: Rig) -> None:
    body = json.dumps({"items": [row(1, at="2026-03-09T12:00:00Z")]}).encode()
    with server(says(b"HTTP/1.1 200 OK\r\ndate: Mon, 09 Mar 2026 11:00:00 GMT\r\n\r\n" + body)) as url:
        assert rig.poll(url, paging=SINCE).why is None
    assert state(rig)["high"] == datetime(2026, 3, 9, 11, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("time", "told"),
    [
        ("iso", "2026-03-09T10:00:00.123Z"),
        ("iso_seconds", "2026-03-09T10:00:00Z"),
        ("epoch_seconds", "1773050400"),
        ("epoch_millis", "1773050400123"),
    ],
)
def test_times_are_rounded_down(time: str, told: str) -> None:
    paging = SincePaging.model_validate({"param": "s", "updated": "u", "time": time})
    moment = datetime(2026, 3, 9, 10, 0, 0, 123_999, tzinfo=UTC).timestamp()
    assert told_time(moment, paging) == told


@pytest.mark.parametrize(
    ("moment", "told"),
    [
        ("2026-07-01T00:00:00+00:00", "2026-07-01T02:00:00.000"),
        ("2026-10-24T21:59:00+00:00", "2026-10-24T23:59:00.000"),
        ("2026-10-25T00:50:00+00:00", "2026-10-25T01:50:00.000"),  # 02:50 of the first round
        ("2026-10-25T01:00:00+00:00", "2026-10-25T02:00:00.000"),
        ("2026-10-25T01:50:00+00:00", "2026-10-25T02:50:00.000"),
        ("2026-03-29T00:59:00+00:00", "2026-03-29T01:59:00.000"),
    ],
)
def test_a_zone_is_asked_by_its_clock_early_enough_for_the_repeated_hour(moment: str, told: str) -> None:
    paging = SincePaging.model_validate({"param": "s", "updated": "u", "zone": "Europe/Berlin"})
    assert told_time(datetime.fromisoformat(moment).timestamp(), paging) == told


@pytest.mark.long
def test_nothing_is_skipped_in_the_hour_that_a_clock_shows_twice(
    rig: Rig, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [datetime(2026, 10, 25, 0, 0, tzinfo=UTC)]
    monkeypatch.setattr(time, "time", lambda: now[0].timestamp())
    berlin, made = ZoneInfo("Europe/Berlin"), dict[int, str]()

    def answer(request: Request) -> Any:
        since = request.args.get("since", "")
        return {"items": [row(number, at=at) for number, at in made.items() if at >= since]}

    poller = rig.poller(serve(httpserver, answer), paging={**SINCE, "zone": "Europe/Berlin"}, overlap="1m")
    for number in range(18):
        now[0] += timedelta(minutes=10)
        made[number] = now[0].astimezone(berlin).replace(tzinfo=None).isoformat(timespec="milliseconds")
        assert why(poller) is None
        assert set(rig.numbers()) == set(range(number + 1)), made[number]


def test_times_without_an_offset_need_a_zone(rig: Rig, httpserver: HTTPServer) -> None:
    url = serve(httpserver, lambda _: {"items": [row(1, at="2026-03-09T10:00:00")]})
    assert "only where paging.zone says whose" in str(rig.poll(url, paging=SINCE).why)
    assert rig.numbers() == [1]


def test_items_without_a_time_are_a_mistake_in_the_file(rig: Rig, httpserver: HTTPServer) -> None:
    url = serve(httpserver, lambda _: {"items": [row(1), row(2, at="noon")]})
    for paging in (SINCE, {**SINCE, "order": "ascending", "size": 9}):
        assert "None of its items says a time at at" in str(rig.poll(url, paging=paging).why)
    assert set(rig.numbers()) == {1, 2}
    assert not (Path(rig.settings.poll.state) / "SUP-1.json").exists()


class Table:
    """Rows with the time of their last change; gives those since a time, oldest first, so many at most."""

    def __init__(self, times: dict[int, float], *, exclusive: bool = False) -> None:
        self.times, self.exclusive = times, exclusive
        self.asked = 0

    def answer(self, request: Request) -> Any:
        self.asked += 1
        since = request.args.get("since", at(-1e5))
        found = [
            row(n, at=at(minutes))
            for n, minutes in sorted(self.times.items(), key=lambda item: (item[1], item[0]))
            if at(minutes) > since.replace(".000Z", "Z")
            or (at(minutes) == since.replace(".000Z", "Z") and not self.exclusive)
        ]
        size = int(request.args["n"])
        start = size * (int(request.args.get("page", 1)) - 1)
        return {"items": found[start : start + size]}


@pytest.mark.parametrize("exclusive", [False, True])
def test_the_time_alone_leads_through_an_ascending_list(rig: Rig, httpserver: HTTPServer, exclusive: bool) -> None:
    table = Table({n: n // 3 for n in range(20)}, exclusive=exclusive)
    paging = {**SINCE, "order": "ascending", "size_param": "n", "size": 5, "time": "iso_seconds"}
    assert rig.poll(serve(httpserver, table.answer), paging=paging).why is None
    assert sorted(set(rig.numbers())) == list(range(20))


def test_more_rows_of_one_time_than_an_answer_holds_are_not_passed_over(rig: Rig, httpserver: HTTPServer) -> None:
    table = Table({n: 5 if 3 <= n < 9 else n for n in range(12)})
    url = serve(httpserver, table.answer)
    sized = {**SINCE, "size_param": "n", "size": 4}
    poller = rig.poller(url, paging={**sized, "order": "ascending", "time": "iso_seconds"})
    assert "bear one time, which leads no further" in str(why(poller))
    assert poller.circuit.state is CircuitState.OPEN
    assert rig.poll(url, paging={**sized, "page_param": "page"}).why is None
    assert sorted(set(rig.numbers())) == list(range(12))


def test_an_answer_that_is_full_is_not_taken_for_the_whole(rig: Rig, httpserver: HTTPServer) -> None:
    table = Table({n: n for n in range(4)})
    assert "is full (4 items)" in str(
        rig.poll(serve(httpserver, table.answer), paging={**SINCE, "size_param": "n", "size": 4}).why
    )
    assert not (Path(rig.settings.poll.state) / "SUP-1.json").exists()


def test_tokens_lead_from_page_to_page(rig: Rig, httpserver: HTTPServer) -> None:
    pages = {None: ([1, 2], "t1"), "t1": ([3], "t2"), "t2": ([], "t3"), "t3": ([4], None)}

    def answer(request: Request) -> Any:
        numbers, token = pages[request.args.get("token")]
        return {"items": [row(n, at=at(n)) for n in numbers], "next": token}

    url = serve(httpserver, answer)
    assert rig.poll(url, paging={**SINCE, **TOKEN}).why is None
    assert rig.numbers() == [1, 2, 3, 4]
    gone = serve_at(httpserver, "/y", lambda _: {"items": [row(1)]})
    assert "nothing at next (paging.next)" in str(rig.poll(gone, "SUP-3", paging={"kind": "page", **TOKEN}).why)
    assert rig.poll(gone, "SUP-3", paging={"kind": "page", **TOKEN, "next_optional": True}).why is None
    pages["t3"] = ([4], "t1")
    assert "tokens go in a circle" in str(rig.poll(url, "SUP-2", paging={"kind": "page", **TOKEN}).why)


@pytest.mark.parametrize("more", [{}, {"more": "more"}])
def test_pages_are_read_to_the_last(rig: Rig, httpserver: HTTPServer, more: dict[str, str]) -> None:
    def answer(request: Request) -> Any:
        first = 2 * int(request.args["page"])
        return {"items": [row(n) for n in range(first, first + 2) if n < 5], "more": first < 4}

    outcome = rig.poll(serve(httpserver, answer), paging={**PAGES, "first_page": 0, **more})
    assert (outcome.why, rig.numbers()) == (None, [0, 1, 2, 3, 4])
    assert len(httpserver.log) == 2 * (3 if more else 4)  # read twice, to see that nothing shifted


def test_pages_that_shift_are_read_again_until_they_are_still(rig: Rig, httpserver: HTTPServer) -> None:
    rows = list(range(12))
    gone: list[int] = []

    def answer(request: Request) -> Any:
        page = int(request.args["page"])
        if page > 1 and rows[0] < 2:
            # What was on the first page is changed and leaves it: a row slips from page 2 onto page 1, unread.
            gone.append(rows.pop(0))
        return {"items": [row(n) for n in rows[(page - 1) * 3 : page * 3]]}

    assert rig.poll(serve(httpserver, answer), paging=PAGES).why is None
    assert gone == [0, 1]
    assert rig.numbers() == list(range(12))


def test_pages_that_never_rest_fail_the_poll_and_do_not_move_the_time(rig: Rig, httpserver: HTTPServer) -> None:
    rows = list(range(500))

    def answer(request: Request) -> Any:
        page = int(request.args["page"])
        if page == 2:
            rows.pop(0)
        return {"items": [row(n, at=at(n)) for n in rows[(page - 1) * 300 : page * 300]]}

    outcome = rig.poll(serve(httpserver, answer), paging={**SINCE, "page_param": "page"})
    assert "pages changed while they were read, 6 times over" in str(outcome.why)
    assert not (Path(rig.settings.poll.state) / "SUP-1.json").exists()


def test_a_server_that_does_not_know_the_page_is_found_out(rig: Rig, httpserver: HTTPServer) -> None:
    assert "are the same" in str(rig.poll(serve(httpserver, lambda _: {"items": [row(1)]}), paging=PAGES).why)


def test_more_pages_than_max_pages_of_a_list_are_said(rig: Rig, httpserver: HTTPServer) -> None:
    url = serve(httpserver, lambda request: {"items": [row(int(request.args["page"]))]})
    assert "more than 5 pages (max_pages)" in str(rig.poll(url, paging=PAGES, max_pages=5).why)


def test_what_is_unchanged_is_sent_once_and_what_is_changed_again(rig: Rig, httpserver: HTTPServer) -> None:
    rows = [row(1), row(2)]
    poller = rig.poller(serve(httpserver, lambda _: {"items": rows}))
    assert poller.poll_once().tally.published == 2
    rows[1] = row(2, status="PAID")
    tally = poller.poll_once().tally
    assert (tally.published, tally.unchanged) == (1, 1)
    assert rig.numbers() == [1, 2, 2]
    assert len({record.id for record in rig.published()}) == 3


def test_little_is_remembered(rig: Rig, httpserver: HTTPServer) -> None:
    poller = rig.poller(serve(httpserver, lambda _: {"items": [row(n) for n in range(5)]}), remember=2)
    assert [poller.poll_once().tally.published for _ in range(2)] == [5, 3]


def test_what_the_broker_does_not_take_is_kept(rig: Rig, httpserver: HTTPServer) -> None:
    large = row(1, text="x" * 1_100_000)
    body = json.dumps({"items": [row(0), large, row(2)]})
    httpserver.expect_request("/x").respond_with_data(body)
    for _ in range(2):
        outcome = rig.poll(httpserver.url_for("/x"))
        assert (outcome.why, outcome.tally.published, outcome.tally.refused) == (None, 2, 1)
    kept = list((Path(rig.settings.poll.state) / "SUP-1.refused").glob("*.json"))
    assert [json.loads(file.read_text()) for file in kept] == [large]
    assert "too large" in kept[0].with_suffix(".why").read_text()
    assert sorted(set(rig.numbers())) == [0, 2]


def test_where_the_topic_is_gone_nothing_is_passed_over(rig: Rig, httpserver: HTTPServer) -> None:
    rig.settings = rig.settings.model_copy(
        update={"topics": rig.settings.topics.model_copy(update={"supplier_raw": "no topic"})}
    )
    said = rig.poll(serve(httpserver, Feed(3).answer), paging=CURSOR).why
    assert "The broker refuses records of no topic" in str(said)
    assert not (Path(rig.settings.poll.state) / "SUP-1.json").exists()


def test_a_place_in_another_api_is_not_gone_on_from(rig: Rig, httpserver: HTTPServer) -> None:
    url = serve(httpserver, Feed(3).answer)
    assert rig.poll(url, paging=CURSOR).why is None
    said = rig.poll(httpserver.url_for("/other"), paging=CURSOR).why
    assert "was read by cursor" in str(said)
    assert "--reset-to start" in str(said)
    (Path(rig.settings.poll.state) / "SUP-1.json").write_text("{")
    assert "cannot be read (JSONDecodeError)" in str(rig.poll(url, paging=CURSOR).why)
