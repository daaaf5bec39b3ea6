"""Acting on exceptions over HTTP: once, by whom may, on what they see."""

import json
import time
from decimal import Decimal

import httpx
import pytest
from deltalake import DeltaTable

from jobs.common.settings import Settings
from tests.cli.lake_rows import put
from tests.console.conftest import Ask, sign_in
from tests.console.lake import DONE, MISSING, OURS, PRICE, SECRET, THEIRS, streamed


def test_an_action_by_the_api_happens_once_and_shows(own: tuple[str, Ask]) -> None:
    _, ask = own
    act = {"action": "RESOLVE", "reason": "FALSE_ALARM", "request_id": "request-1", "ids": [PRICE["exception_id"]]}
    assert ask("olga", "POST", "/api/v1/exceptions/actions", json=act).json() == {"exceptions": 1, "written": 1}
    assert ask("olga", "POST", "/api/v1/exceptions/actions", json=act).json() == {"exceptions": 1, "written": 0}
    assert ask("ann", "GET", "/api/v1/exceptions?q=BK-1").json()["total"] == 0
    told = ask("ann", "GET", "/api/v1/exceptions?q=BK-1&state=RESOLVED").json()["exceptions"]
    assert [one["resolved_by"] for one in told] == ["olga"]
    audit = ask("ann", "GET", "/api/v1/audit").json()
    assert (audit[0]["what"], audit[0]["user"], audit[0]["written"]) == ("acted", "olga", 0)


def test_half_a_character_is_no_reason_to_fail(own: tuple[str, Ask]) -> None:
    _, ask = own
    sent = {"action": "COMMENT", "comment": "a\ud800b", "request_id": "request-1", "ids": [PRICE["exception_id"]]}
    for content, status in ((sent, 200), ({**sent, "ids": ["\ud800"]}, 404)):
        told = ask("ann", "POST", "/api/v1/exceptions/actions", content=json.dumps(content), kind="application/json")
        assert told.status_code == status, told.text
    history = ask("ann", "GET", f"/api/v1/exceptions/{PRICE['exception_id']}").json()["history"]
    assert [one["comment"] for one in history] == ["a?b"]


def test_a_request_id_is_for_one_action(own: tuple[str, Ask]) -> None:
    _, ask = own
    act = {"action": "ACKNOWLEDGE", "request_id": "ticket-4711", "ids": [PRICE["exception_id"]]}
    assert ask("ann", "POST", "/api/v1/exceptions/actions", json=act).json()["written"] == 1
    other = {**act, "action": "RESOLVE", "reason": "FALSE_ALARM"}
    for name, told in (("ann", other), ("olga", act)):
        refused = ask(name, "POST", "/api/v1/exceptions/actions", json=told)
        assert (refused.status_code, "used for another action" in refused.text) == (409, True)
    more = {**act, "ids": [PRICE["exception_id"], MISSING["exception_id"]]}
    assert ask("ann", "POST", "/api/v1/exceptions/actions", json=more).json()["written"] == 1


def test_what_a_job_resolved_only_a_job_reopens(own: tuple[str, Ask]) -> None:
    _, ask = own
    act = {"action": "REOPEN", "request_id": "request-1", "ids": [DONE["exception_id"], PRICE["exception_id"]]}
    refused = ask("ann", "POST", "/api/v1/exceptions/actions", json=act)
    assert (refused.status_code, "resolved 1 of these 2" in refused.text) == (409, True)
    assert ask("ann", "GET", f"/api/v1/exceptions/{PRICE['exception_id']}").json()["history"] == []


@pytest.mark.parametrize(
    ("change", "status"),
    [({"reason": None}, 409), ({"ids": []}, 409), ({"action": "DELETE"}, 422), ({"nonsense": 1}, 422)],
)
def test_an_action_that_is_wrong_is_refused_with_a_sentence(ask: Ask, change: dict[str, object], status: int) -> None:
    act = {"action": "RESOLVE", "reason": "FALSE_ALARM", "request_id": "request-1", "ids": [PRICE["exception_id"]]}
    refused = ask("olga", "POST", "/api/v1/exceptions/actions", json={**act, **change})
    assert refused.status_code == status
    assert isinstance(refused.json()["detail"], str)


def test_viewers_look_only(ask: Ask) -> None:
    act = {"action": "ACKNOWLEDGE", "request_id": "request-1", "ids": [PRICE["exception_id"]]}
    assert ask("vera", "POST", "/api/v1/exceptions/actions", json=act).status_code == 403
    assert "With those ticked" not in ask("vera", "GET", "/exceptions").text
    assert "With those ticked" in ask("olga", "GET", "/exceptions").text


def test_bulk_by_the_page_needs_the_forms_token(own: tuple[str, Ask]) -> None:
    with httpx.Client(timeout=60, base_url=own[0]) as client:
        sign_in(client, "olga")
        form = {"action": "ACKNOWLEDGE", "request_id": "request-1", "id": PRICE["exception_id"]}
        assert client.post("/exceptions/act", data=form).status_code == 403
        csrf = client.get("/api/v1/me").json()["csrf"]
        done = client.post("/exceptions/act", data={**form, "csrf": csrf, "back": "https://elsewhere.example"})
        assert (done.status_code, done.headers["location"]) == (303, "/?done=1")
        whole = {"action": "ACKNOWLEDGE", "request_id": "request-2", "csrf": csrf, "whole": "yes", "query": "q=BK-2"}
        assert client.post("/exceptions/act", data=whole).status_code == 409
        whole["seen"] = client.get("/api/v1/exceptions?q=BK-2").json()["seen"]
        assert f'name="seen" value="{whole["seen"]}"' in client.get("/exceptions?q=BK-2").text
        assert client.post("/exceptions/act", data=whole).headers["location"] == "/exceptions?done=1"


def test_all_found_are_those_that_were_seen(own: tuple[str, Ask], settings: Settings) -> None:
    _, ask = own
    seen = ask("ann", "GET", "/api/v1/exceptions?sort=state").json()
    assert seen["seen"] == ask("ann", "GET", "/api/v1/exceptions?size=1&order=asc").json()["seen"]
    act = {"action": "COMMENT", "comment": "x", "request_id": "request-1", "search": {}, "seen": seen["seen"]}
    put(settings, "nrt_exceptions", [streamed(OURS, "BK-after", "STATUS_MISMATCH")])
    deadline = time.monotonic() + 20
    while ask("ann", "GET", "/api/v1/exceptions").json()["total"] == seen["total"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    refused = ask("ann", "POST", "/api/v1/exceptions/actions", json=act)
    assert refused.status_code == 409
    assert f"than the {seen['total']} that you saw: {seen['total'] + 1}" in refused.json()["detail"]
    assert ask("ann", "GET", f"/api/v1/exceptions/{PRICE['exception_id']}").json()["history"] == []
    again = {**act, "seen": ask("ann", "GET", "/api/v1/exceptions").json()["seen"]}
    assert ask("ann", "POST", "/api/v1/exceptions/actions", json=again).json()["written"] == seen["total"] + 1


def test_nobody_resolves_what_grew_since_they_looked(own: tuple[str, Ask], settings: Settings) -> None:
    url, ask = own
    name = PRICE["exception_id"]
    (listed,) = ask("ann", "GET", "/api/v1/exceptions?q=BK-1").json()["exceptions"]
    act = {"action": "RESOLVE", "reason": "FALSE_ALARM", "ids": [name], "saw": {name: listed["seen"]}}
    form = {"action": "RESOLVE", "reason": "FALSE_ALARM", "id": name, "saw": f"{name}={listed['seen']}"}
    for page in ("/exceptions?q=BK-1", f"/exceptions/{name}"):
        assert f'name="saw" value="{form["saw"]}"' in ask("ann", "GET", page).text
    DeltaTable(settings.table_path("exceptions")).delete(f"exception_id = '{name}'")
    put(settings, "exceptions", [{**PRICE, "amount_at_risk_usd": Decimal(1_200_505)}])
    deadline = time.monotonic() + 20
    while ask("ann", "GET", f"/api/v1/exceptions/{name}").json()["amount_at_risk_usd"] != "1200505":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    refused = ask("ann", "POST", "/api/v1/exceptions/actions", json={**act, "request_id": "request-1"})
    assert (refused.status_code, "BK-1" in refused.json()["detail"]) == (409, True)
    with httpx.Client(timeout=60, base_url=url) as client:
        sign_in(client, "olga")
        form |= {"request_id": "request-2", "csrf": client.get("/api/v1/me").json()["csrf"]}
        assert client.post("/exceptions/act", data=form).status_code == 409
    told = ask("ann", "GET", f"/api/v1/exceptions/{name}").json()
    assert (told["state"], told["history"]) == ("OPEN", [])
    again = {**act, "request_id": "request-3", "saw": {name: told["seen"]}}
    assert ask("ann", "POST", "/api/v1/exceptions/actions", json=again).json()["written"] == 1
    assert ask("ann", "POST", "/api/v1/exceptions/actions", json=again).json()["written"] == 0


def test_others_exceptions_cannot_be_acted_on_nor_found(own: tuple[str, Ask]) -> None:
    _, ask = own
    act = {
        "action": "COMMENT",
        "comment": "x",
        "request_id": "request-1",
        "ids": [PRICE["exception_id"], SECRET["exception_id"]],
    }
    refused = ask("olga", "POST", "/api/v1/exceptions/actions", json=act)
    assert refused.status_code == 404
    assert ask("ann", "GET", f"/api/v1/exceptions/{PRICE['exception_id']}").json()["history"] == []
    whole = {**act, "ids": [], "search": {"state": []}}
    assert ask("olga", "POST", "/api/v1/exceptions/actions", json=whole).json() == {"exceptions": 6, "written": 6}
    assert ask("ann", "GET", f"/api/v1/exceptions/{SECRET['exception_id']}").json()["history"] == []
    assert ask("olga", "GET", f"/api/v1/exceptions?supplier={THEIRS}").json()["total"] == 0
