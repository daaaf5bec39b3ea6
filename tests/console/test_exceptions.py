"""Close, stream and people folded into one state; searches find what they say, in the order they say."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

import polars as pl
import pytest
from deltalake import DeltaTable
from polars.testing import assert_frame_equal

from jobs.common.errors import UserError
from jobs.common.settings import Settings
from jobs.console import actions, exceptions, search
from jobs.console.actions import Action, Request
from jobs.console.exceptions import cube, everything, visible, whole
from jobs.console.ranks import Order, in_order
from jobs.console.search import Query
from jobs.console.tables import Tables
from jobs.console.users import User
from jobs.console.views import query_of
from schemas.tables import TABLES
from tests.cli.lake_rows import put
from tests.console.conftest import settings_of
from tests.console.lake import (
    AT,
    DAY,
    DONE,
    OURS,
    PRICE,
    PROVISIONAL,
    SILENT,
    THEIRS,
    break_of,
    closed,
    streamed,
)

ANN = User(name="ann")
KIND = "STATUS_MISMATCH"


def request(action: Action, number: int = 1, **more: Any) -> Request:
    return Request(action, f"request-{number}", **more)


def row_of(tables: Tables, row: dict[str, Any]) -> dict[str, Any]:
    return everything(tables).row(by_predicate=pl.col("exception_id") == row["exception_id"], named=True)


def act(tables: Tables, row: dict[str, Any], asked: Request) -> int:
    rows = everything(tables).filter(pl.col("exception_id") == row["exception_id"])
    return actions.act(tables, ANN, rows, asked)


NEXT = datetime(2026, 3, 10, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("close", "stream", "state", "verdict"),
    [
        ({"state": "OPEN"}, None, "OPEN", "FINAL"),
        ({"state": "RESOLVED", "resolved_date": DAY}, None, "RESOLVED", "FINAL"),
        (None, {"state": "PENDING"}, "PENDING", "PROVISIONAL"),
        ({"state": "RESOLVED", "resolved_date": DAY}, {"state": "OPEN"}, "RESOLVED", "FINAL"),
        ({"state": "OPEN"}, {"state": "RESOLVED", "resolved_at": AT}, "OPEN", "FINAL"),
        ({"state": "OPEN"}, {"state": "RESOLVED", "resolved_at": NEXT}, "RESOLVED", "FINAL"),
        ({"state": "RESOLVED", "resolved_date": DAY}, {"state": "OPEN", "opened_at": NEXT}, "OPEN", "FINAL"),
    ],
)
def test_the_close_holds_for_its_day_and_the_stream_after_it(
    settings: Settings, close: dict[str, Any] | None, stream: dict[str, Any] | None, state: str, verdict: str
) -> None:
    key = (OURS, "BK-both", KIND)
    if close is not None:
        put(settings, "exceptions", [closed(*key, "HIGH", "1", **close)])
    if stream is not None:
        put(settings, "nrt_exceptions", [streamed(*key, **stream)])
    row = row_of(Tables(settings), break_of(*key))
    assert (row["state"], row["verdict"]) == (state, verdict)


def test_a_feed_that_is_silent_is_one_exception_of_no_activity(tables: Tables) -> None:
    assert row_of(tables, SILENT)["activity_id"] is None
    assert everything(tables)["exception_id"].is_unique().all()


def test_people_acknowledge_assign_resolve_and_reopen(tables: Tables) -> None:
    assert act(tables, PRICE, request(Action.ACKNOWLEDGE)) == 1
    assert act(tables, PRICE, request(Action.ASSIGN, 2, assignee="olga")) == 1
    row = row_of(tables, PRICE)
    assert (row["state"], row["acknowledged"], row["assignee"], row["resolved_by"]) == ("OPEN", True, "olga", None)
    act(tables, PRICE, request(Action.RESOLVE, 3, reason="FALSE_ALARM"))
    row = row_of(tables, PRICE)
    assert (row["state"], row["acknowledged"], row["resolved_by"]) == ("RESOLVED", False, "ann")
    act(tables, PRICE, request(Action.REOPEN, 4))
    row = row_of(tables, PRICE)
    assert (row["state"], row["came_back"], row["assignee"]) == ("OPEN", False, "olga")
    told = actions.history(tables, PRICE["exception_id"])
    assert [one["action"] for one in told] == ["ACKNOWLEDGE", "ASSIGN", "RESOLVE", "REOPEN"]
    assert row_of(tables, DONE)["resolved_by"] == "JOB"


def test_the_same_request_is_written_once(tables: Tables) -> None:
    assert act(tables, PRICE, request(Action.ACKNOWLEDGE)) == 1
    assert act(tables, PRICE, request(Action.ACKNOWLEDGE)) == 0
    assert len(actions.history(tables, PRICE["exception_id"])) == 1


@pytest.mark.parametrize(
    ("change", "came_back"),
    [
        ({}, False),
        ({"last_seen_date": DAY + timedelta(days=1)}, True),
        ({"amount_at_risk_usd": PRICE["amount_at_risk_usd"] + Decimal("0.000001")}, True),
        ({"amount_at_risk_usd": Decimal(1)}, False),
    ],
)
def test_what_a_person_resolved_comes_back_when_it_is_seen_again_or_grows(
    settings: Settings, tables: Tables, change: dict[str, Any], came_back: bool
) -> None:
    act(tables, PRICE, request(Action.RESOLVE, reason="FALSE_ALARM"))
    assert row_of(tables, PRICE)["state"] == "RESOLVED"
    DeltaTable(settings.table_path("exceptions")).delete(f"exception_id = '{PRICE['exception_id']}'")
    put(settings, "exceptions", [{**PRICE, **change}])
    row = row_of(Tables(settings), PRICE)
    assert (row["state"], row["came_back"]) == ("OPEN" if came_back else "RESOLVED", came_back)


def test_what_came_back_can_be_acknowledged_and_resolved_again(settings: Settings, tables: Tables) -> None:
    act(tables, PRICE, request(Action.ACKNOWLEDGE))
    act(tables, PRICE, request(Action.RESOLVE, 2, reason="FALSE_ALARM"))
    DeltaTable(settings.table_path("exceptions")).delete(f"exception_id = '{PRICE['exception_id']}'")
    put(settings, "exceptions", [{**PRICE, "last_seen_date": DAY + timedelta(days=1)}])
    again = Tables(settings)
    assert row_of(again, PRICE)["acknowledged"] is False
    act(again, PRICE, request(Action.ACKNOWLEDGE, 3))
    row = row_of(again, PRICE)
    assert (row["state"], row["came_back"], row["acknowledged"]) == ("OPEN", True, True)
    act(again, PRICE, request(Action.RESOLVE, 4, reason="WRITTEN_OFF"))
    row = row_of(again, PRICE)
    assert (row["state"], row["came_back"], row["acknowledged"]) == ("RESOLVED", False, False)


@pytest.mark.parametrize(("reopened", "came_back"), [(0, False), (1, True)])
def test_what_the_stream_reopens_comes_back(settings: Settings, tables: Tables, reopened: int, came_back: bool) -> None:
    act(tables, PROVISIONAL, request(Action.RESOLVE, reason="FALSE_ALARM"))
    DeltaTable(settings.table_path("nrt_exceptions")).delete(f"exception_id = '{PROVISIONAL['exception_id']}'")
    put(settings, "nrt_exceptions", [{**PROVISIONAL, "reopened": reopened}])
    assert row_of(Tables(settings), PROVISIONAL)["came_back"] is came_back


def test_a_close_that_confirms_what_a_person_resolved_meanwhile_does_not_reopen_it(
    settings: Settings, tables: Tables
) -> None:
    act(tables, PROVISIONAL, request(Action.RESOLVE, reason="FALSE_ALARM"))
    put(settings, "exceptions", [closed(OURS, "BK-9", KIND, "HIGH", "150.25", last_seen_date=DAY)])
    row = row_of(Tables(settings), PROVISIONAL)
    assert (row["state"], row["verdict"]) == ("RESOLVED", "FINAL")


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (request(Action.COMMENT, comment="  "), "says something"),
        (request(Action.RESOLVE, reason="BECAUSE"), "needs a reason"),
        (request(Action.ASSIGN, assignee="nobody-known"), "no user"),
        (request(Action.COMMENT, comment="x" * 2001), "shorten"),
        (replace(request(Action.REOPEN), request_id="x"), "request_id"),
    ],
)
def test_an_action_that_lacks_something_says_so(asked: Request, why: str) -> None:
    with pytest.raises(UserError, match=why):
        asked.checked(["olga"])


def test_the_table_of_actions_is_as_its_schema_says(settings: Settings, tables: Tables) -> None:
    act(tables, PRICE, request(Action.ACKNOWLEDGE))
    table, ours = DeltaTable(settings.table_path("exception_actions")), TABLES["exception_actions"]
    assert table.metadata().configuration["delta.appendOnly"] == "true"
    assert [field.metadata["comment"] for field in table.schema().fields] == [
        field.metadata["comment"] for field in ours.schema.fields
    ]


def ids(rows: pl.DataFrame) -> list[str | None]:
    return rows["activity_id"].to_list()


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        (Query(), {"BK-1", "BK-2", "BK-5", "BK-9", None}),
        (Query(state=[]), {"BK-1", "BK-2", "BK-4", "BK-5", "BK-9", None}),
        (Query(state=["PENDING"]), {"BK-9"}),
        (Query(severity=["CRITICAL"]), {"BK-1"}),
        (Query(type=["PRICE_MISMATCH", "FX_RATE_MISSING"]), {"BK-1", "BK-5"}),
        (Query(verdict="PROVISIONAL"), {"BK-9", None}),
        (Query(q="bk-2"), {"BK-2"}),
        (Query(q=PRICE["exception_id"]), {"BK-1"}),
        (Query(q="%"), set()),
        (Query(supplier=[THEIRS]), set()),
        (Query(age=4), {"BK-1", "BK-2", "BK-5", "BK-9", None}),
        (Query(age=0), set()),
        (Query(assignee="-", acknowledged="no", held="no", severity=["HIGH"]), {"BK-2", "BK-5", "BK-9", None}),
    ],
)
def test_a_search_finds_what_it_says_of_the_users_suppliers(
    tables: Tables, query: Query, wanted: set[str | None]
) -> None:
    rows = visible(tables, User(name="olga", suppliers=(OURS,)))
    assert set(ids(rows[search.found(rows, query)["at"]])) == wanted


def test_pages_follow_each_other_in_order_and_what_has_no_value_is_last(tables: Tables) -> None:
    olga = User(name="olga", suppliers=(OURS,))
    rows = visible(tables, olga)
    hits = search.found(rows, Query())
    pages = [search.answer(tables, olga, one).page(one) for one in (Query(size=2, page=n) for n in (1, 2, 3, 4))]
    assert [page.height for page in pages] == [2, 2, 1, 0]
    assert ids(pl.concat(pages))[0] == "BK-1"
    assert ids(pl.concat(pages))[-1] == "BK-5"
    assert ids(search.ordered(whole(tables), hits, Query(sort="severity")))[0] == "BK-1"
    assert ids(search.ordered(whole(tables), hits, Query(sort="activity_id", order="asc")))[:2] == [
        "BK-1",
        "BK-2",
    ]


def test_an_answer_that_is_kept_is_the_users_own_and_of_now(tables: Tables) -> None:
    olga, later = User(name="olga", suppliers=(OURS,)), AT + timedelta(days=400)
    before = {name: search.answer(tables, user, Query()).total for name, user in (("ann", ANN), ("olga", olga))}
    assert before == {"ann": 7, "olga": 5}
    assert search.answer(tables, olga, Query(age=0), AT + timedelta(minutes=1)).total == 2
    assert search.answer(tables, olga, Query(age=0), later).total == 0
    act(tables, PRICE, request(Action.RESOLVE, reason="FALSE_ALARM"))
    after = {name: search.answer(tables, user, Query()).total for name, user in (("ann", ANN), ("olga", olga))}
    assert after == {"ann": 6, "olga": 4}


def test_a_search_is_a_link_and_a_link_a_search() -> None:
    assert Query().link() == ""
    assert Query(page=7).link(page=8) == "page=8"
    assert Query(state=[], q="a&b").link() == "state=&q=a%26b"
    many = Query(supplier=["S,1", 'a"b', "line\nend", "Ü"], type=["FEED_SILENT"])
    assert query_of(parse_qsl(many.link())) == many
    assert query_of([("supplier", " S-1 , S-2,")]).supplier == ["S-1", "S-2"]


def test_sums_are_exact_and_count_what_has_no_price(tables: Tables) -> None:
    rows = cube(tables).filter(pl.col("supplier_id") == OURS)
    assert rows["amount_at_risk_usd"].sum() == Decimal("1200.505") + 200 + 2 * Decimal("150.25")
    assert rows["unpriced"].sum() == 1


def test_a_table_that_changed_is_seen_soon_and_until_then_what_there_was(settings: Settings, tables: Tables) -> None:
    before = everything(tables).height
    put(settings, "exceptions", [closed(OURS, "BK-new", KIND, "LOW", "1")])
    deadline = time.monotonic() + 20
    while everything(tables).height == before:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert everything(tables).height == before + 1


def after(wanted: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not wanted():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_takes_long_is_not_made_again_with_each_write(
    settings: Settings, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.console.tables._RESTS", 10**6)
    before = everything(tables).height
    put(settings, "exceptions", [closed(OURS, "BK-new-1", KIND, "LOW", "1")])
    after(lambda: everything(tables).height == before + 1)
    put(settings, "exceptions", [closed(OURS, "BK-new-2", KIND, "LOW", "1")])
    assert [everything(tables).height for _ in range(3)] == [before + 1] * 3
    clock = time.monotonic
    monkeypatch.setattr("jobs.console.tables.monotonic", lambda: clock() + 31)
    after(lambda: everything(tables).height == before + 2)


def test_nobody_is_shown_what_is_too_old(settings: Settings, tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    before = everything(tables).height
    put(settings, "exceptions", [closed(OURS, "BK-new-1", KIND, "LOW", "1")])
    clock = time.monotonic
    monkeypatch.setattr("jobs.console.tables.monotonic", lambda: clock() + 3600)
    assert everything(tables).height == before + 1


def slow_until_it_is_asked_for(monkeypatch: pytest.MonkeyPatch, what: str) -> Event:
    """Who folds actions in first goes on when the thread behind looks for what there was.

    That goes on when the event is set that is returned: whoever asked has all orders by then.
    """
    looked, answered, last, folded = Event(), Event(), Tables.last, exceptions._with_actions

    def looks(tables: Tables, name: str) -> object:
        if name != what:
            return last(tables, name)
        looked.set()
        found = last(tables, name)
        assert answered.wait(20)
        return found

    def waits(*given: pl.DataFrame) -> pl.DataFrame:
        assert looked.wait(20)
        return folded(*given)

    monkeypatch.setattr(Tables, "last", looks)
    monkeypatch.setattr("jobs.console.exceptions._with_actions", waits)
    return answered


def test_nobody_waits_for_what_rests_on_a_frame_that_is_made_again(
    settings: Settings, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.console.exceptions.datetime", SimpleNamespace(now=lambda _: AT))  # sums are as of minutes
    asked = [Query(sort="severity"), Query(sort="state", order="asc")]
    for query in asked:
        search.answer(tables, ANN, query)
    before = cube(tables)["exceptions"].sum()
    act(tables, PRICE, request(Action.ACKNOWLEDGE))
    put(settings, "nrt_exceptions", [streamed(OURS, "BK-new", KIND)])
    answered = slow_until_it_is_asked_for(monkeypatch, "exceptions")
    search.answer(tables, ANN, asked[1])
    answered.set()
    after(lambda: bool(tables.last("exceptions of jobs").ahead))

    def refused(*_: Any) -> None:
        raise AssertionError("whoever asks makes it")

    for name in ("exceptions._with_actions", "exceptions._counted", "ranks.Ranks._made"):
        monkeypatch.setattr(f"jobs.console.{name}", refused)
    assert cube(tables)["exceptions"].sum() == before + 1
    for query in asked:
        assert "BK-new" in search.answer(tables, ANN, query).page(query)["activity_id"]


def told(tables: Tables) -> pl.DataFrame:
    """Everything that may not depend on whether it was made anew or patched, ranks too."""
    known = whole(tables)
    orders: tuple[Order, ...] = ("asc", "desc")
    ids = known.rows["exception_id"]
    names = [(column, order) for column in search.SORTS for order in orders]
    ranks = [ids.gather(known.ranks(column).of(column, order)).alias(f"{column} {order}") for column, order in names]
    words = pl.col(pl.Categorical).cast(pl.String)
    return known.rows.drop("row").with_columns(words).sort("exception_id").with_columns(ranks)


def is_newest(tables: Tables) -> bool:
    everything(tables)
    shown = tables.last("exceptions of jobs").tables
    return all(tables.table(name) is table for name, table in shown.items())


def test_what_is_patched_is_what_reading_all_again_gives(
    settings: Settings, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.console.tables._RESTS", 0)
    monkeypatch.setattr("jobs.console.joined._PARTS", 3)
    everything(tables)
    path = settings.table_path("nrt_exceptions")

    def merged() -> None:
        rows = pl.read_delta(path)
        sooner = pl.when(pl.col("activity_id") == "BK-a").then(pl.lit("RESOLVED")).otherwise("state").alias("state")
        rows.with_columns(sooner).write_delta(path, mode="overwrite")

    def gone() -> None:
        DeltaTable(path).delete("activity_id = 'BK-b'")

    steps: list[Callable[[], object]] = [
        lambda: put(settings, "nrt_exceptions", [streamed(OURS, "BK-a", KIND), streamed(THEIRS, "BK-b", KIND)]),
        merged,
        lambda: put(
            settings, "exceptions", [closed(OURS, "BK-a", KIND, "LOW", "1"), closed(OURS, "BK-z", KIND, "HIGH", "9")]
        ),
        lambda: put(settings, "nrt_exceptions", [streamed(OURS, "BK-z", KIND)]),
        gone,
        lambda: DeltaTable(path).optimize.compact(),
    ]
    for step in steps:
        with monkeypatch.context() as only:
            only.setattr("jobs.console.exceptions.rows_of", lambda *_: pytest.fail("everything is read again"))
            step()
            after(lambda: is_newest(tables))
        assert_frame_equal(told(tables), told(Tables(settings)))


@pytest.mark.parametrize(
    "ids",
    [[], ["short", "b"], ["abcdefgh1", "abcdefgh0", "zzzzzzzz", "abcdefgh", "aaaaaaaa", "abcdefgh00"]],
    ids=["none", "short", "alike"],
)
def test_ids_are_ordered_as_texts(ids: list[str]) -> None:
    given = pl.Series(ids, dtype=pl.String)
    assert given.gather(in_order(given)).to_list() == sorted(ids)


def test_an_empty_lake_is_no_error(tmp_path: Path) -> None:
    nothing = Tables(settings_of(tmp_path))
    assert everything(nothing).is_empty()
    assert cube(nothing).is_empty()
