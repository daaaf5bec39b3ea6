"""What Prometheus is told of the console: requests by page, how long they take, refused sign-ins."""

import httpx

from tests.console.conftest import Ask, sign_in
from tests.console.lake import PRICE
from tests.scrape import scraped_here


def rise(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """By how much each series of requests and refusals rose."""
    kinds = ("reco_console_requests_total", "reco_console_sign_ins_refused_total")
    return {
        name: after[name] - before.get(name, 0)
        for name in after
        if name.startswith(kinds) and after[name] != before.get(name, 0)
    }


def test_requests_are_counted_under_their_pages_pattern_and_refused_sign_ins_by_cause(own: tuple[str, Ask]) -> None:
    url, ask = own
    before = scraped_here()
    with httpx.Client(base_url=url) as client:
        assert sign_in(client, "ann", "not the password").status_code == 401
        assert client.post("/sign-in", data={"name": "ann", "password": "x", "token": "old"}).status_code == 403
        assert sign_in(client, "ann").status_code == 303
        assert client.get(f"/exceptions/{PRICE['exception_id']}").status_code == 200
        assert client.get("/no/such/page").status_code == 404
        assert client.get("/exceptions", headers={"Authorization": "Bearer reco_stolen"}).status_code == 303
        assert client.get("/api/v1/me", headers={"Authorization": "Bearer reco_stolen"}).status_code == 401
    # Whoever may not do something is no refused sign-in.
    assert ask("vera", "POST", "/api/v1/exceptions/actions", json={}).status_code == 403
    assert rise(before, after := scraped_here()) == {
        'reco_console_requests_total{page="/sign-in",status="200"}': 2,
        'reco_console_requests_total{page="/sign-in",status="401"}': 1,
        'reco_console_requests_total{page="/sign-in",status="403"}': 1,
        'reco_console_requests_total{page="/sign-in",status="303"}': 1,
        'reco_console_requests_total{page="/exceptions/{exception_id}",status="200"}': 1,
        'reco_console_requests_total{page="none",status="404"}': 1,
        'reco_console_requests_total{page="/exceptions",status="303"}': 1,
        'reco_console_requests_total{page="/api/v1/me",status="401"}': 1,
        'reco_console_requests_total{page="/api/v1/exceptions/actions",status="403"}': 1,
        'reco_console_sign_ins_refused_total{why="WRONG"}': 2,
        'reco_console_sign_ins_refused_total{why="FORM"}': 1,
    }
    one = '{page="/exceptions/{exception_id}"}'
    count, total = (f"reco_console_request_duration_seconds_{kind}{one}" for kind in ("count", "sum"))
    assert after[count] - before.get(count, 0) == 1
    assert 0 < after[total] - before.get(total, 0) < 10
