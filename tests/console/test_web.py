"""Pages and API over HTTP: what they say, and that what belongs to others does not exist."""

import io
import json
import zipfile
from pathlib import Path

import httpx
import pytest

from jobs.common import policies
from jobs.common.settings import Settings
from tests.console.conftest import Ask, sign_in
from tests.console.lake import (
    AT,
    DONE,
    HOSTILE,
    MISSING,
    OURS,
    PRICE,
    PROVISIONAL,
    SCRIPT,
    SECRET,
    SECRETS,
    SILENT,
    THEIRS,
    UNPRICED,
)

PAGES = ("/", "/exceptions", "/exceptions?state=", "/closes", "/closes/2026-03-09-r1", "/quarantine", "/suppliers")
API = tuple(
    f"/api/v1/{name}"
    for name in ("overview", "exceptions?state=OPEN", "closes", "closes/2026-03-09-r1", "quarantine", "suppliers")
)
EXPORTS = ("/export/exceptions.csv?state=", "/api/v1/exceptions.csv")


@pytest.mark.parametrize("path", [*PAGES, *API, *EXPORTS])
def test_a_user_limited_to_suppliers_sees_nothing_of_the_others(ask: Ask, path: str) -> None:
    limited, full = ask("olga", "GET", path), ask("ann", "GET", path)
    assert (limited.status_code, full.status_code) == (200, 200)
    assert [word for word in SECRETS if word in limited.text] == []
    # The sums over all suppliers would tell of the others too.
    told = limited.text.replace("<", " ").split()
    assert not {"6,407.51", "6407.505", "4,711.00", '"4711"'} & set(told)
    if path != "/quarantine":
        assert THEIRS in full.text or "6,407.51" in full.text


@pytest.mark.parametrize("path", [f"/exceptions/{SECRET['exception_id']}", f"/suppliers/{THEIRS}"])
def test_what_belongs_to_others_is_as_absent_as_what_never_was(ask: Ask, path: str) -> None:
    absent = path.rpartition("/")[0] + "/" + "0" * 64
    for prefix in ("", "/api/v1"):
        others, none = ask("olga", "GET", prefix + path), ask("olga", "GET", prefix + absent)
        assert (others.status_code, none.status_code) == (404, 404)
        assert others.text == none.text
        assert ask("ann", "GET", prefix + path).status_code == 200


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


@pytest.mark.parametrize("path", ["/system", "/audit", "/api/v1/system", "/api/v1/audit"])
def test_what_is_about_all_suppliers_is_refused(ask: Ask, path: str) -> None:
    assert ask("olga", "GET", path).status_code == 403
    assert ask("ann", "GET", path).status_code == 200


def test_payloads_and_ids_of_strangers_are_text(ask: Ask) -> None:
    listed = ask("ann", "GET", "/exceptions").text
    assert HOSTILE not in listed
    assert "&lt;script&gt;" in listed
    assert HOSTILE not in ask("ann", "GET", f"/exceptions/{SCRIPT['exception_id']}").text
    page = ask("ann", "GET", f"/exceptions/{PRICE['exception_id']}").text
    assert "from AGODA" in page
    assert "&lt;/pre&gt;&lt;script&gt;alert(2)" in page
    assert HOSTILE not in ask("ann", "GET", f"/exceptions?q={HOSTILE}").text


def test_one_exception_says_why_and_what_would_clear_it(ask: Ask) -> None:
    told = ask("ann", "GET", f"/api/v1/exceptions/{PRICE['exception_id']}").json()
    assert told["explanation"] == "as the close says"
    assert [field["field"] for field in told["fields"] if field["differs"]] == ["amount_minor", "amount_usd"]
    broken = [rule for rule in told["rules"] if rule["broken"]]
    assert [(rule["rule"], rule["margin_text"]) for rule in broken] == [("price", "1188.16 USD over")]
    assert broken[0]["changes"][0] == "SUPPLIER's amount between 1,222.16 USD and 1,246.84 USD"
    assert [(one["source"], one["amount"]) for one in told["deliveries"]] == [
        ("AGODA", "1234.5"),
        ("SUPPLIER", "33.95"),
    ]
    page = ask("ann", "GET", f"/exceptions/{PRICE['exception_id']}").text
    assert "1,200.51" in page
    assert "between 1,222.16 USD and 1,246.84 USD" in page


def test_a_missing_activity_has_candidates_alike_of_the_same_supplier_only(ask: Ask) -> None:
    told = ask("ann", "GET", f"/api/v1/exceptions/{MISSING['exception_id']}").json()
    assert [(one["activity_id"], one["seconds_apart"]) for one in told["candidates"]] == [
        ("BK-2-by-another-name", 1200)
    ]
    assert not any(field["differs"] for field in told["fields"])


def test_a_provisional_exception_is_explained_by_the_streams_verdict(ask: Ask) -> None:
    told = ask("ann", "GET", f"/api/v1/exceptions/{PROVISIONAL['exception_id']}").json()
    assert (told["verdict"], told["explanation"]) == ("PROVISIONAL", "as the stream says")
    assert [rule["rule"] for rule in told["rules"] if rule["broken"]] == ["status"]


@pytest.mark.parametrize("row", [SILENT, UNPRICED, SCRIPT])
def test_exceptions_with_little_to_tell_have_a_page(ask: Ask, row: dict[str, str]) -> None:
    assert ask("ann", "GET", f"/exceptions/{row['exception_id']}").status_code == 200


def test_the_close_balances_and_says_what_it_changed(ask: Ask) -> None:
    told = ask("ann", "GET", "/api/v1/closes/2026-03-09-r1").json()
    assert [(side["side"], side["keys_in"], side["balances"]) for side in told["sides"]] == [
        ("AGODA", 6, True),
        ("SUPPLIER", 6, True),
    ]
    assert [one["activity_id"] for one in told["changes"]] == ["BK-SECRET"]
    assert told["docs"] is False
    limited = ask("olga", "GET", "/api/v1/closes/2026-03-09-r1").json()
    assert [side["keys_in"] for side in limited["sides"]] == [3, 3]
    assert (limited["changes"], limited["facts"], limited["moved_usd"]) == ([], None, None)


def test_a_supplier_without_close_and_exceptions_has_a_scorecard(ask: Ask) -> None:
    cards = {one["supplier_id"]: one for one in ask("ann", "GET", "/api/v1/suppliers").json()}
    assert (cards["SUP-NEW"]["agoda"], cards["SUP-NEW"]["exceptions"]) == (None, 0)
    assert cards[OURS]["exceptions"] == 5
    assert "SUP-NEW" in ask("ann", "GET", "/suppliers").text
    assert ask("ann", "GET", "/suppliers/SUP-NEW").status_code == 200


def test_quarantine_is_whole_and_says_whose_it_is(ask: Ask) -> None:
    told = ask("ann", "GET", "/api/v1/quarantine").json()
    assert {(one["reason"], one["supplier_id"]) for one in told["counts"]} == {
        ("MISSING_FIELD:version", OURS),
        ("TOO_LARGE", THEIRS),
        ("MALFORMED_JSON", None),
    }
    assert any("\\xff{" in one["value_text"] for one in told["records"])
    assert ask("ann", "GET", "/api/v1/quarantine?reason=TOO_LARGE").json()["total"] == 1
    assert ask("ann", "GET", "/api/v1/quarantine?supplier=-").json()["total"] == 1


def test_an_export_holds_the_whole_search_and_nothing_that_runs(ask: Ask) -> None:
    lines = ask("ann", "GET", "/export/exceptions.csv?size=1&severity=CRITICAL").text.splitlines()
    assert len(lines) == 3
    assert f"{PRICE['exception_id']},{OURS},BK-1,PRICE_MISMATCH,OPEN,FINAL,CRITICAL,1200.505000" in lines[2]
    book = ask("ann", "GET", "/export/exceptions.xlsx?size=1")
    with zipfile.ZipFile(io.BytesIO(book.content)) as parts:
        sheet = parts.read("xl/worksheets/sheet1.xml").decode()
    assert sheet.count("<row ") == 8
    assert "<v>1200.505</v>" in sheet
    assert "<f>" not in sheet


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


def test_nothing_tells_how_many_the_others_have(ask: Ask) -> None:
    listed = ask("olga", "GET", "/api/v1/exceptions").json()["exceptions"]
    one = ask("olga", "GET", f"/api/v1/exceptions/{PRICE['exception_id']}").json()
    assert not any("row" in told for told in (*listed, one, *one["others"]))


def test_a_limited_user_is_not_told_when_the_policies_of_others_changed(
    settings: Settings, own: tuple[str, Ask], tmp_path: Path
) -> None:
    _, ask = own
    for number, changed in enumerate((THEIRS, OURS), 1):
        file = tmp_path / f"p{number}.yaml"
        file.write_text(f"version: 1\nsuppliers:\n  {changed}: {{grace: {number * 2}h}}\n")
        policies.apply(settings, file, AT)
    for name, versions in (("ann", [2, 1]), ("olga", [2])):
        told = ask(name, "GET", f"/api/v1/suppliers/{OURS}").json()
        assert [one["policy_version"] for one in told["history"]] == versions


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


def test_the_audit_is_shown_also_after_a_crash_in_the_middle_of_a_line(
    settings: Settings, own: tuple[str, Ask]
) -> None:
    settings.console.audit_file.write_text('{"at": "then", "what": "signed in", "user": "x", "address": "y"}\n{"at": ')
    assert [one["user"] for one in own[1]("ann", "GET", "/api/v1/audit").json()] == ["x"]
    assert own[1]("ann", "GET", "/audit").status_code == 200


@pytest.mark.parametrize(
    ("change", "status"),
    [({"reason": None}, 409), ({"ids": []}, 422), ({"action": "DELETE"}, 422), ({"nonsense": 1}, 422)],
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


def test_the_api_is_described_and_every_path_of_it_needs_somebody(ask: Ask, url: str) -> None:
    described = ask("ann", "GET", "/api/v1/openapi.json").json()["paths"]
    assert {"/api/v1/exceptions", "/api/v1/exceptions/actions", "/api/v1/closes/{close_id}"} <= set(described)
    for path in [*described, "/api/v1/openapi.json"]:
        method = "POST" if path.endswith("/actions") else "GET"
        assert httpx.request(method, url + path, json={}).status_code == 401, path


@pytest.mark.parametrize("path", ["/exceptions?age=99", "/exceptions?sort=nonsense", "/exceptions?page=x"])
def test_a_link_that_is_not_understood_says_which_part(ask: Ask, path: str) -> None:
    page = ask("ann", "GET", path)
    assert page.status_code == 422
    assert path.partition("?")[2].partition("=")[0] in page.text


def test_bulk_by_the_page_needs_the_forms_token(own: tuple[str, Ask]) -> None:
    with httpx.Client(timeout=60, base_url=own[0]) as client:
        sign_in(client, "olga")
        form = {"action": "ACKNOWLEDGE", "request_id": "request-1", "id": PRICE["exception_id"]}
        assert client.post("/exceptions/act", data=form).status_code == 403
        csrf = client.get("/api/v1/me").json()["csrf"]
        done = client.post("/exceptions/act", data={**form, "csrf": csrf, "back": "https://elsewhere.example"})
        assert (done.status_code, done.headers["location"]) == (303, "/?done=1")
        whole = {"action": "ACKNOWLEDGE", "request_id": "request-2", "csrf": csrf, "whole": "yes", "query": "q=BK-2"}
        assert client.post("/exceptions/act", data=whole).headers["location"] == "/exceptions?done=1"


def test_data_docs_are_shown_without_scripts_and_nothing_beside_them(settings: Settings, own: tuple[str, Ask]) -> None:
    _, ask = own
    folder = Path(settings.lake.root) / "_expectations" / "2026-03-09"
    folder.mkdir(parents=True)
    (folder / "index.html").write_text("<script>1</script>expected")
    page = ask("ann", "GET", "/closes/2026-03-09-r1/docs/index.html")
    assert page.text.endswith("expected")
    assert page.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert "/docs/index.html" in ask("ann", "GET", "/closes/2026-03-09-r1").text
    assert ask("olga", "GET", "/closes/2026-03-09-r1/docs/index.html").status_code == 403
    for name in ("..%2F..%2Fgold", "%00", "a%0Ab"):
        assert ask("ann", "GET", f"/closes/2026-03-09-r1/docs/{name}").status_code == 404
