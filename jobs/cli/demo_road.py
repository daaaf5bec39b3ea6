"""The workload's way into Kafka: an outbox that is relayed, an API that is polled, and what is pushed."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from jobs.cli.demo_steps import Steps
from jobs.common.lake import open_table, read, scan
from jobs.common.settings import Settings

_POLL_SECONDS = 0.2
_BREAK = ("reco_date", "supplier_id", "activity_id", "anomaly_type")


def environment_of(home: Path) -> dict[str, str]:
    """Where relay and poller find what the shop says of itself."""
    return {
        "RECO_OUTBOX__DSN": f"file:{home}/shop/dsn",
        "RECO_OUTBOX__SIDES": '["agoda"]',
        "RECO_POLL__FOLDER": f"{home}/shop/suppliers",
        "RECO_POLL__STATE": f"{home}/poll",
    }


class Road:
    """A shop that has opened: its database, its API, and what becomes of the workload.

    `told`: what it says of itself. `why`: why it has no database, None where it has one.
    """

    def __init__(self, steps: Steps, given: list[str], said: Callable[[], str]) -> None:
        self._steps, self._given, self._said = steps, given, said
        self.told: dict[str, Any] = json.loads(self._line(1, _nothing))

    @property
    def why(self) -> str | None:
        """Why there is no outbox."""
        why: str | None = self.told["why"]
        return why

    def walk(self, meanwhile: Callable[[], None]) -> dict[str, Any]:
        """Relay and poll until all that the shop has to tell is in Kafka; the summary of what was planted.

        `meanwhile` is called again and again.
        """
        with ExitStack() as stack:
            running = [self._said]
            if not self.why:
                words = ("relay", "--backfill", "--json", *self._given)
                running.append(stack.enter_context(self._steps.beside("relay", "jobs.cli.main", *words)))
            words = ("poll", "--backfill", *self._given)
            running.append(stack.enter_context(self._steps.beside("poll", "jobs.cli.main", *words)))

            def check() -> None:
                for each in running:
                    each()
                meanwhile()

            summary: dict[str, Any] = json.loads(self._line(2, check))
        return summary

    def _line(self, number: int, meanwhile: Callable[[], None]) -> str:
        while len(lines := self._said().splitlines(keepends=True)) < number or not lines[number - 1].endswith("\n"):
            meanwhile()
            time.sleep(_POLL_SECONDS)
        return lines[number - 1]


@contextmanager
def opened(steps: Steps, settings: Settings, given: list[str], workload: list[str], truth: Path) -> Iterator[Road]:
    """The shop, until the end of the context; it goes on once somebody relays and polls.

    `workload`: how many events and suppliers, seed, first day, how many days.
    """
    folder = settings.local.home / "shop"
    folder.mkdir()
    words = [str(folder), *workload, str(truth), *given[1:]]
    with steps.beside("shop", "jobs.ingest.shop", *words) as said:
        yield Road(steps, given, said)


def build(settings: Settings, told: dict[str, Any], truth_file: Path, dates: list[date]) -> list[dict[str, Any]]:
    """By way in: records sent, events of them in silver, breaks planted in its suppliers and those that were found."""
    whole = json.loads(truth_file.read_text(encoding="utf-8"))
    planted = {
        (date.fromisoformat(row["reco_date"]), *(row[name] for name in _BREAK[1:]))
        for row in whole["anomalies"]
        if date.fromisoformat(row["reco_date"]) in dates
    }
    found = set(read(open_table(settings, "anomalies"), "anomalies").select(_BREAK).iter_rows())
    silver = open_table(settings, "activity")
    assert silver is not None, "the streaming job makes it"
    counted = scan(silver).group_by("source", "supplier_id").len().collect().rows()
    booked, polled = set(told["outbox"]), {told["polled"]}
    ways: dict[str, tuple[str, set[str]]] = {"outbox": ("AGODA", booked), "poll": ("SUPPLIER", polled)}
    rows = []
    for way, (side, suppliers) in ways.items():
        if suppliers:
            events = sum(number for source, supplier, number in counted if source == side and supplier in suppliers)
            rows.append(_row(way, f"{side} of {', '.join(sorted(suppliers))}", events, suppliers, planted, found))
    others = {supplier for _, supplier, _ in counted} - booked - polled
    events = sum(number for *_, number in counted) - sum(row["events"] for row in rows)
    rows.append(_row("push", "all others", events, others, planted, found))
    poison = {"push": whole["summary"]["poison"]}
    for row in rows:
        sent = row["records"] = whole["summary"]["ways"].get(row["way_in"], 0)
        row["arrived"] = row["events"] == sent - poison.get(row["way_in"], 0) and row["found"] == row["planted"]
    return rows


def _row(way: str, what: str, events: int, suppliers: set[str], planted: set[Any], found: set[Any]) -> dict[str, Any]:
    mine = {row for row in planted if row[1] in suppliers}
    return {
        "way_in": way,
        "of": what,
        "records": 0,
        "events": events,
        "planted": len(mine),
        "found": len(mine & found),
    }


def _nothing() -> None:
    pass
