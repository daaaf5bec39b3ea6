"""`kill -9` of relays at random moments under load: every committed row is on its topic, in order, and no other."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest

from jobs.cli.processes import spawn, stop
from jobs.ingest.outbox import utc
from tests.ingest.shop import Shop, assert_in_order, wait_for

SEED = int(os.environ.get("RECO_KILLS_SEED", "5"))
ACTIVITIES = 40


class Writer(threading.Thread):
    """Applications that write as the recipe says, each its own activities; every seventh transaction is rolled back."""

    def __init__(self, shop: Shop, number: int) -> None:
        super().__init__()
        self.shop, self.number, self.ended = shop, number, threading.Event()
        self.failed: BaseException | None = None

    def run(self) -> None:
        rng, connection = Random(SEED + self.number), self.shop.database.connect()
        try:
            while not self.ended.is_set():
                side = rng.choice(("agoda", "supplier"))
                names = [f"{side}-{self.number}-{rng.randrange(ACTIVITIES)}" for _ in range(rng.randrange(1, 20))]
                undone = rng.randrange(7) == 0
                self.shop.write(connection, *names, side=side, payload=json.dumps({"undone": undone}))
                connection.rollback() if undone else connection.commit()
                self.ended.wait(0.01)
        except BaseException as error:
            self.failed = error
        finally:
            connection.close()


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.long)])
def test_killed_anywhere_nothing_is_lost_reordered_or_made_up(shop: Shop, kills: int) -> None:
    rng, log = Random(SEED), shop.folder / "relay.log"
    writers = [Writer(shop, number) for number in range(2)]
    relays: list[subprocess.Popen[bytes]] = [_relay(shop, log), _relay(shop, log)]
    try:
        for writer in writers:
            writer.start()
        for number in range(kills):
            before = _published(shop)
            # Both work, and then some time between two steps of either.
            wait_for(lambda seen=before: _published(shop) > seen + 50, "rows to be published")  # type: ignore[misc]
            time.sleep(rng.uniform(0, 0.3))
            victim = number % 2
            os.killpg(relays[victim].pid, signal.SIGKILL)
            relays[victim].wait()
            relays[victim] = _relay(shop, log)
    finally:
        for writer in writers:
            writer.ended.set()
            writer.join()
    wait_for(lambda: shop.unpublished() == 0, "the end of the backlog")
    codes = [stop(relay) for relay in relays]
    # One that was started anew may be asked to end before it can hear it: the other brought the backlog to its end.
    assert 0 in codes
    assert set(codes) <= {0, -signal.SIGTERM}
    assert [writer.failed for writer in writers] == [None, None]
    seen = shop.records()
    assert_in_order(seen, shop.ids())
    assert not any(record.value["undone"] for record in seen)
    _assert_heartbeats_were_true(shop)


def _assert_heartbeats_were_true(shop: Shop) -> None:
    """On its partition none goes back, and what comes first after one was not created before its time."""
    created = {str(event): at for event, at in shop.rows("id, created_at")}
    last: dict[tuple[str, int], Any] = {}
    met: set[str] = set()
    beats = 0
    for record in shop.all_records():
        place = (record.topic, record.partition)
        if record.event_id is None:
            beats += 1
            assert record.value["eventTime"] >= last.get(place, "")
            last[place] = record.value["eventTime"]
        elif record.event_id not in met:
            met.add(record.event_id)
            text = utc(created[record.event_id]).isoformat(timespec="milliseconds")
            assert text > last.get(place, "").replace("Z", ""), record
    assert beats > 0


def _published(shop: Shop) -> int:
    return int(shop.database.run(f"select count(*) from {shop.table} where published_at is not null")[0][0])


def _relay(shop: Shop, log: Path) -> subprocess.Popen[bytes]:
    outbox = shop.settings.outbox
    values = {
        "KAFKA__BOOTSTRAP_SERVERS": shop.settings.kafka.bootstrap_servers,
        "TOPICS__AGODA_RAW": shop.topics["agoda"],
        "TOPICS__SUPPLIER_RAW": shop.topics["supplier"],
        "OUTBOX__DSN": outbox.dsn,
        "OUTBOX__TABLE": outbox.table,
        "OUTBOX__SIDES": '["agoda", "supplier"]',
        "OUTBOX__BATCH_SIZE": "50",
        "OUTBOX__HEARTBEAT_SECONDS": "1",
        "OUTBOX__POLL_MILLISECONDS": "20",
    }
    env = {**os.environ, **{f"RECO_{name}": value for name, value in values.items()}}
    return spawn([sys.executable, "-m", "jobs.cli.main", "relay"], log, env=env)
