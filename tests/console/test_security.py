"""Who gets in, by which way, and what every answer carries."""

import http.client
import json
import stat
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from typer.testing import CliRunner

from jobs.common.errors import UserError
from jobs.common.settings import Settings
from jobs.console.app import create_app
from jobs.console.main import app
from jobs.console.sign_in import safe_target
from jobs.console.users import Role, User, Users, add_user
from tests.console.conftest import PASSWORD, Ask, make_users, serving, settings_of, sign_in


def test_nobody_sees_anything_without_signing_in(url: str) -> None:
    for path in ("/", "/exceptions", "/closes", "/export/exceptions.csv", "/system"):
        answer = httpx.get(url + path)
        assert (answer.status_code, answer.headers["location"]) == (303, f"/sign-in?next={path}")
    view = httpx.get(url + "/exceptions?severity=HIGH&q=a%26b", follow_redirects=True)
    assert 'name="next" value="/exceptions?severity=HIGH&amp;q=a%26b"' in view.text
    assert httpx.get(url + "/exceptions", headers={"HX-Request": "true"}).headers["hx-redirect"] == "/sign-in"
    assert httpx.get(url + "/api/v1/me", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert httpx.get(url + "/api/v1/me", headers={"X-Forwarded-User": "ann"}).status_code == 401
    assert httpx.get(url + "/api/v1/me", cookies={"reco_session": "forged"}).status_code == 401


def test_a_session_begins_ends_and_cannot_be_used_after_it(url: str) -> None:
    with httpx.Client(timeout=60, base_url=url) as client:
        entered = sign_in(client, "ann")
        assert (entered.status_code, entered.headers["location"]) == (303, "/")
        cookie = next(value for value in entered.headers.get_list("set-cookie") if value.startswith("reco_session="))
        assert {"HttpOnly", "SameSite=lax"} <= {part.strip() for part in cookie.split(";")}
        kept = client.cookies["reco_session"]
        me = client.get("/api/v1/me").json()
        assert (me["name"], me["role"]) == ("ann", "admin")
        assert client.post("/sign-out", data={"csrf": "wrong"}).status_code == 403
        assert client.post("/sign-out", data={"csrf": me["csrf"]}).headers["location"] == "/sign-in"
    assert httpx.get(url + "/api/v1/me", cookies={"reco_session": kept}).status_code == 401


def test_a_new_password_or_a_user_taken_out_ends_sessions(settings: Settings, own: tuple[str, Ask]) -> None:
    path = settings.console.users_file
    with httpx.Client(timeout=60, base_url=own[0]) as client:
        sign_in(client, "vera")
        assert client.get("/api/v1/me").status_code == 200
        add_user(path, User(name="vera"), "another long password")
        assert client.get("/api/v1/me").status_code == 401
        sign_in(client, "vera", "another long password")
        assert client.get("/api/v1/me").status_code == 200
        path.write_text("users: {}\n")
        assert client.get("/api/v1/me").status_code == 401


def test_the_sign_in_form_cannot_be_sent_by_another_site(url: str) -> None:
    form = {"name": "ann", "password": PASSWORD}
    assert httpx.post(url + "/sign-in", data=form).status_code == 403
    assert httpx.post(url + "/sign-in", data={**form, "token": "guessed"}).status_code == 403


def test_a_session_that_ended_stays_so_after_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSIONS_OF_A_TEST", "secret")
    settings = settings_of(tmp_path, session_secret="env:SESSIONS_OF_A_TEST")
    make_users(settings)
    with serving(settings) as url, httpx.Client(timeout=60, base_url=url) as client:
        sign_in(client, "ann")
        ended = client.cookies["reco_session"]
        client.post("/sign-out", data={"csrf": client.get("/api/v1/me").json()["csrf"]})
        sign_in(client, "ann")
        kept = client.cookies["reco_session"]
    with serving(settings) as url:
        for cookie, status in ((ended, 401), (kept, 200)):
            assert httpx.get(f"{url}/api/v1/me", cookies={"reco_session": cookie}).status_code == status


@pytest.mark.parametrize(("proxies", "status"), [(["127.0.0.0/8"], 200), (["10.0.0.7"], 401), ([], 401)])
def test_a_header_is_believed_of_named_proxies_only(tmp_path: Path, proxies: list[str], status: int) -> None:
    settings = settings_of(tmp_path, proxies=proxies)
    make_users(settings)
    with serving(settings) as url:
        told = httpx.get(url + "/api/v1/me", headers={"X-Forwarded-User": "olga"})
        assert told.status_code == status
        assert httpx.get(url + "/api/v1/me", headers={"X-Forwarded-User": "unknown"}).status_code == 401
        if status == 200:
            assert told.json()["suppliers"] == ["SUP-OURS"]
            act = {"action": "ACKNOWLEDGE", "request_id": "request-1", "ids": ["x"]}
            headers = {"X-Forwarded-User": "olga"}
            refused = httpx.post(url + "/api/v1/exceptions/actions", json=act, headers=headers)
            assert refused.status_code == 403
            headers["X-CSRF-Token"] = told.json()["csrf"]
            assert httpx.post(url + "/api/v1/exceptions/actions", json=act, headers=headers).status_code == 404


@pytest.mark.parametrize("path", ["/", "/exceptions", "/nowhere", "/sign-in", "/api/v1/me", "/static/console.css"])
def test_every_answer_has_safe_headers(ask: Ask, path: str) -> None:
    headers = ask("ann", "GET", path).headers
    policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))
    assert policy["script-src"] == "'self'"
    assert (policy["default-src"], policy["frame-ancestors"], policy["base-uri"]) == ("'none'", "'none'", "'none'")
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers


def test_no_page_holds_a_script_or_asset_of_elsewhere(ask: Ask) -> None:
    for path in ("/", "/exceptions", "/closes/2026-03-09-r1", "/quarantine", "/suppliers/SUP-OURS", "/system"):
        page = ask("ann", "GET", path).text
        assert "<script>" not in page
        assert " onclick" not in page
        assert 'src="http' not in page
        assert 'href="http' not in page
    for name in ("htmx.min.js", "plotly.min.js", "console.css", "console.js", "icon.svg"):
        assert ask("ann", "GET", f"/static/{name}").status_code == 200
    assert ask("ann", "GET", "/static/..%2Fmain.py").status_code == 404


def test_bodies_that_are_too_large_are_not_read(url: str) -> None:
    assert httpx.post(url + "/sign-in", content=b"x" * (2 << 20)).status_code == 413
    assert raw_post(url, "/sign-in", {"Transfer-Encoding": "chunked"}) == 413
    assert raw_post(url, "/sign-in", {"Content-Length": "1", "Transfer-Encoding": "chunked"}) in (400, 413)
    assert raw_post(url, "/api/v1/closes/2026-03-09-r1/replay", {}) == 401, "where there is no body, none is too large"


def raw_post(url: str, path: str, headers: dict[str, str]) -> int:
    """The status of a request of which only this head was sent."""
    place = urlsplit(url)
    line = http.client.HTTPConnection(str(place.hostname), place.port, timeout=20)
    line.putrequest("POST", path)
    for name, value in headers.items():
        line.putheader(name, value)
    line.endheaders()
    try:
        return line.getresponse().status
    finally:
        line.close()


@pytest.mark.parametrize(
    ("asked", "target"),
    [
        ("/closes", "/closes"),
        ("/exceptions?q=a", "/exceptions?q=a"),
        ("/exceptions?q=a+b%2Bc", "/exceptions?q=a+b%2Bc"),
        ("//evil.example", "/"),
        ("/\\evil", "/"),
        ("https://evil", "/"),
        ("/a\r\nb", "/"),
    ],
)
def test_redirects_stay_here(asked: str, target: str) -> None:
    assert safe_target(asked) == target


def run(settings_file: Path, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(
        app, [*arguments, "--settings", str(settings_file)], env={"RECO_CONSOLE_PASSWORD": PASSWORD}
    )
    return done.exit_code, done.stdout


def test_users_and_tokens_are_made_by_command_and_kept_as_hashes(tmp_path: Path) -> None:
    users = tmp_path / "users.yaml"
    file = tmp_path / "settings.yaml"
    file.write_text(json.dumps({"console": {"users_file": str(users)}}))
    assert run(file, "add-user", "ann", "--role", "operator", "--supplier", "SUP-1")[0] == 0
    code, told = run(file, "token", "report", "--user", "ann")
    assert code == 0
    kept = users.read_text()
    assert PASSWORD not in kept
    assert told.strip() not in kept
    assert stat.S_IMODE(users.stat().st_mode) == 0o600
    known = Users(users)
    assert known.by_token(told.strip()) == known.get("ann") == known.verify("ann", PASSWORD)
    assert (known.get("ann") or User(name="x")).suppliers == ("SUP-1",)
    assert run(file, "token", "report", "--user", "nobody")[0] != 0
    _, other = run(file, "token", "other", "--user", "ann")
    assert [run(file, "revoke", "report")[0] == 0 for _ in range(2)] == [True, False]
    assert (known.by_token(told.strip()), known.by_token(other.strip())) == (None, known.get("ann"))
    assert [run(file, "remove-user", "ann")[0] == 0 for _ in range(2)] == [True, False]
    assert (known.get("ann"), known.by_token(other.strip())) == (None, None)
    run(file, "add-user", "ann")
    assert known.by_token(other.strip()) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("users: {ann: {role: king}}", "users.ann.role"),
        ("users: {ann: {rank: 1}}", "rank"),
        ("people: {}", "people"),
        ("users: {'a b': {role: viewer}}", "users.a b"),
        ("tokens: {t: {user: ann, sha256: short}}", "tokens.t.sha256"),
    ],
)
def test_a_wrong_users_file_says_what_is_wrong(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "users.yaml"
    file.write_text(text + "\n")
    with pytest.raises(UserError, match=why):
        Users(file).check()


def test_a_console_without_users_or_secret_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="reco console add-user"):
        create_app(settings_of(tmp_path))
    settings = settings_of(tmp_path, session_secret="env:NOT_SET_HERE")
    add_user(settings.console.users_file, User(name="ann", role=Role.ADMIN), PASSWORD)
    with pytest.raises(UserError, match="NOT_SET_HERE"):
        create_app(settings)
    with pytest.raises(UserError, match="too short"):
        add_user(settings.console.users_file, User(name="bob"), "short")
