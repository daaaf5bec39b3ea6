"""A lake that is broken, or replaced while it is looked at: a designed page, and the truth once it is there."""

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from jobs.common.settings import Settings
from jobs.console import actions
from jobs.console.exceptions import everything
from jobs.console.tables import Tables
from jobs.console.users import User
from tests.cli.lake_rows import put
from tests.console.conftest import Ask, asking, make_users, serving, settings_of, sign_in
from tests.console.lake import MISSING, OURS, PRICE, small_lake
from tests.console.test_exceptions import act, request

PATHS = ("/", "/exceptions", f"/exceptions/{PRICE['exception_id']}", "/closes", "/quarantine", "/suppliers", "/system")


def vacuumed(table: Path) -> None:
    for file in table.rglob("*.parquet"):
        file.unlink()


def torn(table: Path) -> None:
    """A commit that was cut, as on a disk that is full."""
    commit = max(table.glob("_delta_log/*.json"))
    commit.write_text(commit.read_text()[:40])


def no_longer_a_table(table: Path) -> None:
    for file in table.glob("_delta_log/*"):
        file.write_bytes(b"\xff\x00")


@pytest.mark.parametrize("fault", [vacuumed, torn, no_longer_a_table])
def test_a_lake_that_cannot_be_read_gives_a_page_that_says_so(tmp_path: Path, fault: Callable[[Path], None]) -> None:
    settings = settings_of(tmp_path)
    small_lake(settings)
    for folder in ("gold", "silver", "bronze"):
        for table in (Path(settings.lake.root) / folder).iterdir():
            fault(table)
    tokens = make_users(settings)
    with serving(settings) as url, asking(url, tokens) as ask:
        for path in PATHS:
            page, told = ask("ann", "GET", path), ask("ann", "GET", f"/api/v1{path if path != '/' else '/overview'}")
            assert page.status_code in (200, 503), (path, page.text)
            assert told.status_code == page.status_code
            assert "Traceback" not in page.text + told.text
            if page.status_code == 503:
                assert "Try again in a moment" in page.text
                assert isinstance(told.json()["detail"], str)
                assert page.headers["content-security-policy"]
        assert ask("ann", "GET", "/exceptions").status_code == 503
        assert ask("ann", "GET", "/api/v1/me").status_code == 200


def test_tables_that_are_not_there_are_no_fault(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    tokens = make_users(settings)
    with serving(settings) as url, asking(url, tokens) as ask:
        for path in PATHS:
            assert ask("ann", "GET", path).status_code == (404 if "exceptions/" in path else 200), path
        for name in ("csv", "xlsx"):
            assert ask("ann", "GET", f"/export/exceptions.{name}").status_code == 200


def test_another_table_in_its_place_at_the_same_version_is_seen(settings: Settings) -> None:
    tables, path = Tables(settings), Path(settings.table_path("exception_actions"))
    act(tables, PRICE, request(actions.Action.ACKNOWLEDGE))
    assert everything(tables)["acknowledged"].sum() == 1
    shutil.rmtree(path)
    act(Tables(settings), MISSING, request(actions.Action.RESOLVE, 2, reason="FALSE_ALARM"))
    rows = everything(tables)
    assert rows["acknowledged"].sum() == 0
    assert rows["resolved_by"].to_list().count("ann") == 1


def test_two_consoles_and_many_hands_lose_no_action(settings: Settings) -> None:
    def acts(number: int, tables: Tables) -> None:
        row = everything(tables).filter(everything(tables)["exception_id"] == PRICE["exception_id"])
        actions.act(tables, User(name=f"u{number}"), row, request(actions.Action.COMMENT, number, comment="c"))

    both = [Tables(settings), Tables(settings)]
    hands = [threading.Thread(target=acts, args=(number, both[number % 2])) for number in range(8)]
    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join()
    told = actions.history(Tables(settings), PRICE["exception_id"])
    assert sorted(one["acted_by"] for one in told) == [f"u{number}" for number in range(8)]


def test_a_users_file_that_cannot_be_read_tells_strangers_nothing(settings: Settings, own: tuple[str, Ask]) -> None:
    url, _ = own
    with httpx.Client(timeout=60, base_url=url) as client:
        sign_in(client, "ann")
        settings.console.users_file.write_text("users: {secret-name: {role: king}}\n")
        for path in ("/", "/sign-in", "/api/v1/me"):
            told = client.get(path)
            assert (told.status_code, "cannot read who may use it" in told.text) == (503, True)
            assert "secret-name" not in told.text
            assert str(settings.console.users_file) not in told.text


def test_a_write_that_fails_says_that_nothing_was_done(settings: Settings, own: tuple[str, Ask]) -> None:
    _, ask = own
    place = Path(settings.table_path("exception_actions"))
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("not a folder")
    told = {"action": "ACKNOWLEDGE", "request_id": "request-1", "ids": [PRICE["exception_id"]]}
    refused = ask("ann", "POST", "/api/v1/exceptions/actions", json=told)
    assert refused.status_code == 503
    assert "exception_actions" in refused.json()["detail"]
    place.unlink()
    assert ask("ann", "POST", "/api/v1/exceptions/actions", json=told).json()["written"] == 1
    put(settings, "exceptions", [{**MISSING, "activity_id": "BK-more", "exception_id": "f" * 64}])
    assert ask("olga", "GET", f"/suppliers/{OURS}").status_code == 200
