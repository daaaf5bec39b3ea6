"""The expectations on a day's profile, and that a day that fails them is not published."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import Mock

import pytest

from jobs.common.engines import Session
from jobs.common.errors import FAILED, UserError
from jobs.daily.checks import run_expectations
from jobs.daily.close import close_day
from jobs.daily.flaws import FLAWS
from jobs.daily.totals import ControlTotal, Profile
from tests.daily import small_lake
from tests.daily.small_lake import DAY


def sound() -> Profile:
    return Profile(
        facts=3,
        totals=[ControlTotal("S", side, keys_in=3, matched=3, key_sum_in=7, key_sum_out=7) for side in sides()],
        by_supplier={("S", "MATCHED"): 3},
        newest_event={side: _millis(23) for side in sides()},
    )


def _millis(hour: int) -> int:
    return int(datetime(2026, 3, 10, hour, tzinfo=UTC).timestamp() * 1000)


def sides() -> tuple[str, str]:
    return "AGODA", "SUPPLIER"


def test_a_sound_day_passes_and_is_documented(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    assert run_expectations(DAY, sound(), docs) == []
    assert (docs / "index.html").exists()
    assert len(list(docs.glob("validations/**/*.html"))) == 2
    run_expectations(DAY, sound(), docs)
    assert len(list(docs.glob("validations/**/*.html"))) == 2, "an earlier run's pages are replaced"


def test_templates_are_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = []
    for name in ("first", "second"):
        run_expectations(DAY, sound(), tmp_path / name)
        pages.append({page.relative_to(tmp_path / name).parts[0] for page in (tmp_path / name).rglob("*.html")})
        monkeypatch.setattr("jinja2.Environment.compile", Mock(side_effect=AssertionError("compiled again")))
    assert pages[0] == pages[1]


def test_an_empty_day_is_only_worth_a_warning(tmp_path: Path) -> None:
    assert {failure.severity for failure in run_expectations(DAY, Profile(), None)} == {"warning"}
    assert list(tmp_path.iterdir()) == []


def test_a_feed_that_stopped_is_only_worth_a_warning() -> None:
    stale = replace(sound(), newest_event={"AGODA": _millis(9)})
    (failure,) = run_expectations(DAY, stale, None)
    assert failure.severity == "warning"
    assert "newest_event_hours" in failure.what


def test_every_promise_is_critical() -> None:
    broken = sound()
    broken.totals[0].key_sum_out += 1
    broken.totals[1].matched -= 1
    broken.flaws[("S", "MATCHED")] = dict.fromkeys(FLAWS, 1)
    broken.by_supplier[("S", "PERHAPS")] = 1
    failures = run_expectations(DAY, broken, None)
    assert {failure.severity for failure in failures} == {"critical"}
    told = " ".join(map(str, failures))
    for name in ("keys_not_once", "unaccounted_keys", "outcome", *FLAWS):
        assert f" of {name}" in told


def test_a_day_that_breaks_them_is_not_published(session: Session, tmp_path: Path) -> None:
    settings = small_lake.make(tmp_path, [*small_lake.pair("BK-1", status="WEIRD"), *small_lake.pair("BK-2")])
    with pytest.raises(UserError, match=r"2026-03-10 .*unknown_status.*_expectations/2026-03-10/index.html") as error:
        close_day(session, settings, DAY, small_lake.NOON)
    assert error.value.exit_code == FAILED
    assert not (tmp_path / "gold").exists()
    assert (tmp_path / "_expectations" / "2026-03-10" / "index.html").exists()
