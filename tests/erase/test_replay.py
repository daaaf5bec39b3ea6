"""What was made of an erased record stays: the close, its hash anew, the explanation, what the console shows."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from jobs.common.engines.duckdb import duckdb_session
from jobs.common.errors import UserError
from jobs.common.lake import open_table
from jobs.common.settings import Settings
from jobs.console import quarantine, redrive
from jobs.console.tables import Tables
from jobs.console.users import Role, User
from jobs.daily.close import close_day
from jobs.daily.explain import Key, explain
from jobs.daily.explain_text import footing
from jobs.daily.replay import replay
from jobs.erase.main import erase, wanted_of
from jobs.maintain.main import maintain
from tests.cli.lake_rows import bronze, put
from tests.daily import small_lake
from tests.daily.small_lake import DAY, NOON, SUPPLIER
from tests.erase.partitioned import make_tables

ANN = b'{"guest":{"email":"ann@example.org"}}'
WHOLE = b'{"reco:masked":{"key":"k1","bytes":9,"hmac":"00"}}'


def lake(root: Path) -> Settings:
    """A closed day with the raw records of its first pair, and two of quarantine."""
    settings = small_lake.make(root / "lake", small_lake.events())
    make_tables(settings, "activity_raw", "quarantine")
    raw = [bronze(offset, ANN, source) | {"ingest_date": DAY} for offset, source in enumerate(("AGODA", "SUPPLIER"))]
    refused = [bronze(offset, value) | {"ingest_date": DAY} for offset, value in ((90, ANN), (91, WHOLE))]
    put(settings, "activity_raw", [*raw, *refused])
    put(settings, "quarantine", [row | {"reasons": ["MISSING_FIELD:version"]} for row in refused])
    return settings


def test_after_an_erasure_everything_else_is_as_before(tmp_path: Path) -> None:
    settings = lake(tmp_path)
    (tmp_path / "values").write_text("ann@example.org")
    with duckdb_session(settings) as session:
        report = close_day(session, settings, DAY, NOON)
        before = explain(session, settings, Key(SUPPLIER, "BK-OK"))
        wanted = wanted_of(settings.privacy, [], tmp_path / "values", ["guest.email"], [])
        done = erase(settings, wanted, "DSR-17", "asked by the person", "vera", NOON)
        assert (done.bronze_records, done.quarantine_records) == (3, 1)
        maintain(settings, datetime.now(UTC), vacuum_hours=0)
        assert replay(session, settings, report.close_id).replayed_hash == report.content_hash
        after = explain(session, settings, Key(SUPPLIER, "BK-OK"))
    assert (before.erased, after.deliveries, after.rules) == ([], before.deliveries, before.rules)
    first, second = after.erased
    assert first.startswith("The payload of agoda.raw.activity/0@0 was erased on 2026-03-10 by request DSR-17")
    assert "supplier.raw.activity/0@1" in second
    assert footing(after)[-2:] == [first, second]


def test_the_console_says_that_it_was_erased_and_sends_nothing_again(tmp_path: Path) -> None:
    settings = lake(tmp_path)
    wanted = wanted_of(settings.privacy, [], None, [], ["masked:k1:" + "0" * 64])
    assert erase(settings, wanted, "DSR-18", "asked", "vera", NOON).bronze_records == 0
    (tmp_path / "values").write_text("ann@example.org")
    wanted = wanted_of(settings.privacy, [], tmp_path / "values", [], [])
    erase(settings, wanted, "DSR-17", "asked", "vera", NOON)
    tables, ann = Tables(settings), User(name="ann", role=Role.ADMIN)
    total, rows = quarantine.records(tables, ann)
    assert total == 2
    shown = {row["offset"]: row["value_text"] for row in rows}
    assert shown[90] == "Erased on 2026-03-10 by request DSR-17."
    assert shown[91].startswith("Masked whole, ")
    for offset, says in ((90, "was erased on 2026-03-10 by request DSR-17"), (91, "was masked whole")):
        with pytest.raises(UserError, match=says):
            redrive.redrive(tables, [row for row in rows if row["offset"] == offset])
    assert open_table(settings, "erasures") is not None
