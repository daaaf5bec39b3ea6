"""What a supplier's server can do to the poller: each ends in one sentence, in time, and nothing is lost."""

import gzip
import json
import ssl
import threading
import time
import zlib
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from jobs.common.log import hide_secrets
from jobs.ingest.polling import web
from jobs.ingest.polling.circuit import CircuitState
from tests.ingest.polling.servers import endless, says, server
from tests.ingest.polling.support import Rig, row

OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"


def items(*numbers: int) -> bytes:
    return json.dumps({"items": [row(number) for number in numbers]}).encode()


def test_a_list_is_published_as_it_is(rig: Rig, httpserver: HTTPServer) -> None:
    body = b'{"items": [{"activityId": "BK-1" , "n":1, "price": 1.50}, 5]}'
    httpserver.expect_request("/x", query_string={"status": "all", "v": "2"}).respond_with_data(body)
    outcome = rig.poll(httpserver.url_for("/x?v=2"), params={"status": "all"})
    assert (outcome.why, outcome.tally.published, outcome.tally.pages) == (None, 2, 1)
    first, second = sorted(rig.published(), key=lambda record: record.key or b"")
    assert (first.key, first.value, first.supplier) == (None, b"5", "SUP-1")
    assert (second.key, second.value) == (b"BK-1", b'{"activityId": "BK-1" , "n":1, "price": 1.50}')


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        ({"kind": "bearer", "token": "env:T"}, "authorization", "Bearer s3cret"),
        ({"kind": "basic", "username": "u", "password": "env:T"}, "authorization", "Basic dTpzM2NyZXQ="),
        ({"kind": "api_key", "header": "X-Api-Key", "key": "env:T"}, "x-api-key", "s3cret"),
    ],
)
def test_who_we_are(
    rig: Rig, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch, auth: Any, header: str, value: str
) -> None:
    monkeypatch.setenv("T", "s3cret")
    httpserver.expect_request("/x", headers={header: value}).respond_with_data(items(1))
    assert rig.poll(httpserver.url_for("/x"), auth=auth).why is None
    assert rig.numbers() == [1]


def test_a_refused_token_is_taken_anew_once(rig: Rig, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S", "s3cret")
    given: list[str] = []

    def token(request: Request) -> Response:
        assert request.form["grant_type"] == "client_credentials"
        assert request.authorization is not None
        assert (request.authorization.username, request.authorization.password) == ("reco", "s3cret")
        given.append(f"token{len(given)}")
        return Response(json.dumps({"access_token": given[-1], "expires_in": 3600}))

    def answer(request: Request) -> Response:
        good = request.headers["authorization"] == "Bearer token1"
        return Response(items(1)) if good else Response("", 401)

    httpserver.expect_request("/token", method="POST").respond_with_handler(token)
    httpserver.expect_request("/x").respond_with_handler(answer)
    auth = {"kind": "oauth", "token_url": httpserver.url_for("/token"), "client_id": "reco", "client_secret": "env:S"}
    poller = rig.poller(httpserver.url_for("/x"), auth=auth)
    assert [poller.poll_once().why, poller.poll_once().why] == [None, None]
    assert given == ["token0", "token1"]


def test_a_missing_secret_fails_this_supplier_at_once(rig: Rig, httpserver: HTTPServer) -> None:
    outcome = rig.poll(httpserver.url_for("/x"), auth={"kind": "bearer", "token": "env:NOT_SET_ANYWHERE"})
    assert "auth.token refers to env:NOT_SET_ANYWHERE, which is not set or empty" in str(outcome.why)
    assert hide_secrets(outcome.why) == outcome.why, "the log says it whole"
    assert httpserver.log == []


@pytest.mark.parametrize("status", [429, 500, 503, 408])
def test_what_may_pass_is_asked_again(rig: Rig, httpserver: HTTPServer, status: int) -> None:
    httpserver.expect_ordered_request("/x").respond_with_data("", status)
    httpserver.expect_ordered_request("/x").respond_with_data(items(1))
    assert rig.poll(httpserver.url_for("/x")).why is None
    assert rig.numbers() == [1]


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_honoured(rig: Rig, httpserver: HTTPServer, as_date: bool) -> None:
    at: list[float] = []

    def answer(_: Request) -> Response:
        at.append(time.monotonic())
        if len(at) > 1:
            return Response(items(1))
        until = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True) if as_date else "1"
        return Response("", 429, {"retry-after": until})

    httpserver.expect_request("/x").respond_with_handler(answer)
    assert rig.poll(httpserver.url_for("/x")).why is None
    # A date has no parts of a second: up to one of the two is cut off.
    assert 0.95 <= at[1] - at[0] < 10


def test_a_long_retry_after_opens_the_circuit_for_that_long(rig: Rig, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/x").respond_with_data("", 429, {"retry-after": "99999999"})
    poller = rig.poller(httpserver.url_for("/x"))
    assert "429" in str(poller.poll_once().why)
    assert len(httpserver.log) == 1
    assert poller.circuit.state is CircuitState.OPEN
    assert web.LONGEST_PAUSE - 60 < poller.circuit.wait <= web.LONGEST_PAUSE


@pytest.mark.parametrize(
    ("status", "says_", "asked"),
    [(500, "answers 500 INTERNAL SERVER ERROR", web.ATTEMPTS), (401, "see auth in", 1), (404, "answers 404", 1)],
)
def test_in_the_end_it_says_what_it_was(rig: Rig, httpserver: HTTPServer, status: int, says_: str, asked: int) -> None:
    httpserver.expect_request("/x").respond_with_data("hidden", status)
    outcome = rig.poll(httpserver.url_for("/x?key=hidden"))
    assert says_ in str(outcome.why)
    assert "hidden" not in str(outcome.why)
    assert len(httpserver.log) == asked


def test_the_agreed_pace_is_kept(rig: Rig, httpserver: HTTPServer) -> None:
    at: list[float] = []

    def answer(request: Request) -> Response:
        at.append(time.monotonic())
        number = int(request.args["page"])
        return Response(items(number) if number < 11 else items())

    httpserver.expect_request("/x").respond_with_handler(answer)
    poller = rig.poller(httpserver.url_for("/x"), rate_limit=20, paging={"kind": "page", "page_param": "page"})
    poller.poll_once()
    assert len(at) >= 20
    assert at[-1] - at[0] > (len(at) - 2) / 20


def test_a_redirect_within_the_server_is_followed_with_its_query(rig: Rig, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/x").respond_with_data("", 307, {"location": "/y?a=1"})
    httpserver.expect_request("/y", query_string={"a": "1"}).respond_with_data(items(1))
    assert rig.poll(httpserver.url_for("/x")).why is None


@pytest.mark.parametrize(
    "to", ["http://elsewhere.example/x", "//127.0.0.2/x", "https://{host}/x", "http://127.0.0.1:1/x"]
)
def test_a_redirect_to_another_server_is_refused(
    rig: Rig, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch, to: str
) -> None:
    monkeypatch.setenv("T", "s3cret")
    location = to.replace("{host}", f"{httpserver.host}:{httpserver.port}")
    httpserver.expect_request("/x").respond_with_data("", 302, {"location": location})
    outcome = rig.poll(httpserver.url_for("/x"), auth={"kind": "bearer", "token": "env:T"})
    assert "redirects to another server" in str(outcome.why)
    assert "SUP-1.yaml" in str(outcome.why)


def test_a_redirect_in_a_circle_ends(rig: Rig, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/x").respond_with_data("", 302, {"location": "/x"})
    assert "redirects in a circle" in str(rig.poll(httpserver.url_for("/x")).why)
    assert len(httpserver.log) == 4


LIMITS: dict[str, Any] = {"timeouts": {"connect": "1s", "read": "1s", "total": "2s"}, "max_bytes": "64KB"}


@pytest.mark.parametrize(
    ("talk", "said"),
    [
        (says(OK + b"content-length: 500\r\n\r\n" + items(1)), "cannot be read: peer closed connection"),
        (says(CHUNKED + b"5\r\n[1,2,"), "cannot be read: peer closed connection"),
        (says(OK + b"\r\n" + items(1)[:-5]), "not JSON at byte"),
        (says(b"hello, who is there?\r\n\r\n"), "cannot be read"),
        (says(), "cannot be read: Server disconnected"),
        (endless(OK + b"\r\n", b" ", 0.05), "no whole answer in 2 s"),
        (endless(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n", 0.05), "no whole answer in 2 s"),
        (endless(b"", b"", 60), "silent for 1 s"),
        (says(OK + b"content-length: 524288000\r\n\r\n"), "larger than max_bytes"),
        (endless(CHUNKED, b"10000\r\n" + b" " * 65_536 + b"\r\n", 0), "larger than max_bytes"),
        (says(OK + b"content-encoding: gzip\r\n\r\n" + gzip.compress(items(1))[:-9]), "gzip in it has no end"),
        (says(OK + b"content-encoding: gzip\r\n\r\n" + items(1)), "says it is gzip and is not"),
        (says(OK + b"content-encoding: br\r\n\r\n" + items(1)), "which nobody asked for"),
        (says(OK + b"content-encoding: gzip, gzip\r\n\r\n" + items(1)), "which nobody asked for"),
    ],
)
def test_a_server_that_misbehaves(rig: Rig, monkeypatch: pytest.MonkeyPatch, talk: Any, said: str) -> None:
    monkeypatch.setattr(web, "ATTEMPTS", 1)
    began = time.monotonic()
    with server(talk) as url:
        assert said in str(rig.poll(url, **LIMITS).why)
    assert time.monotonic() - began < 10
    assert rig.published() == []


def test_gzip_is_unpacked_and_a_bomb_is_not(rig: Rig, httpserver: HTTPServer) -> None:
    whole = gzip.compress(items(1)[:20]) + gzip.compress(items(1)[20:])
    httpserver.expect_request("/x").respond_with_data(whole, headers={"content-encoding": "gzip"})
    assert rig.poll(httpserver.url_for("/x")).why is None
    assert rig.numbers() == [1]
    httpserver.expect_request("/bomb").respond_with_data(_bomb(), headers={"content-encoding": "gzip"})
    assert "larger than max_bytes" in str(rig.poll(httpserver.url_for("/bomb"), "SUP-2").why)


def _bomb() -> bytes:
    """100 MB of blanks in 100 KB."""
    packer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    return b"".join([*(packer.compress(b" " * 1_000_000) for _ in range(100)), packer.flush()])


def test_a_certificate_must_be_trusted(rig: Rig, tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    stranger.cert_pem.write_to_path(str(tmp_path / "stranger.pem"))
    body = items(1)
    with server(says(OK + f"content-length: {len(body)}\r\n\r\n".encode() + body), tls) as url:
        for trusted in (None, str(tmp_path / "stranger.pem")):
            assert "shows a certificate that is not trusted" in str(rig.poll(url, tls={"ca_file": trusted}).why)
        assert "cannot be read" in str(rig.poll(url, tls={"ca_file": str(tmp_path / "none.pem")}).why)
        assert rig.poll(url, tls={"ca_file": str(tmp_path / "ca.pem")}).why is None
    wrong = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("elsewhere.example").configure_cert(wrong)
    with server(says(OK + b"\r\n" + body), wrong) as url:
        assert "not trusted" in str(rig.poll(url, tls={"ca_file": str(tmp_path / "ca.pem")}).why)
    assert rig.numbers() == [1]


def test_nobody_there(rig: Rig) -> None:
    assert "127.0.0.1:1/x cannot be read: All connection attempts failed" in str(rig.poll("http://127.0.0.1:1/x").why)


def test_it_ends_soon_when_it_is_asked_to_while_it_waits(rig: Rig) -> None:
    asked = threading.Event()

    def talk(connection: Any) -> None:
        asked.set()
        threading.Event().wait(60)

    with server(talk) as url:
        poller = rig.poller(url)
        thread = threading.Thread(target=poller.run)
        thread.start()
        assert asked.wait(20)
        began = time.monotonic()
        rig.stop.set()
        thread.join(20)
        assert time.monotonic() - began < 5
