"""The relay, from real databases to a real broker: what is committed is published, in order."""

import json
import threading
import time
from pathlib import Path

import pytest

from jobs.cli.broker import Broker, free_port
from jobs.cli.main import main
from jobs.common.errors import FAILED, UserError
from jobs.common.metrics import REGISTRY
from jobs.ingest.outbox import AwayError, open_outbox
from jobs.ingest.outbox_postgresql import CHANNEL
from jobs.ingest.outbox_table import OutboxTable
from jobs.ingest.relay import Relay
from jobs.ingest.relay_command import create
from jobs.ingest.stopping import Stopping
from tests.ingest.databases import ROOT, Database
from tests.ingest.shop import Shop, assert_in_order, wait_for


def test_what_is_committed_is_published_once_with_its_key_and_id(shop: Shop) -> None:
    shop.add("A-1", "A-2", "A-1")
    shop.add("S-1", "Ünïcode 客", side="supplier")
    undone = shop.connect()
    shop.write(undone, "A-9", "A-1")
    undone.rollback()
    assert shop.drain().published == 5
    assert shop.drain().published == 0
    seen = shop.records()
    assert_in_order(seen, shop.ids())
    assert len(seen) == 5
    assert {(record.topic, record.key) for record in seen} == {
        (shop.topics["agoda"], "A-1"),
        (shop.topics["agoda"], "A-2"),
        (shop.topics["supplier"], "S-1"),
        (shop.topics["supplier"], "Ünïcode 客"),
    }
    assert all(record.value == {"activityId": record.key} for record in seen)
    assert shop.unpublished() == 0


def test_history_is_published_as_of_its_creation_and_without_heartbeats(shop: Shop) -> None:
    shop.add("A-1", "A-2")
    at = "to_timestamp" if shop.database.kind == "postgresql" else "from_unixtime"
    for activity, seconds in (("A-1", "1773050400.123999"), ("A-2", "1773050400.9995")):
        shop.database.run(f"update {shop.table} set created_at = {at}({seconds}) where aggregateid = '{activity}'")
    assert shop.drain(is_backfill=True).published == 2
    # To the millisecond, cut.
    assert {(one.key, one.stamp) for one in shop.records()} == {("A-1", 1773050400123), ("A-2", 1773050400999)}
    assert shop.beats() == []
    before = time.time()
    shop.add("A-1")
    assert shop.drain().published == 1
    assert max(one.stamp for one in shop.records()) / 1000 >= before - 1
    assert shop.beats()


def test_what_can_never_be_published_is_parked_with_its_reason_and_can_come_back(shop: Shop) -> None:
    shop.add("A-1")
    shop.add("A-1", payload=json.dumps({"activityId": "A-1", "note": "x" * 1_100_000}))
    shop.add("H-1", side="hotel")
    shop.add("A-1", "A-2")
    before = REGISTRY.value("reco_relay_parked_total", reason="TOO_LARGE") or 0
    done = shop.drain()
    assert (done.published, done.parked) == (3, 2)
    assert [record.key for record in shop.records() if record.key == "A-1"] == ["A-1", "A-1"]
    parked = shop.rows("aggregateid, aggregatetype, reason", "_dead")
    assert [(activity, kind) for activity, kind, _why in parked] == [("A-1", "agoda"), ("H-1", "hotel")]
    assert "too large" in parked[0][2]
    assert parked[0][2].startswith("1,100,")
    assert "'hotel'" in parked[1][2]
    assert REGISTRY.value("reco_relay_parked_total", reason="TOO_LARGE") == before + 1
    back = (
        (ROOT / "docs/outbox.md").read_text().split(f"<!-- back: {shop.database.kind} -->\n```sql\n")[1].split("```")[0]
    )
    connection = shop.connect()
    with connection.cursor() as cursor:
        cursor.execute(f"update {shop.table}_dead set aggregatetype = 'supplier' where aggregateid = 'H-1'")
        for statement in back.replace("outbox", shop.table).replace("…", "H-1").split(";")[:-1]:
            cursor.execute(statement)
    connection.commit()
    assert shop.drain().published == 1
    assert {record.key for record in shop.records() if record.topic == shop.topics["supplier"]} == {"H-1"}
    assert len(shop.rows("id", "_dead")) == 1


def test_two_relays_share_the_rows_and_keep_each_activitys_order(shop: Shop) -> None:
    names = [f"A-{number % 7}" for number in range(600)]
    shop.add(*names)
    with shop.relaying(batch_size=20) as one, shop.relaying(batch_size=20) as other:
        for _ in range(5):
            shop.add(*names[:100])
        wait_for(lambda: shop.unpublished() == 0, "the end of the backlog")
    assert min(one.done.published, other.done.published) > 0
    assert one.done.published + other.done.published == 1100
    assert_in_order(shop.records(), shop.ids())
    assert len(shop.records()) == 1100


def test_a_relay_that_was_asked_to_stop_ends_and_the_next_goes_on(shop: Shop) -> None:
    with shop.relaying():
        shop.add("A-1")
        wait_for(lambda: shop.unpublished() == 0, "the first row's publication")
    shop.add("A-1")
    assert shop.unpublished() == 1
    assert shop.drain().published == 1


def test_a_relay_of_one_side_leaves_the_others_rows(shop: Shop) -> None:
    shop.add("A-1")
    shop.add("S-1", side="supplier")
    assert shop.drain(sides=["supplier"]).published == 1
    assert [record.key for record in shop.records()] == ["S-1"]
    assert {beat.topic for beat in shop.beats()} == {shop.topics["supplier"]}
    assert shop.unpublished() == 1


def test_the_database_is_waited_for(shop: Shop) -> None:
    shop.add("A-1")
    with shop.relaying() as relay:
        # Until it knows it itself: of a commit whose answer is lost nobody can say that it was.
        wait_for(lambda: relay.done.published == 1, "the first row's publication")
        shop.database.stop()
        try:
            wait_for(lambda: REGISTRY.value("reco_relay_waiting", what="database") == 1, "waiting for the database")
        finally:
            shop.database.start()
        shop.add("A-1")
        wait_for(lambda: shop.unpublished() == 0, "the second row's publication")
        wait_for(lambda: REGISTRY.value("reco_relay_waiting", what="database") == 0, "the end of waiting")
    assert relay.done.published == 2


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_the_broker_is_waited_for_and_nothing_stays_locked(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.ingest.relay.PATIENCE_SECONDS", 4.0)
    with Broker(tmp_path, free_port()) as broker, Shop(database, broker.bootstrap_servers, tmp_path) as shop:
        shop.add("A-1")
        with shop.relaying():
            wait_for(lambda: shop.unpublished() == 0, "the first row's publication")
            broker.kill()
            shop.add(*["A-1"] * 50)
            wait_for(lambda: REGISTRY.value("reco_relay_waiting", what="broker") == 1, "waiting for the broker")
            free = (
                f"select count(*) from (select 1 from {shop.table} where published_at is null for update skip locked) a"
            )
            wait_for(lambda: database.run(free) == [(50,)], "letting go of the rows")
            broker.start()
            wait_for(lambda: shop.unpublished() == 0, "the other rows' publication")
        assert_in_order(shop.records(), shop.ids())


def test_published_rows_stay_so_long_and_then_go_to_the_archive(shop: Shop) -> None:
    shop.add(*[f"A-{number}" for number in range(30)])
    assert shop.drain(keep_hours=1).published == 30
    assert len(shop.rows("id")) == 30
    archive = f"{shop.table}_old"
    told = shop.told(archive_table=archive, keep_hours=0)
    create(told)
    shop.add("A-99")
    shop.drain(archive_table=archive, keep_hours=0)
    with shop.relaying(archive_table=archive, keep_hours=0):
        wait_for(lambda: not shop.rows("id"), "the removal of all rows")
    kept = shop.database.run(f"select aggregateid, published_at from {archive}")
    assert len(kept) == 31
    assert all(published for _activity, published in kept)
    shop.add("A-100")
    with shop.relaying(keep_hours=0):
        wait_for(lambda: not shop.rows("id"), "the removal without an archive")
    assert len(shop.database.run(f"select 1 from {archive}")) == 31


def test_an_archive_that_cannot_be_written_is_named_at_the_start(shop: Shop) -> None:
    schema = "public" if shop.database.kind == "postgresql" else "shop"
    for name in (shop.table, f"{schema}.{shop.table}"):
        with pytest.raises(UserError, match=r"outbox\.archive_table is the outbox .* itself"):
            shop.outbox(archive_table=name).check()
    with pytest.raises(UserError, match=r"outbox\.archive_table nowhere cannot be written .*grant insert"):
        shop.drain(archive_table="nowhere")
    other = f"{shop.table}_else"
    shop.database.run(f"create table {other} (id integer)")
    with pytest.raises(UserError, match=rf"outbox\.archive_table {other} cannot be written"):
        shop.outbox(archive_table=other).check()


@pytest.mark.parametrize("database", ["postgres", pytest.param("mariadb", marks=pytest.mark.long)], indirect=True)
def test_an_archive_that_is_lost_later_does_not_hold_rows_up(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    archive = f"{shop.table}_old"
    create(shop.told(archive_table=archive))
    shop.add("A-1")
    with shop.relaying(archive_table=archive, keep_hours=0) as relay:
        wait_for(lambda: not shop.rows("id"), "the move of the first row")
        shop.database.run(f"drop table {archive}")
        shop.add("A-2")
        told = [""]

        def is_told() -> bool:
            told[0] += capsys.readouterr().err
            return "old rows stay" in told[0]

        wait_for(is_told, "its mention")
        beats = relay.done.heartbeats
        shop.add("A-3")
        wait_for(lambda: shop.unpublished() == 0, "the publication of the rows after it")
        wait_for(lambda: relay.done.heartbeats >= beats + 4, "heartbeats after it")
        assert REGISTRY.value("reco_relay_waiting", what="database") == 0
    assert '"event": "waiting"' not in told[0] + capsys.readouterr().err
    assert [activity for (activity,) in shop.rows("aggregateid")] == ["A-2", "A-3"]


def test_until_empty_that_is_stopped_before_is_a_failure(shop: Shop) -> None:
    shop.add("A-1", "A-2")
    locking = shop.connect()
    with locking.cursor() as cursor:
        cursor.execute(f"select id from {shop.table} for update")
    stopping = Stopping()
    relay = Relay(shop.settings, open_outbox(shop.settings.outbox), stopping)
    raised: list[UserError] = []

    def work() -> None:
        try:
            relay.run(until_empty=True)
        except UserError as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        wait_for(lambda: relay.done.heartbeats > 0, "its work")
    finally:
        stopping.ask()
        thread.join(60)
        locking.rollback()
    assert "Stopped before the outbox was empty, after 0 rows" in str(raised[0])
    assert raised[0].exit_code == FAILED


def test_a_relay_that_hangs_is_not_the_voice_for_long(shop: Shop) -> None:
    asked = "show idle_session_timeout" if shop.database.kind == "postgresql" else "select @@session.wait_timeout"
    assert shop.outbox().ask(asked)[0][0] in ("1min", 60)
    assert shop.outbox(heartbeat_seconds=600).ask(asked)[0][0] in ("645s", 645)


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_nor_where_it_is_woken_all_the_time(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process that hangs does not read must not keep the server from ending its session."""
    monkeypatch.setattr(OutboxTable, "longest_silence", lambda _self: 1)
    hanging, other = shop.outbox(), shop.outbox(heartbeat_seconds=2)
    assert hanging.speak_for("agoda")
    shop.database.run(f"select pg_notify('{CHANNEL}', repeat('x', 7000) || n) from generate_series(1, 300) as n")

    def is_free() -> bool:
        try:
            return other.speak_for("agoda")
        except AwayError:  # nor may it be silent itself
            other.close()
            other.open()
            return False

    wait_for(is_free, "the end of the voice that hangs", 20)


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_being_woken_is_not_remembered_while_there_is_work(shop: Shop) -> None:
    outbox = shop.outbox()
    for _ in range(30):
        shop.add("A-1")
        outbox.settle(outbox.claim(), [])
    outbox.now()
    kept = [list(connection.notifies(timeout=0)) for connection in (outbox.work, outbox.watch)]
    assert sum(map(len, kept)) < 5
    shop.add("A-1")
    began = time.monotonic()
    outbox.wait(30)
    assert time.monotonic() - began < 15


@pytest.mark.parametrize(("kind", "says"), [("postgresql", "timestamptz"), ("mysql", "timestamp(6)")])
def test_the_ddl_is_printed_without_a_database(kind: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["relay", "--print-ddl", kind])
    assert ended.value.code == 0
    assert says in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["relay", "--print-ddl", kind, "--json"])
    ddl = json.loads(capsys.readouterr().out)["ddl"]
    assert says in ddl[0]
    assert all(statement.startswith(("create ", "alter ", "drop ")) for statement in ddl)
