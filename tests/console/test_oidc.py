"""Signing in at an OpenID Connect provider that really signs: who gets in as what, and who does not."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from jobs.common.settings import Console, Oidc, Settings
from jobs.console.users import User, add_user
from tests.console.conftest import PASSWORD, serving, settings_of, sign_in
from tests.console.lake import OURS, THEIRS, small_lake
from tests.console.provider import CLIENT, SECRET, OidcServer, _key

ROLES = {"reco-ops": "operator", "reco-look": "viewer", "reco-root": "admin"}


class Served:
    """A console that sends people to a provider."""

    def __init__(self, provider: OidcServer, settings: Settings) -> None:
        self.provider, self.settings, self.url = provider, settings, ""

    def browser(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60)

    def come_back(self, client: httpx.Client, path: str = "/sign-in/oidc") -> httpx.Response:
        """To the provider and back, as far as the console's answer; the browser keeps ours apart from theirs."""
        there = client.get(path)
        assert there.status_code == 303, there.text
        back = httpx.get(there.headers["location"]).headers["location"]
        self.query = back.partition("?")[2]
        return client.get(f"/sign-in/oidc/back?{self.query}")


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder, provider = tmp_path_factory.mktemp("oidc"), OidcServer()
    (folder / "secret").write_text(SECRET)
    told = {"client_id": CLIENT, "client_secret": f"file:{folder / 'secret'}", "roles": ROLES, "label": "Acme"}
    more = {"redirect_url": "http://127.0.0.1:1/sign-in/oidc/back", "suppliers_claim": "reco.suppliers"}
    oidc = Oidc.model_validate({"issuer": provider.issuer, **told, **more})
    settings = settings_of(folder, oidc=oidc)
    small_lake(settings)
    served = Served(provider, settings)
    with provider.running(), serving(settings) as served.url:
        yield served


@pytest.fixture
def served(module: Served) -> Served:
    provider = module.provider
    provider.claims = {"sub": "u-1", "preferred_username": "gina", "roles": ["x", "reco-ops"]}
    provider.claims["reco"] = {"suppliers": [OURS]}
    provider.change, provider.header, provider.signer = {}, {}, provider.keys[-1]
    module.settings.console.users_file.unlink(missing_ok=True)
    return module


def test_somebody_gets_in_with_the_role_and_suppliers_of_their_claims(served: Served) -> None:
    with served.browser() as client:
        page = client.get("/closes", follow_redirects=True)
        assert "Sign in with Acme" in page.text
        assert "Password" not in page.text
        entered = served.come_back(client, "/sign-in/oidc?next=/exceptions%3Fq%3Da%2Bb")
        assert (entered.status_code, entered.headers["location"]) == (303, "/exceptions?q=a+b")
        me = client.get("/api/v1/me").json()
        assert (me["name"], me["role"], me["suppliers"]) == ("gina", "operator", [OURS])
        assert THEIRS not in client.get("/exceptions").text
        act = {"action": "ASSIGN", "assignee": "gina", "request_id": "request-1", "search": {}}
        done = client.post("/api/v1/exceptions/actions", json=act, headers={"X-CSRF-Token": me["csrf"]})
        assert done.json() == {"exceptions": 5, "written": 5}
        kept = client.cookies["reco_session"]
        client.post("/sign-out", data={"csrf": me["csrf"]})
    assert httpx.get(f"{served.url}/api/v1/me", cookies={"reco_session": kept}).status_code == 401


def test_a_code_and_its_state_are_good_once_and_for_one_browser(served: Served) -> None:
    with served.browser() as client, served.browser() as thief:
        there = client.get("/sign-in/oidc")
        cookie = there.cookies["reco_oidc"]
        back = httpx.get(there.headers["location"]).headers["location"].partition("?")[2]
        stolen = thief.get(f"/sign-in/oidc/back?{back}")
        assert (stolen.status_code, "begun elsewhere" in stolen.text) == (400, True)
        assert client.get(f"/sign-in/oidc/back?{back}").status_code == 303
        again = thief.get(f"/sign-in/oidc/back?{back}", headers={"Cookie": f"reco_oidc={cookie}"})
        assert (again.status_code, "used already" in again.text) == (400, True)
        assert thief.get("/api/v1/me").status_code == 401


NOW = int(time.time())


@pytest.mark.parametrize(
    ("change", "header", "says"),
    [
        ({"nonce": "of another sign-in"}, {}, "not one for this sign-in"),
        ({"nonce": None}, {}, "not one for this sign-in"),
        ({"aud": "another-client"}, {}, "not one for this sign-in"),
        ({"aud": [CLIENT, "another"]}, {}, "not one for this sign-in"),
        ({"aud": CLIENT, "azp": "another"}, {}, "not one for this sign-in"),
        ({"iss": "http://127.0.0.1:1"}, {}, "not one for this sign-in"),
        ({"exp": NOW - 120}, {}, "has expired"),
        ({"exp": None}, {}, "not one for this sign-in"),
        ({"iat": NOW + 3600}, {}, "not one for this sign-in"),
        ({}, {"alg": "none"}, "not one for this sign-in"),
        ({}, {"kid": "unheard-of"}, "not one for this sign-in"),
        ({"roles": ["x"]}, {}, "no role here"),
        ({"roles": None}, {}, "no role here"),
        ({"reco": {"suppliers": []}}, {}, "names no supplier"),
        ({"preferred_username": "<b>"}, {}, "cannot be used here"),
    ],
)
def test_a_token_that_is_not_for_this_sign_in_lets_nobody_in(
    served: Served, change: dict[str, Any], header: dict[str, Any], says: str
) -> None:
    served.provider.change, served.provider.header = change, header
    with served.browser() as client:
        refused = served.come_back(client)
        assert (refused.status_code, says in refused.text) == (403, True)
        assert "Begin again" in refused.text
        assert client.get("/api/v1/me").status_code == 401


def test_a_token_of_another_key_lets_nobody_in(served: Served) -> None:
    served.provider.signer = _key(str(served.provider.signer.kid))
    with served.browser() as client:
        assert served.come_back(client).status_code == 403


def test_a_clock_that_is_a_little_off_is_no_reason(served: Served) -> None:
    served.provider.change = {"iat": int(time.time()) + 30, "exp": int(time.time()) - 30}
    with served.browser() as client:
        assert served.come_back(client).status_code == 303


def test_the_provider_may_change_its_key_at_any_time(module: Served, served: Served) -> None:
    with served.browser() as client:
        assert served.come_back(client).status_code == 303
        # The console looks for new keys once in a while, not with each token that names one.
        deadline = time.monotonic() + 20
        served.provider.turn_keys()
        while served.come_back(client).status_code != 303:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_a_provider_that_refuses_or_is_another_gives_a_page(served: Served) -> None:
    with served.browser() as client:
        state = client.get("/sign-in/oidc").headers["location"].partition("state=")[2].partition("&")[0]
        refused = client.get(f"/sign-in/oidc/back?error=access_denied&state={state}")
        assert (refused.status_code, "did not let you in" in refused.text) == (403, True)
        state = client.get("/sign-in/oidc").headers["location"].partition("state=")[2].partition("&")[0]
        mixed = client.get(f"/sign-in/oidc/back?code=c&iss=http://evil.example&state={state}")
        assert (mixed.status_code, "not of the provider" in mixed.text) == (403, True)
        state = client.get("/sign-in/oidc").headers["location"].partition("state=")[2].partition("&")[0]
        unknown = client.get(f"/sign-in/oidc/back?code=guessed&state={state}")
        assert (unknown.status_code, "does not know this sign-in" in unknown.text) == (403, True)


def test_a_guest_cannot_take_the_name_of_a_user_of_the_file(served: Served) -> None:
    add_user(served.settings.console.users_file, User(name="gina"), PASSWORD)
    with served.browser() as client:
        page = client.get("/sign-in").text
        assert "Sign in with Acme" in page
        assert "Password" in page
        refused = served.come_back(client)
        assert (refused.status_code, "users file" in refused.text) == (403, True)
        assert sign_in(client, "gina").status_code == 303


def test_a_provider_that_does_not_answer_or_is_set_up_wrongly_gives_a_page(tmp_path: Path) -> None:
    provider = OidcServer()
    told = {"client_id": CLIENT, "redirect_url": "http://127.0.0.1:1/sign-in/oidc/back", "roles": ROLES}
    settings = settings_of(tmp_path, oidc=Oidc.model_validate({"issuer": provider.issuer, **told}))
    with serving(settings) as url:
        with provider.running():
            provider.told_issuer = "https://another.example"
            wrong = httpx.get(f"{url}/sign-in/oidc")
            assert (wrong.status_code, "not set up rightly" in wrong.text) == (502, True)
        down = httpx.get(f"{url}/sign-in/oidc")
        assert (down.status_code, "does not answer" in down.text) == (502, True)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"issuer": "http://elsewhere.example"}, "issuer"),
        ({"client_id": ""}, "client_id"),
        ({"roles": {}}, "roles"),
        ({"roles": {"x": "king"}}, "roles"),
        ({"client_secret": "written down"}, "client_secret"),
        ({"scopes": ["email"]}, "openid"),
    ],
)
def test_settings_that_lack_something_are_refused(change: dict[str, Any], why: str) -> None:
    told = {"issuer": "https://id.example", "client_id": "c", "roles": ROLES}
    redirect = {"redirect_url": "https://reco.example/sign-in/oidc/back"}
    Console(oidc=Oidc.model_validate({**told, **redirect}))
    with pytest.raises(ValidationError, match=why):
        Oidc.model_validate({**told, **redirect, **change})
