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
