"""Wrong passwords slow their senders down, however they are sent."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from jobs.console.limits import WINDOW_SECONDS, Attempts, of_address
from tests.console.conftest import PASSWORD, Ask, make_users, serving, settings_of, sign_in


def test_wrong_passwords_have_to_wait_and_say_nothing_of_who_exists(own: tuple[str, Ask]) -> None:
    with httpx.Client(timeout=60, base_url=own[0]) as client:
        known, unknown = sign_in(client, "ann", "wrong"), sign_in(client, "nobody", "wrong")
        assert (known.status_code, unknown.status_code) == (401, 401)
        assert "Name or password is wrong" in known.text
        assert "Name or password is wrong" in unknown.text
        for _ in range(3):
            sign_in(client, "ann", "wrong")
        waiting = sign_in(client, "ann", PASSWORD)
        assert waiting.status_code == 429
        assert 0 < int(waiting.headers["retry-after"]) <= WINDOW_SECONDS


def test_attempts_are_counted_by_key_and_forgotten() -> None:
    now = [0.0]
    attempts = Attempts(2, lambda: now[0])
    assert attempts.begin("a", "b") == 0
    now[0] = 10
    assert attempts.begin("a") == 0
    assert attempts.begin("a", "b") == WINDOW_SECONDS - 10
    assert attempts.begin("b") == 0
    assert attempts.begin("b") == WINDOW_SECONDS - 10
    now[0] = WINDOW_SECONDS
    assert attempts.begin("a") == 0
    attempts.succeeded("a")
    assert [attempts.begin("a") for _ in range(3)] == [0, 0, WINDOW_SECONDS]


def test_a_right_attempt_takes_itself_back_and_no_more_of_the_address() -> None:
    attempts = Attempts(2)
    assert attempts.begin("user a", "address 1") == 0
    for _ in range(3):
        assert attempts.begin("user b", "address 1") == 0
        attempts.succeeded("user b", "address 1")
    assert attempts.begin("user c", "address 1") == 0
    assert attempts.begin("user d", "address 1") > 0


def test_many_attempts_at_once_are_as_many_as_one_after_the_other(own: tuple[str, Ask]) -> None:
    form = {"name": "ann", "password": "wrong", "token": "t"}

    def attempt(_: int) -> int:
        return httpx.post(f"{own[0]}/sign-in", data=form, cookies={"reco_sign_in": "t"}, timeout=60).status_code

    with ThreadPoolExecutor(12) as hands:
        told = list(hands.map(attempt, range(12)))
    assert (told.count(401), told.count(429)) == (5, 7)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("10.0.0.1", "10.0.0.2", False),
        ("?", "?", True),
    ],
)
def test_an_address_is_what_somebody_can_have_many_of(one: str, other: str, same: bool) -> None:
    assert (of_address(one) == of_address(other)) is same


def test_the_address_is_what_the_proxy_adds_not_what_the_browser_says(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, proxies=["127.0.0.1"])
    make_users(settings)
    with serving(settings) as url, httpx.Client(timeout=60, base_url=url) as client:
        form = {"name": "nobody", "password": "wrong", "token": "t"}
        client.cookies["reco_sign_in"] = "t"
        for number in range(6):
            # A proxy that adds a header of its own after the browser's, as HAProxy does.
            headers = [("X-Forwarded-For", f"10.9.9.{number}"), ("X-Forwarded-For", "10.1.1.1")]
            told = client.post("/sign-in", data={**form, "name": f"n{number}"}, headers=headers)
        assert told.status_code == 429
        twice = [("X-Forwarded-User", "ann"), ("X-Forwarded-User", "vera")]
        assert client.get("/api/v1/me", headers=twice).status_code == 401
