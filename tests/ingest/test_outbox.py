"""Claims and the truth of heartbeats, on real databases, without anything that runs beside the test."""

import re
import threading
from datetime import timedelta

import psycopg
import pymysql
import pytest

from jobs.common.errors import FAILED, USAGE, UserError
from jobs.common.settings import load_settings
from jobs.ingest.outbox import ms, open_outbox, utc
from jobs.ingest.outbox_mysql import too_old
from jobs.ingest.relay_command import create
from tests.ingest.databases import Postgres
from tests.ingest.shop import Shop, wait_for


def test_a_row_is_kept_back_until_those_before_it_are_published(shop: Shop) -> None:
    shop.add("A-1", "A-1", "A-2", "A-1")
    one, other = shop.outbox(batch_size=1), shop.outbox()
    first = one.claim()
    assert [row.seq for row in one.in_order(first)] == [first[0].seq]
    later = other.claim()
    assert [row.aggregateid for row in later] == ["A-1", "A-2", "A-1"]
    assert [row.aggregateid for row in other.in_order(later)] == ["A-2"]
    one.settle(first, [])
    # What was claimed stays so: the look sees what was committed since.
    assert [row.aggregateid for row in other.in_order(later)] == ["A-1", "A-2", "A-1"]
    other.release()
    assert len(other.claim()) == 3


def test_a_mark_is_kept_only_of_what_was_confirmed(shop: Shop) -> None:
    shop.add("A-1", "A-2", "A-3")
    outbox = shop.outbox()
    claimed = outbox.claim()
    outbox.mark_early(claimed)
    assert shop.unpublished() == 3
    outbox.settle(claimed[:1], [(claimed[1], "too large")])
    assert [(name, at is None) for name, at in shop.rows("aggregateid, published_at")] == [
        ("A-1", False),
        ("A-3", True),
    ]
    again = outbox.claim()
    outbox.mark_early(again)
    outbox.close()
    wait_for(lambda: shop.unpublished() == 1, "the mark of a relay that died to be gone")


def test_a_row_that_commits_late_is_neither_lost_nor_overtaken(shop: Shop) -> None:
    early = shop.connect()
    shop.write(early, "A-1")
    shop.add("A-2")
    outbox = shop.outbox()
    claimed = outbox.claim()
    assert [row.aggregateid for row in claimed] == ["A-2"]
    outbox.settle(claimed, [])
    early.commit()
    assert [row.aggregateid for row in outbox.claim()] == ["A-1"]


def test_rows_of_a_dead_relay_are_free_again(shop: Shop) -> None:
    shop.add("A-1")
    one, other = shop.outbox(), shop.outbox()
    assert len(one.claim()) == 1
    assert other.claim() == []
    other.release()
    one.close()
    wait_for(lambda: len(other.claim()) == 1, "the end of the dead one's claim")


def test_a_heartbeat_never_passes_a_row_that_is_not_published(shop: Shop) -> None:
    outbox = shop.outbox()
    open_one = shop.connect()
    shop.write(open_one, "A-1")
    with open_one.cursor() as cursor:
        cursor.execute(f"select created_at from {shop.table}")
        created = ms(utc(cursor.fetchone()[0]))
    later = shop.connect()
    wait_for(lambda: ms(outbox.now()) > created + 2500, "the time to pass")
    assert outbox.complete_until() < created, "of an open transaction"
    open_one.commit()
    # The server's own transactions, of its cleaning up, hold the time back too while they last.
    wait_for(lambda: outbox.complete_until() == created - 1, "the time before the row that is committed, not published")
    claimed = outbox.claim()
    wait_for(lambda: outbox.complete_until() == created - 1, "the time before the row that is claimed, not published")
    outbox.settle(claimed, [])
    wait_for(lambda: outbox.complete_until() > created, "the time to pass it once it is published")
    later.rollback()


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_a_transaction_that_has_not_written_yet_holds_the_time_back(shop: Shop) -> None:
    """Of PostgreSQL: a row's creation is the beginning of its transaction."""
    outbox = shop.outbox()
    before = ms(outbox.now())
    reading = shop.connect()
    reading.execute("select 1")
    wait_for(lambda: ms(outbox.now()) > before + 1500, "the time to pass")
    assert outbox.complete_until() < before + 500
    shop.write(reading, "A-1")
    reading.commit()
    assert outbox.complete_until() < before + 500


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
def test_a_statement_that_waits_holds_the_time_back_when_its_transaction_began(shop: Shop) -> None:
    """Of MySQL: a row's creation is its statement's beginning, which may be long before the transaction's."""
    outbox = shop.outbox()
    outbox.complete_until()
    locking, writing = shop.connect(), shop.connect()
    with locking.cursor() as cursor:
        cursor.execute(f"lock tables {shop.table} write")
    thread = threading.Thread(target=lambda: shop.write(writing, "A-1"))
    before = ms(outbox.now())
    thread.start()
    running = "select count(*) from information_schema.processlist where info like 'insert into%%' and time > 2"
    wait_for(lambda: shop.database.run(running) == [(1,)], "the statement to wait")
    assert outbox.oldest_transaction() is not None
    with locking.cursor() as cursor:
        cursor.execute("unlock tables")
    thread.join()
    with writing.cursor() as cursor:
        cursor.execute(f"select created_at from {shop.table}")
        created = ms(utc(cursor.fetchone()[0]))
    assert created < before + 1000, "its creation is before its wait"
    began = outbox.oldest_transaction()
    assert began is not None
    assert ms(began) <= created
    writing.commit()


def test_an_open_transaction_began_when_it_did_whatever_the_servers_zone_is(shop: Shop) -> None:
    outbox = shop.outbox()
    outbox.complete_until()
    before = ms(outbox.now())
    shop.write(shop.connect(), "A-1")
    began = outbox.oldest_transaction()
    assert began is not None
    assert before - 3_000 < ms(began) <= ms(outbox.now())


def test_parked_rows_hold_nothing_back(shop: Shop) -> None:
    shop.add("A-1", side="hotel")
    outbox = shop.outbox()
    claimed = outbox.claim()
    outbox.settle([], [(row, "no side") for row in claimed])
    now = ms(outbox.now())
    wait_for(lambda: outbox.complete_until() >= now, "the time to pass the parked row")


def test_one_speaks_and_never_says_less_than_before(shop: Shop) -> None:
    one, other = shop.outbox(), shop.outbox()
    assert one.speak_for("agoda")
    assert not other.speak_for("agoda")
    assert other.speak_for("supplier")
    assert [one.move_on("agoda", until) for until in (5, 5, 4, 6)] == [True, False, False, True]
    one.close()
    wait_for(lambda: other.speak_for("agoda"), "the voice to be free")
    assert not other.move_on("agoda", 6)
    assert other.said("agoda") == 6


def test_where_others_cannot_be_seen_the_time_stays_behind(shop: Shop) -> None:
    user, password = f"u{shop.table[:20]}", "hunter2"
    for statement in _user(shop, user, password):
        shop.database.run(statement)
    dsn = _dsn_of(shop, user, password)
    scheme, address = dsn.partition(":")[0], dsn.partition("@")[2]
    outbox = shop.outbox(dsn=dsn, longest_transaction_minutes=7)
    outbox.check()
    open_one = shop.connect()
    shop.write(open_one, "A-1")
    behind = ms(outbox.now()) - outbox.complete_until()
    assert timedelta(minutes=7) <= timedelta(milliseconds=behind) < timedelta(minutes=8)
    open_one.rollback()
    if scheme == "mysql":
        with pytest.raises(UserError, match=r"refuses us.*Access denied") as caught:
            shop.outbox(dsn=f"mysql://{user}:wrong@{address}")
    else:
        with pytest.raises(UserError, match=r"refuses us.*nobody_here") as caught:
            shop.outbox(dsn=f"postgresql://nobody_here:{password}@{address}")
    assert "hunter2" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_missing_tables_are_named_with_the_remedy_and_made_once(shop: Shop) -> None:
    other = f"{shop.table}_b"
    with pytest.raises(UserError, match=rf"The table {other} .*reco relay --init"):
        shop.outbox(table=other).check()
    told = shop.told(table=other)
    create(told)
    create(told)
    shop.outbox(table=other).check()


@pytest.mark.parametrize("right", ["select", "update", "delete"])
def test_a_right_that_is_missing_is_named_before_anything_is_tried(shop: Shop, right: str) -> None:
    user, password = f"u{shop.table[:20]}", "hunter2"
    for statement in _user(shop, user, password):
        shop.database.run(statement)
    who = user if shop.database.kind == "postgresql" else f"{user}@'%'"
    shop.database.run(f"revoke {right} on {shop.table} from {who}")
    outbox = shop.outbox(dsn=_dsn_of(shop, user, password))
    with pytest.raises(UserError, match=rf"The table {shop.table} .*denied.*: grant .*docs/outbox\.md") as caught:
        outbox.check()
    assert "--init" not in str(caught.value)
    assert password not in str(caught.value)


@pytest.mark.parametrize(
    ("suffix", "right"), [("_dead", "insert"), ("_dead", "delete"), ("_heartbeat", "insert"), ("_heartbeat", "update")]
)
def test_so_is_one_on_the_tables_beside(shop: Shop, suffix: str, right: str) -> None:
    user = f"u{shop.table[:20]}"
    for statement in _user(shop, user, "hunter2"):
        shop.database.run(statement)
    who = user if shop.database.kind == "postgresql" else f"{user}@'%'"
    shop.database.run(f"revoke {right} on {shop.table}{suffix} from {who}")
    with pytest.raises(UserError, match=rf"The table {shop.table}{suffix} .*denied.*: grant"):
        shop.outbox(dsn=_dsn_of(shop, user, "hunter2")).check()


def test_a_column_that_is_missing_is_named_with_the_ddl(shop: Shop) -> None:
    shop.database.run(f"alter table {shop.table}_heartbeat drop column event_time_ms")
    with pytest.raises(UserError, match=rf"The table {shop.table}_heartbeat .*event_time_ms.*--print-ddl"):
        shop.outbox().check()


def test_a_creation_by_the_clock_of_whoever_writes_is_refused(shop: Shop) -> None:
    """Read as UTC, a row from a session in Asia would be of the future, and heartbeats would pass it."""
    kind = (
        "alter column created_at type timestamp" if shop.database.kind == "postgresql" else "modify created_at datetime"
    )
    shop.database.run(f"alter table {shop.table} {kind}")
    with pytest.raises(UserError, match=rf"created_at of {shop.table} has no time zone.*docs/outbox.md"):
        shop.outbox().check()


def test_tables_that_cannot_be_made_are_no_mistake_of_the_settings_where_nothing_answers(shop: Shop) -> None:
    scheme = "postgresql" if shop.database.kind == "postgresql" else "mysql"
    with pytest.raises(UserError, match=r"could not be made.*refused") as caught:
        create(shop.told(dsn=f"{scheme}://127.0.0.1:1/shop"))
    assert caught.value.exit_code == FAILED
    with pytest.raises(UserError, match=r"could not be made.*nowhere") as caught:
        create(shop.told(table="nowhere.outbox"))
    assert caught.value.exit_code == USAGE


@pytest.mark.parametrize(
    ("told", "is_known"),
    [
        ("8.0.12", False),
        ("8.0.13-log", True),
        ("8.4.2", True),
        ("5.7.44", False),
        ("5.5.5-10.5.28-MariaDB-0+deb11u2", False),
        ("10.6.0-MariaDB", True),
        ("5.5.5-11.8.3-MariaDB-0+deb13u1", True),
        ("who knows", True),
    ],
)
def test_a_mysql_that_cannot_skip_what_is_locked_is_refused(told: str, is_known: bool) -> None:
    assert (too_old(told) is None) == is_known


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
def test_a_server_that_is_too_old_is_named(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pymysql.Connection, "get_server_info", lambda _self: "10.5.28-MariaDB")
    with pytest.raises(UserError, match=r"outbox\.dsn is MariaDB 10\.5\.28, .*MariaDB 10\.6 or later"):
        create(shop.settings)


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_so_is_an_old_postgresql(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psycopg.ConnectionInfo, "server_version", 110_022)
    with pytest.raises(UserError, match=r"outbox\.dsn is PostgreSQL 11, .*12 or later"):
        create(shop.settings)


def test_a_database_without_an_encoding_is_refused(postgres: Postgres) -> None:
    postgres.run_alone("create database ascii encoding 'SQL_ASCII' locale 'C' template template0")
    settings = load_settings().outbox.model_copy(
        update={"sides": ["agoda"], "dsn": postgres.server.get_uri(database="ascii")}
    )
    outbox = open_outbox(settings)
    outbox.open()
    try:
        outbox.create()
        with pytest.raises(UserError, match="SQL_ASCII"):
            outbox.check()
    finally:
        outbox.close()


def test_an_id_of_another_type_is_refused(postgres: Postgres) -> None:
    named = {"sides": ["agoda"], "dsn": postgres.dsn, "table": "worded"}
    outbox = open_outbox(load_settings().outbox.model_copy(update=named))
    outbox.open()
    try:
        outbox.create()
        with postgres.connect() as connection:
            connection.execute("alter table worded alter id drop default, alter id type varchar(36)")
        with pytest.raises(
            UserError, match=r"The column id of worded is character varying, and must be uuid: docs/outbox.md"
        ):
            outbox.check()
    finally:
        outbox.close()


def test_names_may_have_a_schema(postgres: Postgres) -> None:
    postgres.run("create schema if not exists booking")
    settings = load_settings().outbox.model_copy(
        update={"sides": ["agoda"], "dsn": postgres.dsn, "table": "booking.Outbox"}
    )
    outbox = open_outbox(settings)
    outbox.open()
    try:
        outbox.create()
        outbox.check()
        assert postgres.run('select count(*) from booking."Outbox_dead"') == [(0,)]
    finally:
        outbox.close()


@pytest.mark.parametrize(
    ("dsn", "message"),
    [
        ("", "outbox.dsn is not set"),
        ("oracle://db/shop", "must be a URL postgresql://"),
        ("env:NOT_SET_ANYWHERE", "outbox.dsn refers to env:NOT_SET_ANYWHERE, which is not set or empty"),
        ("mysql://db:3306", "names no database"),
        ("mysql://db:x/shop", "the port is no number"),
        ("mysql://db/shop?sslmode=require", "knows no option sslmode"),
        ("postgresql://relay:hun@ter2@db/shop", "write %40 for @"),
        ("mysql://relay:hun@ter2@db/shop", "write %40 for @"),
        ("postgresql://relay:hun/ter2@db/shop", "%2F for /"),
        ("mysql://relay:1?ter2@db/shop", "%3F for ?"),
        ("mysql://db/shop?ssl_ca=/nowhere/ca.pem", "outbox.dsn: ssl_ca /nowhere/ca.pem cannot be read"),
        ("mysql://db/shop?charset=latin1", "knows no option charset"),
        ("postgresql://relay@127.0.0.1:1/shop?sslmode=ter2", "outbox.dsn: invalid sslmode value"),
        (
            "postgresql:///shop?host=/nowhere&port=ter2",
            'outbox.dsn: invalid integer value for connection option "port"',
        ),
        ("postgresql://relay@127.0.0.1:1/shop?servic=x", "no URL that PostgreSQL's client understands"),
    ],
)
def test_a_dsn_that_makes_no_sense_is_said_so(dsn: str, message: str) -> None:
    settings = load_settings().outbox.model_copy(update={"sides": ["agoda"], "dsn": dsn})
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        open_outbox(settings).open()
    assert "ter2" not in str(caught.value)


def test_whose_outbox_it_is_must_be_said() -> None:
    settings = load_settings().outbox.model_copy(update={"dsn": "postgresql://db/shop"})
    assert settings.sides == []
    with pytest.raises(UserError, match=r"outbox\.sides is not set: .*RECO_OUTBOX__SIDES"):
        open_outbox(settings)


def _dsn_of(shop: Shop, user: str, password: str) -> str:
    address = shop.database.dsn.partition("@")[2]
    scheme = "postgresql" if shop.database.kind == "postgresql" else "mysql"
    return f"{scheme}://{user}:{password}@{address}"


def _user(shop: Shop, user: str, password: str) -> list[str]:
    """Statements that make a user who may do what docs/outbox.md asks for, but not see others."""
    tables = [shop.table, f"{shop.table}_dead", f"{shop.table}_heartbeat"]
    if shop.database.kind == "postgresql":
        return [
            f"create role {user} login password '{password}'",
            f"grant select, insert, update, delete on {', '.join(tables)} to {user}",
        ]
    return [
        f"create user {user}@'%' identified by '{password}'",
        *[f"grant select, insert, update, delete on shop.{table} to {user}@'%'" for table in tables],
    ]
