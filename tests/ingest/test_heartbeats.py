"""Heartbeats when clocks jump, and `reco heartbeat` for topics that have no relay."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from jobs.cli.main import main
from jobs.common.errors import FAILED, UserError
from jobs.common.settings import Settings
from jobs.ingest import heartbeats
from jobs.ingest.outbox import ms
from jobs.ingest.publisher import Publisher
from jobs.ingest.stopping import Stopping
from jobs.ingest.voice import Voice
from tests.ingest.shop import Shop

HOUR_MS = 3_600_000


class Clock:
    """Seconds since 1970; goes through what it was given, and asks for the end with the last."""

    def __init__(self, stopping: Stopping, *times: float) -> None:
        self.stopping, self.times = stopping, list(times)

    def __call__(self) -> float:
        if len(self.times) == 1:
            self.stopping.ask()
        return self.times.pop(0)


def voice(shop: Shop, monkeypatch: pytest.MonkeyPatch, shifts: dict[str, timedelta]) -> Voice:
    """A voice whose database's clock is off by `shifts["database"]`, and this machine's by `shifts["here"]`."""
    outbox = shop.outbox()
    true = outbox.now
    monkeypatch.setattr(outbox, "now", lambda: true() + shifts["database"])

    def here() -> float:
        return (true() + shifts["here"]).timestamp()

    publisher = Publisher(shop.settings, lambda _seconds: None, lambda: False)
    return Voice(shop.told(heartbeat_seconds=1), outbox, publisher, heartbeats.Partitions(shop.settings), here)


def times(shop: Shop, topic: str) -> list[int]:
    """What was said on partition 0 of a topic, milliseconds since 1970."""
    beats = [beat for beat in shop.beats() if (beat.topic, beat.partition) == (topic, 0)]
    return [ms(datetime.fromisoformat(beat.value["eventTime"])) for beat in beats]


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_clocks_that_jump_make_heartbeats_late_but_never_false(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = timedelta(0)
    shifts = {"database": nothing, "here": nothing}
    speaking = voice(shop, monkeypatch, shifts)
    now = ms(shop.outbox().now())
    assert speaking.speak_if_due() == 2
    shifts["database"] = timedelta(hours=1)  # ahead of ours: the record's own time is the limit
    monkeypatch.setattr(speaking, "_due", 0)
    assert speaking.speak_if_due() == 2
    said = times(shop, shop.topics["agoda"])
    assert said == sorted(said)
    assert said[-1] < now + HOUR_MS // 2
    shifts["database"] = -timedelta(hours=1)  # back: what would be said now was said long ago
    monkeypatch.setattr(speaking, "_due", 0)
    assert speaking.speak_if_due() == 0
    assert times(shop, shop.topics["agoda"]) == said
    shifts["database"] = shifts["here"] = timedelta(minutes=2)
    monkeypatch.setattr(speaking, "_due", 0)
    assert speaking.speak_if_due() == 2
    assert times(shop, shop.topics["agoda"])[-1] > said[-1]


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_each_partition_of_the_side_hears_it_and_no_time_goes_back(shop: Shop) -> None:
    stopping = Stopping()
    clock = Clock(stopping, 1000.5, 1001.25, 900.0, 1002.0)
    sent = heartbeats.run(shop.settings, "supplier", every=0, lag=0.25, once=False, stopping=stopping, clock=clock)
    assert sent == 3
    found = [(beat.topic, beat.partition, beat.value["eventTime"]) for beat in shop.beats()]
    said = ["1970-01-01T00:16:40.250Z", "1970-01-01T00:16:41.000Z", "1970-01-01T00:16:41.750Z"]
    assert found == [(shop.topics["supplier"], partition, time) for partition in range(3) for time in said]


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_the_command_sends_one_round(shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("RECO_KAFKA__BOOTSTRAP_SERVERS", shop.settings.kafka.bootstrap_servers)
    monkeypatch.setenv("RECO_TOPICS__SUPPLIER_RAW", shop.topics["supplier"])
    with pytest.raises(SystemExit) as ended:
        main(["heartbeat", "--side", "supplier", "--once"])
    assert ended.value.code == 0
    assert "Sent 1 rounds" in capsys.readouterr().out
    assert len(shop.beats()) == 3


@pytest.mark.parametrize(
    ("side", "sides", "message"),
    [
        ("agoda", '["agoda"]', "--side agoda: outbox.sides names it"),
        ("supplier", '["agoda", "supplier"]', "--side supplier: outbox.sides names it"),
        ("supplier", "[]", "outbox.sides is not set"),
        ("supplier", '["agoda"]', "no Kafka broker answers"),
    ],
)
def test_a_side_whose_time_the_relay_tells_is_refused(
    side: str, sides: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(heartbeats, "_PATIENCE_SECONDS", 0.5)
    monkeypatch.setenv("RECO_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("RECO_OUTBOX__DSN", "postgresql://db/shop")
    monkeypatch.setenv("RECO_OUTBOX__SIDES", sides)
    with pytest.raises(SystemExit) as ended:
        main(["heartbeat", "--side", side, "--lag", "0", "--once"])
    assert ended.value.code == (1 if "broker" in message else 2)
    assert message in " ".join(capsys.readouterr().err.split())


def test_without_a_broker_once_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeats, "_PATIENCE_SECONDS", 0.5)
    settings = Settings.model_validate({"kafka": {"bootstrap_servers": "127.0.0.1:1"}})
    with pytest.raises(UserError, match=r"no Kafka broker answers at 127\.0\.0\.1:1") as caught:
        heartbeats.run(settings, "agoda", every=1, lag=0, once=True, stopping=Stopping())
    assert caught.value.exit_code == FAILED
