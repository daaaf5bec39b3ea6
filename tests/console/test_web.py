"""Pages and API over HTTP: what they say, and that what belongs to others does not exist."""

import csv
import io
import json
import zipfile
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import httpx
import polars as pl
import pytest

from jobs.common import policies
from jobs.common.alerting import status_file
from jobs.common.settings import Settings
from jobs.console import exports
from tests.cli.lake_rows import put
from tests.console.conftest import Ask
from tests.console.lake import (
    AT,
    BACKTEST,
    DAY,
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
    close_row,
)

PAGES = (
    "/",
    "/exceptions",
    "/exceptions?state=",
    "/closes",
    "/closes/2026-03-09-r1",
    "/quarantine",
    "/suppliers",
    "/what-if",
    f"/what-if/{BACKTEST}",
)
API = tuple(
    f"/api/v1/{name}"
    for name in (
        "overview",
        "exceptions?state=OPEN",
        "closes",
        "closes/2026-03-09-r1",
        "quarantine",
        "suppliers",
        "backtests",
        f"backtests/{BACKTEST}",
    )
)
EXPORTS = ("/export/exceptions.csv?state=", "/api/v1/exceptions.csv")


@pytest.mark.parametrize("path", [*PAGES, *API, *EXPORTS])
def test_a_user_limited_to_suppliers_sees_nothing_of_the_others(ask: Ask, path: str) -> None:
    limited, full = ask("olga", "GET", path), ask("ann", "GET", path)
    assert (limited.status_code, full.status_code) == (200, 200)
    assert [word for word in SECRETS if word in limited.text] == []
    # The sums over all suppliers would tell of the others too.
    told = limited.text.replace("<", " ").split()
    assert not {"6,407.51", "6407.505", "4,711.00", '"4711"', "4,717.69", '"4717.69"'} & set(told)
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


@pytest.mark.parametrize("path", ["/system", "/audit", "/api/v1/system", "/api/v1/audit"])
def test_what_is_about_all_suppliers_is_refused(ask: Ask, path: str) -> None:
    assert ask("olga", "GET", path).status_code == 403
    assert ask("ann", "GET", path).status_code == 200
    told = ask("ann", "GET", "/api/v1/audit").json()[0]
    assert (told["what"], told["user"], told["asked"]) == ("refused", "olga", f"GET {path}")


def test_payloads_and_ids_of_strangers_are_text(ask: Ask) -> None:
    listed = ask("ann", "GET", "/exceptions").text
    assert HOSTILE not in listed
    assert "&lt;script&gt;" in listed
    assert HOSTILE not in ask("ann", "GET", f"/exceptions/{SCRIPT['exception_id']}").text
    page = ask("ann", "GET", f"/exceptions/{PRICE['exception_id']}").text
    assert "from AGODA" in page
    assert "&lt;/pre&gt;&lt;script&gt;alert(2)" in page
    assert HOSTILE not in ask("ann", "GET", f"/exceptions?q={HOSTILE}").text


@pytest.mark.parametrize(
    ("by", "parts"),
    [
        ("severity", {"CRITICAL": "6200.505", "HIGH": "200", "MEDIUM": "7", "LOW": "0"}),
        ("anomaly_type", {"STATUS_MISMATCH": "5000", "PRICE_MISMATCH": "1200.505", "MISSING_SUPPLIER": "200",
                          "MISSING_AGODA": "7"}),
        ("supplier_id", {THEIRS: "5007", OURS: "1400.505"}),
    ],
)  # fmt: skip
def test_money_over_time_is_told_apart_by_severity_kind_and_supplier(ask: Ask, by: str, parts: dict[str, str]) -> None:
    day = ask("ann", "GET", f"/api/v1/overview?by={by}").json()["over_time"][0]
    assert {name: Decimal(amount) for name, amount in day["parts"].items()} == {n: Decimal(a) for n, a in parts.items()}
    assert sum(Decimal(amount) for amount in day["parts"].values()) == Decimal(day["amount_at_risk_usd"])
    assert THEIRS not in ask("olga", "GET", f"/?by={by}").text
    assert ask("ann", "GET", f"/?by={by}").text.count("data-usd=") == len(parts)


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
    rules = {one["rule"]: one["verdict"] for one in told["rules"]}
    assert (rules["existence"], {rules[one] for one in ("price", "status", "skew")}) == ("broken", {"does not apply"})
    assert rules["duplicates of AGODA"] == "holds"


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


def test_a_scorecard_says_what_broke_and_when(ask: Ask) -> None:
    told = ask("olga", "GET", f"/api/v1/suppliers/{OURS}").json()
    assert {one["anomaly_type"]: one["amount_at_risk_usd"] for one in told["by_type"]} == {
        "PRICE_MISMATCH": "1200.505", "MISSING_SUPPLIER": "200", "STATUS_MISMATCH": "150.25", "FEED_SILENT": "150.25",
        "FX_RATE_MISSING": "0",
    }  # fmt: skip
    assert told["days"] == [{"reco_date": "2026-03-09", "exceptions": 2, "amount_at_risk_usd": "1400.505"}]
    page = ask("olga", "GET", f"/suppliers/{OURS}").text
    assert f"/exceptions?supplier={OURS}&amp;type=PRICE_MISMATCH" in page
    assert "Mismatched, USD" in page


def test_a_scorecard_is_of_the_newest_day_and_not_of_the_close_that_ended_last(
    settings: Settings, own: tuple[str, Ask]
) -> None:
    older, provisional = (
        {**close_row(), "reco_date": DAY + timedelta(days=days), "provisional": days > 0, "control_totals": []}
        for days in (-3, 1)
    )
    put(settings, "closes", [{**one, "finished_at": AT + timedelta(days=9)} for one in (older, provisional)])
    card = own[1]("ann", "GET", f"/api/v1/suppliers/{OURS}").json()
    assert (card["closed_date"], card["agoda"]["keys_in"]) == (DAY.isoformat(), 3)


def test_a_supplier_without_close_and_exceptions_has_a_scorecard(ask: Ask) -> None:
    cards = {one["supplier_id"]: one for one in ask("ann", "GET", "/api/v1/suppliers").json()}
    assert (cards["SUP-NEW"]["agoda"], cards["SUP-NEW"]["exceptions"]) == (None, 0)
    assert cards[OURS]["exceptions"] == 5
    assert "SUP-NEW" in ask("ann", "GET", "/suppliers").text
    assert ask("ann", "GET", "/suppliers/SUP-NEW").status_code == 200


def test_a_saved_backtest_is_summed_over_the_suppliers_that_one_may_see(ask: Ask) -> None:
    full, limited = (ask(name, "GET", f"/api/v1/backtests/{BACKTEST}").json() for name in ("ann", "olga"))
    assert (full["flips"], full["lost"], full["lost_usd"], full["moved_usd"]) == (6, 4, "4717.69", "-4716.09")
    assert (limited["flips"], limited["lost"], limited["lost_usd"], limited["moved_usd"]) == (3, 2, "6.69", "-5.89")
    assert [row["supplier_id"] for row in full["by_supplier"]] == [THEIRS, OURS]
    assert [row["supplier_id"] for row in limited["by_supplier"]] == [OURS]
    assert [(row["anomaly_type"], row["gained"]) for row in full["by_kind"]] == [("PRICE_MISMATCH", 2)]
    assert limited["named"] == [OURS]
    (of_theirs,) = ask("ann", "GET", f"/api/v1/backtests?supplier={THEIRS}").json()
    assert (of_theirs["lost_usd"], of_theirs["suppliers"]) == ("4711", 1)
    assert ask("olga", "GET", f"/api/v1/backtests?supplier={THEIRS}").json() == []
    page = ask("ann", "GET", f"/what-if/{BACKTEST}").text
    assert "4,717.69" in page
    assert "price.abs_tol_usd: 0.5 → 2" in page
    assert HOSTILE not in page
    assert "Lost is a break that the policies of the time report and the file would not" in page
    assert f"/what-if/{BACKTEST}" in ask("olga", "GET", f"/suppliers/{OURS}").text
    assert ask("ann", "GET", "/what-if/none").status_code == 404


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


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        ("=1+1", True),
        ("  =1+1", True),
        ("\ufeff\x00@SUM(A1)", True),
        ("\u3000－1", True),
        ("\tx", True),
        ("a=1", False),
    ],
)
def test_a_text_that_a_spreadsheet_would_run_is_quoted(text: str, runs: bool) -> None:
    row = dict.fromkeys(exports.COLUMNS) | {"activity_id": text}
    lines = b"".join(exports.as_csv(pl.DataFrame([row]))).decode()
    (read,) = csv.DictReader(io.StringIO(lines, newline=""))
    assert read["activity_id"] == ("'" if runs else "") + text


def test_the_map_says_what_is_configured_and_how_the_alerts_stand(
    settings: Settings, own: tuple[str, Ask], tmp_path: Path
) -> None:
    _, ask = own
    file = tmp_path / "p.yaml"
    file.write_text(f"version: 1\nsuppliers:\n  {OURS}: {{mode: DAILY_ONLY, grace: 2h}}\n")
    policies.apply(settings, file, AT)
    put(settings, "fx_rates", [{"rate_date": DAY, "currency": "EUR", "usd_per_unit": Decimal(1), "fx_version": 4}])
    sink = {"sink": "on-call", "sent": 3, "failing_since": AT.isoformat(), "next_try_at": None, "why": "<b>503</b>"}
    told = {"told_at": AT.isoformat(), "open": 7, "incidents": 2, "lake": None, "sinks": [{**sink, "fallback": "mail"}]}
    status_file(settings).parent.mkdir(parents=True)
    status_file(settings).write_text(json.dumps(told))
    found = ask("ann", "GET", "/api/v1/system").json()
    assert (found["modes"], found["fx_version"], found["rates_until"]) == ({"DAILY_ONLY": 1}, 4, DAY.isoformat())
    assert found["alerts"]["sinks"][0]["fallback"] == "mail"
    page = ask("ann", "GET", "/system").text
    assert "failing since 2026-03-09 10:00:00Z" in page
    assert "&lt;b&gt;503" in page
    assert '<td class="n">2h</td>' in ask("ann", "GET", f"/suppliers/{OURS}").text
    status_file(settings).write_text("{")
    assert "cannot be read" in ask("ann", "GET", "/system").text


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


def test_the_api_says_whom_an_exception_may_be_assigned_to(ask: Ask) -> None:
    assert ask("ann", "GET", "/api/v1/colleagues").json() == ["ann", "olga"]
    assert ask("ann", "GET", f"/api/v1/colleagues?supplier={THEIRS}").json() == ["ann"]
    assert ask("olga", "GET", f"/api/v1/colleagues?supplier={OURS}").json() == ["ann", "olga"]
    assert ask("olga", "GET", f"/api/v1/colleagues?supplier={THEIRS}").status_code == 404


def test_the_audit_is_shown_also_after_a_crash_within_a_line(settings: Settings, own: tuple[str, Ask]) -> None:
    settings.console.audit_file.write_text('{"at": "then", "what": "signed in", "user": "x", "address": "y"}\n{"at": ')
    assert [one["user"] for one in own[1]("ann", "GET", "/api/v1/audit").json()] == ["x"]
    assert own[1]("ann", "GET", "/audit").status_code == 200


def test_the_api_is_described_and_every_path_of_it_needs_somebody(ask: Ask, url: str) -> None:
    described = ask("ann", "GET", "/api/v1/openapi.json").json()["paths"]
    assert {"/api/v1/exceptions", "/api/v1/exceptions/actions", "/api/v1/closes/{close_id}"} <= set(described)
    for path, told in [*described.items(), ("/api/v1/openapi.json", {"get": {}})]:
        method = next(iter(told)).upper()
        assert httpx.request(method, url + path, json={}).status_code == 401, path


@pytest.mark.parametrize("path", ["/exceptions?age=99", "/exceptions?sort=nonsense", "/exceptions?page=x"])
def test_a_link_that_is_not_understood_says_which_part(ask: Ask, path: str) -> None:
    page = ask("ann", "GET", path)
    assert page.status_code == 422
    assert path.partition("?")[2].partition("=")[0] in page.text


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
