"""A console that really answers, over a small lake, and the people who use it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from jobs.common.settings import Alerts, Console, Lake, Settings
from jobs.console.app import create_app
from jobs.console.main import server_config
from jobs.console.tables import Tables
from jobs.console.users import Role, User, add_token, add_user
from tests.console.lake import OURS, small_lake

PASSWORD = "correct horse battery"
Ask = Callable[..., httpx.Response]


def settings_of(folder: Path, **console: Any) -> Settings:
    files = {"users_file": folder / "users.yaml", "audit_file": folder / "audit.jsonl"}
    told = Alerts(folder=folder / "alerts")
    return Settings(lake=Lake(root=str(folder / "lake")), alerts=told, console=Console(**{**files, **console}))


@contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """The console's address; it answers until the end of the context."""
    server = uvicorn.Server(server_config(create_app(settings), "127.0.0.1", 0))
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def make_users(settings: Settings) -> dict[str, str]:
    """Ann sees and does all; olga acts for OURS only; vera looks at all. Their tokens by name."""
    path = settings.console.users_file
    people = [("ann", Role.ADMIN, None), ("olga", Role.OPERATOR, (OURS,)), ("vera", Role.VIEWER, None)]
    for name, role, suppliers in people:
        add_user(path, User(name=name, role=role, suppliers=suppliers), PASSWORD)
    return {name: add_token(path, f"{name}'s", name) for name, *_ in people}


@contextmanager
def asking(url: str, tokens: dict[str, str]) -> Iterator[Ask]:
    """Ask as somebody, by token: `ask("ann", "GET", "/api/v1/me")`."""
    with httpx.Client(timeout=60, base_url=url) as client:

        def asked(name: str, method: str, path: str, **more: Any) -> httpx.Response:
            kind = {"Content-Type": more.pop("kind")} if "kind" in more else {}
            return client.request(method, path, headers={"Authorization": f"Bearer {tokens[name]}", **kind}, **more)

        yield asked


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A lake of the test's own."""
    made = settings_of(tmp_path)
    small_lake(made)
    return made


@pytest.fixture
def tables(settings: Settings) -> Tables:
    return Tables(settings)


@pytest.fixture
def own(settings: Settings) -> Iterator[tuple[str, Ask]]:
    """A console of the test's own, which it may change: its address, and how to ask it."""
    tokens = make_users(settings)
    with serving(settings) as url, asking(url, tokens) as ask:
        yield url, ask


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Ask]]:
    """The console of all tests that only look."""
    made = settings_of(tmp_path_factory.mktemp("console"))
    small_lake(made)
    tokens = make_users(made)
    with serving(made) as url, asking(url, tokens) as ask:
        yield url, ask


@pytest.fixture
def url(shared: tuple[str, Ask]) -> str:
    return shared[0]


@pytest.fixture
def ask(shared: tuple[str, Ask]) -> Ask:
    return shared[1]


def sign_in(client: httpx.Client, name: str, password: str = PASSWORD) -> httpx.Response:
    """Fill the form in, as a browser does."""
    client.get("/sign-in")
    form = {"name": name, "password": password, "token": client.cookies.get("reco_sign_in", "")}
    return client.post("/sign-in", data=form)
