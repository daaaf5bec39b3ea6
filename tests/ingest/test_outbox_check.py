"""A table of one's own that the relay could not read to the end is refused at its start, not when the row comes."""

import re

import pytest

from jobs.common.errors import UserError
from tests.ingest.shop import Shop

ALIKE = {
    "postgresql": {"blob": "bytea using payload::text::bytea", "json": "text"},
    "mariadb": {"blob": "longblob not null", "json": "mediumtext not null"},
}


def _alter(shop: Shop, column: str, kind: str) -> None:
    how = f"alter {column} type {kind}" if shop.database.kind == "postgresql" else f"modify {column} {kind}"
    shop.database.run(f"alter table {shop.table} {how}")


def test_bytes_are_no_payload(shop: Shop) -> None:
    _alter(shop, "payload", ALIKE[shop.database.kind]["blob"])
    with pytest.raises(UserError, match=rf"The column payload of {shop.table} is \w+, and must be .*docs/outbox\.md"):
        shop.outbox().check()


def test_text_is_one(shop: Shop) -> None:
    _alter(shop, "payload", ALIKE[shop.database.kind]["json"])
    shop.add("A-1")
    assert shop.drain().published == 1


@pytest.mark.parametrize("column", ["aggregateid", "payload", "created_at", "seq"])
def test_what_may_be_missing_is_said(shop: Shop, column: str) -> None:
    """A row without its activity, its event or its time could be neither published nor passed by."""
    kinds = {"aggregateid": "varchar(255)", "payload": "json", "created_at": "timestamp(6)", "seq": "bigint"}
    if shop.database.kind == "mariadb":
        shop.database.run(f"alter table {shop.table} modify {column} {kinds[column]} null")
    else:
        if column == "seq":
            shop.database.run(f"alter table {shop.table} alter seq drop identity")
        shop.database.run(f"alter table {shop.table} alter {column} drop not null")
    sentence = f"The column {column} of {shop.table} may be null: make it not null, as docs/outbox.md has the DDL."
    with pytest.raises(UserError, match=re.escape(sentence)):
        shop.outbox().check()


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
@pytest.mark.parametrize(("kind", "is_known"), [("uuid", True), ("varchar(36)", True), ("binary(16)", False)])
def test_an_id_must_have_a_text(shop: Shop, kind: str, is_known: bool) -> None:
    shop.database.run(f"alter table {shop.table} modify id {kind} not null default uuid()")
    if is_known:
        shop.add("A-1")
        assert shop.drain().published == 1
        assert shop.records()[0].event_id == str(shop.rows("id")[0][0])
        return
    with pytest.raises(UserError, match=rf"The column id of {shop.table} is binary, and must be char, varchar or uuid"):
        shop.outbox().check()


def test_what_the_database_has_as_its_defaults_changes_nothing(shop: Shop) -> None:
    """Dates as Germans write them; selects cut short, and updates refused that name no key."""
    is_postgres = shop.database.kind == "postgresql"
    changed = ["alter database shop set datestyle = 'German, DMY'"] if is_postgres else _GLOBALS
    back = ["alter database shop reset datestyle"] if is_postgres else _DEFAULTS
    try:
        for statement in changed:
            shop.database.run(statement)
        shop.outbox().check()
        shop.add("A-1", "A-1", "A-2")
        locked = shop.outbox(batch_size=1)
        assert len(locked.claim()) == 1
        other = shop.outbox()
        assert [row.aggregateid for row in other.in_order(other.claim())] == ["A-2"]
        locked.close()
        other.close()
        done = shop.drain()
        assert (done.published, done.heartbeats > 0) == (3, True)
    finally:
        for statement in back:
            shop.database.run(statement)


_GLOBALS = ["set global sql_safe_updates = 1", "set global sql_select_limit = 1"]
_DEFAULTS = ["set global sql_safe_updates = default", "set global sql_select_limit = default"]
