"""A day closed again: only what changed is recorded, also after an attempt that was stopped half-way; stale dates."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from jobs.common.engines import Session, engine_of
from jobs.common.settings import Settings
from jobs.daily import close, exceptions
from jobs.daily.close import close_day
from jobs.daily.revisions import silver_version, stale_dates
from tests.daily import small_lake
from tests.daily.small_lake import DAY, NOON

_CHANGES = ("revision", "change", "activity_id", "outcome_before", "outcome_after", "supplier_moved_usd", "close_id")


def changes(session: Session, settings: Settings) -> list[tuple[Any, ...]]:
    rows = engine_of(session).read(settings.table_path("close_changes")).select(*_CHANGES)
    return sorted(tuple(row) for row in rows.collect())


def test_a_revision_records_what_changed(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = small_lake.make(tmp_path, [*small_lake.pair("BK-OK"), small_lake.event("AGODA", "BK-ALONE", 15_000)])
    first = close_day(session, settings, DAY, NOON)
    assert (first.revision, first.changed_facts, first.amount_at_risk_usd) == (1, None, Decimal(150))
    small_lake.append(settings, [*small_lake.pair("BK-LATE"), small_lake.event("SUPPLIER", "BK-ALONE", 15_000)], 1000)

    planned = close_day(session, settings, DAY, NOON, dry_run=True)
    assert (planned.changes, planned.moved_usd) == ({"ADDED": 1, "CHANGED": 1}, Decimal(-150))

    def stopped(*_: object) -> None:
        raise InterruptedError

    # Once after the facts were replaced, once after all but the record in gold/closes.
    for module, name in ((exceptions, "keep_lives"), (close, "_record")):
        with monkeypatch.context() as patched:
            patched.setattr(module, name, stopped)
            with pytest.raises(InterruptedError):
                close_day(session, settings, DAY, NOON)
        # What silver received tells nothing here: it is looked at from its newest version on.
        assert stale_dates(session, settings, {DAY: silver_version(session, settings) or 0}) == [DAY]

    second = close_day(session, settings, DAY, NOON)
    assert stale_dates(session, settings, {DAY: silver_version(session, settings) or 0}) == []
    assert (second.revision, second.changes, second.moved_usd) == (2, planned.changes, planned.moved_usd)
    assert changes(session, settings) == [
        (2, "ADDED", "BK-LATE", None, "MATCHED", Decimal(100), second.close_id),
        (2, "CHANGED", "BK-ALONE", "MISSING_SUPPLIER", "MATCHED", Decimal(150), second.close_id),
    ]


def test_an_empty_day_is_closed_again(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spark's Delta makes no commit of a day without rows, so that there is none with the note of its close."""
    settings = small_lake.make(tmp_path, small_lake.pair("BK-OK"))
    before, noon = DAY - timedelta(days=1), NOON - timedelta(days=1)
    assert close_day(session, settings, before, NOON).facts == 0
    monkeypatch.setattr(type(engine_of(session)), "version_noted", lambda *_: None)
    assert close_day(session, settings, before, NOON).changes == {}
    small_lake.append(settings, [small_lake.event("AGODA", "BK-LATE", event_time=noon)], 1000)
    assert stale_dates(session, settings) == [before]
    assert close_day(session, settings, before, NOON).changes == {"ADDED": 1}


@pytest.mark.long
def test_a_day_that_loses_its_history_is_stale(session: Session, tmp_path: Path) -> None:
    """The late event draws one of the day after it into its own day, out of the reach of the last day's history."""
    last = NOON + timedelta(days=8)
    in_reach = NOON.replace(hour=0, minute=10) + timedelta(days=1)
    settings = small_lake.make(
        tmp_path,
        [
            small_lake.event("AGODA", "BK-1", event_time=in_reach),
            small_lake.event("SUPPLIER", "BK-1", event_time=last),
        ],
    )
    # Both sides, eight days apart.
    assert close_day(session, settings, last.date(), last).outcomes == {"MISMATCHED": 1}
    small_lake.append(
        settings,
        [small_lake.event("AGODA", "BK-1", event_id="A0", event_time=in_reach - timedelta(minutes=20))],
        1000,
    )
    assert stale_dates(session, settings) == [last.date()]
    assert close_day(session, settings, last.date(), last).outcomes == {"MISSING_AGODA": 1}
