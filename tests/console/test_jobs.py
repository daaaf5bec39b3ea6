"""Closes are replayed and policies tried from the console: by whom may, in a process of its own."""

import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from deltalake import write_deltalake

from jobs.common.engines.duckdb import duckdb_session
from jobs.common.lake import open_table
from jobs.common.policies import parse_policies
from jobs.common.settings import Settings
from jobs.console.background import Background
from jobs.console.replays import Replayed, Replays, ReplayState
from jobs.console.trials import as_file
from jobs.daily.close import close_day
from tests.console.conftest import Ask, asking, make_users, serving, settings_of, sign_in
from tests.daily import small_lake
from tests.daily.small_lake import DAY, NOON

CLOSE, FORGED, GONE = "2026-03-10-r1", "2026-03-10-r2", "2026-03-10-r3"
ONLY = "Only 1 days are closed, not 3."
PATH = f"/api/v1/closes/{CLOSE}/replay"


def also(settings: Settings, close_id: str, **changed: Any) -> None:
    """A row of gold/closes like the real one, but older and for what is changed."""
    path = settings.table_path("closes")
    rows = pl.read_delta(path).filter(pl.col("close_id") == CLOSE)
    older = rows.with_columns(pl.col("revision") - 1, close_id=pl.lit(close_id), **changed)
    write_deltalake(path, older, mode="append")


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A closed day, and two closes that are not what they say."""
    settings = settings_of(tmp_path_factory.mktemp("replays"))
    small_lake.make(Path(settings.lake.root), small_lake.events())
    with duckdb_session(settings) as session:
        close_day(session, settings, DAY, NOON)
    also(settings, FORGED, content_hash=pl.lit("0" * 64), code_version=pl.lit("0.0.1"))
    also(settings, GONE, silver_version=pl.lit(77, pl.Int64))
    return settings


@pytest.fixture(scope="module")
def served(lake: Settings) -> Iterator[tuple[str, Ask]]:
    tokens = make_users(lake)
    with serving(lake) as url, asking(url, tokens) as ask:
        yield url, ask


def ended(ask: Ask, close_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + 120
    while (told := ask("vera", "GET", f"/api/v1/closes/{close_id}/replay").json())["state"] == "RUNNING":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return dict(told)


def test_it_proves_the_hash_and_leaves_nothing(lake: Settings, served: tuple[str, Ask]) -> None:
    url, ask = served
    assert ask("vera", "GET", PATH).json()["state"] == "NONE"
    before = sorted(path for path in Path(lake.lake.root).rglob("*.json"))
    with httpx.Client(timeout=60, base_url=url) as ann:  # by the page's form, as without JavaScript
        sign_in(ann, "ann")
        page = f"/closes/{CLOSE}"
        assert ann.post(f"{page}/replay").status_code == 403, "a form without its token"
        told = ann.post(f"{page}/replay", data={"csrf": ann.get("/api/v1/me").json()["csrf"]})
        assert (told.status_code, told.headers["location"]) == (303, f"{page}#proof")
        running = ann.get(page).text
        assert ">replaying<" in running
        assert "<button>Replay" not in running
        # For htmx, nothing to put in its place as long as it runs.
        assert ann.get(f"{page}/replay", headers={"HX-Request": "true"}).status_code == 204
        again, other = (ask("ann", "POST", f"/api/v1/closes/{one}/replay") for one in (CLOSE, FORGED))
        assert (again.status_code, again.json()["state"], again.json()["by"]) == (202, "RUNNING", "ann")
        assert other.status_code == 409
        assert f"Close {CLOSE} is being replayed for ann since 20" in other.json()["detail"]
        found = ended(ask, CLOSE)
        assert (found["state"], found["by"], found["differences"]) == ("PROVED", "ann", {})
        assert found["replayed_hash"] == found["recorded_hash"]
        assert found["says"][0].startswith("Equal: the same inputs give the same facts and anomalies")
        assert found["started_at"] < found["finished_at"]
        part = ann.get(f"{page}/replay", headers={"HX-Request": "true"}).text
        assert "the same hash" in part
        assert "hx-trigger" not in part
        assert "Equal: the same inputs" in ann.get(page).text
    noted = [one for one in ask("ann", "GET", "/api/v1/audit").json() if one["what"].startswith("replay")]
    assert [(one["what"], one["user"], one["close"]) for one in noted] == [
        ("replayed", "ann", CLOSE),
        ("replay started", "ann", CLOSE),
    ]
    assert noted[0]["state"] == "PROVED"
    assert sorted(path for path in Path(lake.lake.root).rglob("*.json")) == before
    assert not Path(lake.lake.root, "_replay").exists()


def test_another_hash_and_a_close_that_cannot_be_replayed_say_why(served: tuple[str, Ask]) -> None:
    _, ask = served
    assert ask("ann", "POST", f"/api/v1/closes/{FORGED}/replay").status_code == 202
    found = ended(ask, FORGED)
    assert (found["state"], found["recorded_hash"]) == ("DIFFERS", "0" * 64)
    assert "it was closed by version 0.0.1" in found["says"][1]
    assert "another hash" in ask("vera", "GET", f"/closes/{FORGED}").text
    assert "another hash" in ask("vera", "GET", "/closes").text
    assert "another hash" not in ask("olga", "GET", "/closes").text
    ask("ann", "POST", f"/api/v1/closes/{GONE}/replay")
    found = ended(ask, GONE)
    assert found["state"] == "FAILED"
    (said,) = found["says"]
    assert said.startswith(f"Close {GONE} cannot be replayed: its inputs (silver/activity at version 77")
    assert "restore the files from a backup" in ask("vera", "GET", f"/closes/{GONE}").text


@pytest.mark.parametrize(
    ("name", "method", "path", "status"),
    [
        ("vera", "POST", PATH, 403),
        ("olga", "POST", PATH, 403),
        ("olga", "GET", PATH, 403),
        ("olga", "GET", f"/closes/{CLOSE}/replay", 403),
        ("ann", "POST", PATH.replace("10", "11"), 404),
        ("ann", "GET", PATH.replace("10", "11"), 404),
    ],
)
def test_who_may_not_is_refused(served: tuple[str, Ask], name: str, method: str, path: str, status: int) -> None:
    assert served[1](name, method, path).status_code == status
    assert "<button>Replay" not in served[1](name, "GET", f"/closes/{CLOSE}").text or name == "ann"


def test_it_has_a_limit_of_time(lake: Settings) -> None:
    console = lake.console.model_copy(update={"job_minutes": 0.001})
    replays = Replays(Background(lake.model_copy(update={"console": console})))
    told: list[Replayed] = []
    begun, is_new = replays.start(CLOSE, "ann", told.append)
    assert (begun.state, is_new) == (ReplayState.RUNNING, True)
    deadline = time.monotonic() + 60
    while not told:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (found,) = told
    assert found.state is ReplayState.FAILED
    assert found.says[0].startswith("It took longer than 0.001 minutes and was ended: console.job_minutes is the limit")


PROPOSED = "version: 1\ndefaults: {price: {pct_tol: '0.2', abs_tol_usd: '50'}}\nsuppliers: {}\n"


def tried(ask: Ask) -> dict[str, Any]:
    deadline = time.monotonic() + 120
    while (told := ask("vera", "GET", "/api/v1/what-if").json())["state"] == "RUNNING":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return dict(told)


def test_policies_are_tried_and_the_result_is_a_page(lake: Settings, served: tuple[str, Ask]) -> None:
    url, ask = served
    assert ask("vera", "GET", "/api/v1/what-if").json()["state"] == "NONE"
    assert "<textarea" not in ask("vera", "GET", "/what-if").text
    for name, body in (("vera", {"policies": PROPOSED}), ("olga", {"policies": PROPOSED})):
        assert ask(name, "POST", "/api/v1/what-if", json=body).status_code == 403
    assert ask("olga", "GET", "/api/v1/what-if").status_code == 403
    with httpx.Client(timeout=60, base_url=url) as ann:
        sign_in(ann, "ann")
        form = {"policies": PROPOSED.replace("\n", "\r\n"), "days": "3", "name": "looser\tprices"}
        assert "abs_tol_usd: &#39;0.5&#39;" in ann.get("/what-if").text, "the policies in force, to begin with"
        assert ann.post("/what-if", data=form).status_code == 403, "a form without its token"
        csrf = ann.get("/api/v1/me").json()["csrf"]
        assert ann.post("/what-if", data={**form, "csrf": csrf}).headers["location"] == "/what-if#trial"
        assert ">trying<" in ann.get("/what-if").text
        assert ask("ann", "POST", PATH).json()["detail"].startswith("Policies are being tried for ann since 20")
        found = tried(ask)
        assert (found["state"], found["name"], found["says"]) == ("DONE", "looser prices", [ONLY])
        page = ann.get("/what-if").text
        assert f"/what-if/{found['backtest_id']}" in page
        assert "pct_tol: &#39;0.2&#39;" in page, "what ann tried is there still"
    result = ask("ann", "GET", f"/api/v1/backtests/{found['backtest_id']}").json()
    assert (result["file"], result["lost"], result["gained"]) == ("looser prices", 1, 0)
    assert open_table(lake, "policies") is None, "nothing was applied"
    noted = next(one for one in ask("ann", "GET", "/api/v1/audit").json() if one["what"] == "policies tried")
    assert (noted["user"], noted["backtest"]) == ("ann", found["backtest_id"])
    assert noted["file_hash"] == sha256(PROPOSED.encode()).hexdigest()


def test_what_is_wrong_with_a_file_is_told_with_its_line(served: tuple[str, Ask]) -> None:
    _, ask = served
    wrong = PROPOSED.replace("pct_tol", "pct_tl")
    assert ask("ann", "POST", "/api/v1/what-if", json={"policies": wrong}).status_code == 202
    found = tried(ask)
    assert (found["state"], found["backtest_id"]) == ("FAILED", None)
    assert found["says"][0].startswith("policies.yaml:2: ")
    assert "pct_tl" in ask("vera", "GET", "/what-if").text


def test_the_policies_in_force_are_a_file_that_says_the_same(tmp_path: Path) -> None:
    file, again = tmp_path / "p.yaml", tmp_path / "again.yaml"
    file.write_text(
        "version: 1\ndefaults: {grace: 2h, price: {pct_tol: '0.015'}}\nsuppliers:\n"
        "  SUP-1: {mode: DAILY_ONLY, max_delay: 1h30m, severity: {high_usd: '5'}}\n  SUP-2: {}\n"
        "  'on': {versions: independent}\n"
    )
    known = parse_policies(file).policies
    again.write_text(as_file(known))
    assert parse_policies(again).policies == known
    assert as_file(known).count("grace") == 1
