"""The console as a person uses it, in Debian's Chromium: sign in, find, drill down, act in bulk, export."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jobs.common.settings import Lake, Settings
from tests.console.conftest import PASSWORD, Ask, make_users, serving
from tests.console.lake import BACKTEST, HOSTILE, OURS, PRICE, THEIRS

if TYPE_CHECKING:
    from playwright.sync_api import Browser

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: apt-get install chromium")


class Person:
    """A browser of somebody's, that remembers what its console complained of."""

    def __init__(self, browser: "Browser", url: str, shots: Path | None, **looks: Any) -> None:
        self.context = browser.new_context(base_url=url, accept_downloads=True, **looks)
        self.page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.complaints: list[str] = []
        self._shots = shots
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(f"a script ran: {dialog.message}"))

    def signs_in(self, name: str) -> None:
        self.page.goto("/exceptions")
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_label("Password").press("Enter")
        self.page.wait_for_url("**/exceptions")

    def shows(self, name: str, *, whole: bool = True) -> None:
        """A picture, of what the screen shows where it is not `whole`; and nothing is wider than the screen."""
        assert self.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        if self._shots:
            self.page.screenshot(path=self._shots / f"{name}.png", full_page=whole)

    def looks_well(self) -> None:
        """Nothing that axe-core complains of: names, roles, contrast, order; WCAG 2.2 A and AA."""
        rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
        found = axe.Axe().run(self.page, options={"runOnly": rules}).response["violations"]
        told = [(one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in found]
        assert told == [], self.page.url

    def rows(self) -> int:
        return int(self.page.locator("table.list tbody tr").count())


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with sync_api.sync_playwright() as play:
        running = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()


@pytest.fixture
def shots() -> Path | None:
    """Where pictures go, RECO_SCREENSHOTS; without it none are made, which takes a third of the time."""
    told = os.environ.get("RECO_SCREENSHOTS")
    if told:
        Path(told).mkdir(parents=True, exist_ok=True)
    return Path(told) if told else None


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_sign_in_find_drill_down_act_and_export(browser: "Browser", own: tuple[str, Ask], shots: Path | None) -> None:
    url, ask = own
    ann = Person(browser, url, shots, color_scheme="light", viewport={"width": 1280, "height": 900})
    ann.signs_in("ann")
    assert ann.rows() == 7
    ann.shows("exceptions-light")
    # Find, without loading the page anew, and as a link.
    ann.page.get_by_role("searchbox").fill("BK-1")
    ann.page.wait_for_url("**/exceptions?*q=BK-1*")
    until(lambda: ann.rows() == 1)
    # Drill down; leaving the field asks for nothing, or the row would go from under the click.
    link = ann.page.get_by_role("link", name="BK-1", exact=True)
    link.evaluate("row => { row.dataset.same = 'yes'; }")
    link.hover()
    ann.page.mouse.down()
    ann.page.wait_for_load_state("networkidle")
    assert link.get_attribute("data-same") == "yes"
    ann.page.mouse.up()
    ann.page.wait_for_url(f"**/exceptions/{PRICE['exception_id']}")
    assert "between 1,222.16 USD and 1,246.84 USD" in ann.page.inner_text("main")
    ann.shows("exception-light")
    # Act on all that are critical.
    ann.page.goto("/exceptions?severity=CRITICAL")
    ann.page.get_by_label("Tick all on this page").check()
    ann.page.get_by_label("Comment").fill("seen <b>by ann</b>")
    ann.page.get_by_role("button", name="Acknowledge").click()
    ann.page.wait_for_url("**done=2")
    assert ann.page.locator("p.notice[role=status]").inner_text() == "Done for 2 exceptions."
    assert ann.page.locator("table.list .tag", has_text="acknowledged").count() == 2
    history = ask("ann", "GET", f"/api/v1/exceptions/{PRICE['exception_id']}").json()["history"]
    assert [(one["action"], one["comment"]) for one in history] == [("ACKNOWLEDGE", "seen <b>by ann</b>")]
    # Export what was found.
    with ann.page.expect_download() as started:
        ann.page.get_by_role("link", name="CSV").click()
    text = Path(started.value.path()).read_text()
    assert len(text.splitlines()) == 3
    assert PRICE["exception_id"] in text
    of_suppliers = ("suppliers", f"suppliers/{OURS}", "what-if", f"what-if/{BACKTEST}")
    for page in ("", "closes/2026-03-09-r1", "quarantine", *of_suppliers, "system", "audit"):
        ann.page.goto(f"/{page}")
        ann.page.get_by_role("heading", level=1).wait_for()
        ann.shows(f"{page.replace('/', '-') or 'overview'}-light")
    # Replay a close: the page follows by itself. This one was never really closed, and the command says so.
    ann.page.goto("/closes/2026-03-09-r1")
    ann.page.get_by_role("button", name="Replay").click()
    ann.page.get_by_text("not replayed").wait_for()
    ann.page.get_by_role("button", name="Replay again").wait_for()
    ann.shows("close-replayed-light")
    ann.page.goto("/")
    ann.page.locator("#chart svg").first.wait_for()
    ann.shows("overview-light")
    assert ann.complaints == []
    ann.context.close()


def test_somebody_limited_sees_their_own_on_a_phone_in_the_dark(
    browser: "Browser", own: tuple[str, Ask], shots: Path | None
) -> None:
    olga = Person(browser, own[0], shots, color_scheme="dark", viewport={"width": 390, "height": 844})
    olga.signs_in("olga")
    assert olga.rows() == 5
    ones = (f"exceptions/{PRICE['exception_id']}", f"what-if/{BACKTEST}")
    for page in ("exceptions", "", "closes", "quarantine", "suppliers", *ones):
        olga.page.goto(f"/{page}")
        assert THEIRS not in olga.page.content()
        olga.shows(f"{page[:10].replace('/', '') or 'overview'}-phone-dark-{'one' if len(page) > 20 else 'all'}")
    assert olga.page.get_by_role("link", name="System").count() == 0
    olga.page.get_by_role("button", name="Sign out").click()
    olga.page.get_by_role("heading", name="Sign in").wait_for()
    assert olga.complaints == []
    olga.context.close()


def test_it_works_by_keyboard_and_without_javascript(browser: "Browser", url: str, shots: Path | None) -> None:
    plain = Person(browser, url, shots, java_script_enabled=False)
    plain.signs_in("vera")
    plain.page.keyboard.press("Tab")
    assert plain.page.locator("a.skip:focus").count() == 1
    plain.page.get_by_role("searchbox").fill(HOSTILE)
    plain.page.get_by_role("searchbox").press("Enter")
    plain.page.wait_for_url("**q=%3Cscript%3E**")
    assert plain.rows() == 1
    assert plain.page.get_by_role("link", name=HOSTILE).count() == 1
    plain.context.close()


def test_from_what_is_at_risk_to_the_dearest_break(browser: "Browser", settings: Settings, shots: Path | None) -> None:
    # The pictures of the README are made by this, over the demo's lake.
    lake = os.environ.get("RECO_SCREENSHOTS_LAKE") or settings.lake.root
    shown = settings.model_copy(update={"lake": Lake(root=lake)})
    make_users(shown)
    with serving(shown) as url:
        ann = Person(browser, url, shots, color_scheme="light", viewport={"width": 1280, "height": 1000})
        ann.signs_in("ann")
        ann.page.goto("/")
        ann.page.locator("#chart svg").first.wait_for()
        ann.shows("readme-overview", whole=False)
        ann.page.goto("/exceptions?type=PRICE_MISMATCH")
        ann.shows("readme-exceptions", whole=False)
        ann.page.locator("table.list tbody a").first.click()
        ann.page.get_by_role("heading", name="Rules").wait_for()
        ann.shows("readme-exception", whole=False)
        assert ann.page.locator("tr", has_text="Would clear it").count() >= 1
        assert ann.complaints == []
        ann.context.close()


PAGES = (
    "", "exceptions", f"exceptions/{PRICE['exception_id']}", "closes/2026-03-09-r1", "quarantine", "suppliers",
    f"suppliers/{OURS}", "what-if", "system", "audit", "nowhere",
)  # fmt: skip


def test_nothing_stands_in_the_way_of_those_who_do_not_see_or_use_a_mouse(
    browser: "Browser", url: str, shots: Path | None
) -> None:
    ann = Person(browser, url, shots)
    ann.page.goto("/sign-in")
    ann.looks_well()
    ann.signs_in("ann")
    for page in PAGES:
        ann.page.goto(f"/{page}")
        ann.looks_well()
    ann.context.close()


def test_nor_on_a_phone_in_the_dark(browser: "Browser", url: str, shots: Path | None) -> None:
    ann = Person(browser, url, shots, color_scheme="dark", viewport={"width": 390, "height": 844})
    ann.signs_in("ann")
    for page in ("", f"exceptions/{PRICE['exception_id']}"):
        ann.page.goto(f"/{page}")
        ann.looks_well()
        ann.shows(f"axe-{page[:20].replace('/', '-')}")
    ann.context.close()


def test_back_leads_to_the_search_before_and_results_are_said(browser: "Browser", url: str, shots: Path | None) -> None:
    ann = Person(browser, url, shots)
    ann.signs_in("ann")
    before = ann.rows()
    ann.page.get_by_label("Severity").focus()
    ann.page.get_by_label("Severity").select_option("CRITICAL")
    ann.page.wait_for_url("**severity=CRITICAL*")
    until(lambda: ann.rows() == 2)
    until(lambda: ann.page.locator("#said").inner_text().startswith("2 exceptions"))
    assert ann.page.evaluate("document.activeElement.name") == "severity"
    ann.page.go_back()
    until(lambda: ann.rows() == before)
    assert ann.page.get_by_label("Severity").input_value() == ""
    ann.page.go_forward()
    until(lambda: ann.rows() == 2)
    assert ann.page.get_by_label("Severity").input_value() == "CRITICAL"
    assert ann.complaints == []
    ann.context.close()
