"""What a token server says: tokens that end while pages are read, and such as no header may have."""

import json
from itertools import count
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from tests.ingest.polling.support import Rig, row


@pytest.fixture
def auth(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """OAuth at `/token`."""
    monkeypatch.setenv("S", "s3cret")
    return {"kind": "oauth", "token_url": httpserver.url_for("/token"), "client_id": "reco", "client_secret": "env:S"}


def test_a_token_that_ends_while_pages_are_read_loses_none(
    rig: Rig, httpserver: HTTPServer, auth: dict[str, str]
) -> None:
    numbers, uses = count(), dict[str, int]()

    def token(_: Request) -> Response:
        return Response(json.dumps({"access_token": f"t{next(numbers)}", "expires_in": 3600}))

    def answer(request: Request) -> Response:
        shown = request.headers["authorization"]
        uses[shown] = uses.get(shown, 0) + 1
        page = int(request.args["page"])
        return Response(json.dumps({"items": [row(page)] if page <= 5 else []}), 401 if uses[shown] > 3 else 200)

    httpserver.expect_request("/token", method="POST").respond_with_handler(token)
    httpserver.expect_request("/x").respond_with_handler(answer)
    outcome = rig.poll(httpserver.url_for("/x"), auth=auth, paging={"kind": "page", "page_param": "page"})
    assert outcome.why is None
    assert rig.numbers() == [1, 2, 3, 4, 5]
    assert len(uses) > 2


@pytest.mark.parametrize("token", [None, "", "hunter2\n", "hunter2\u00fc", ["hunter2"]])
def test_what_is_no_token_is_said_without_it(
    rig: Rig, httpserver: HTTPServer, auth: dict[str, str], token: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    httpserver.expect_request("/token", method="POST").respond_with_json({"access_token": token})
    outcome = rig.poll(httpserver.url_for("/x"), auth=auth)
    assert str(outcome.why).endswith("/token answers without an access_token that a header may have.")
    told = capsys.readouterr()
    assert "hunter2" not in told.out + told.err + str(outcome.why)
    assert {request.path for request, _ in httpserver.log} == {"/token"}


@pytest.mark.parametrize("life", [None, "soon", "3600", -1])
def test_a_token_whose_end_is_not_said_is_used(
    rig: Rig, httpserver: HTTPServer, auth: dict[str, str], life: Any
) -> None:
    httpserver.expect_request("/token", method="POST").respond_with_json({"access_token": "t", "expires_in": life})
    httpserver.expect_request("/x", headers={"authorization": "Bearer t"}).respond_with_json({"items": [row(1)]})
    assert rig.poll(httpserver.url_for("/x"), auth=auth).why is None
    assert rig.numbers() == [1]
