"""The API of a supplier without Kafka: its bookings in a payload of its own, the oldest change first."""

import json
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from operator import itemgetter
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

from jobs.common.currencies import minor_units
from jobs.ingest.events import Event, Record, iso

#: The words of jobs/cli/formats/shop.yaml.
_TYPES = {"BOOKING": "NEW", "PAYMENT": "PAY", "CANCELLATION": "CXL", "REFUND": "RFD"}
_STATES = {"BOOKED": "BKD", "CONFIRMED": "CONF", "PAID": "PD", "CANCELLED": "CAN", "REFUNDED": "RFND", "FAILED": "ERR"}
_CLOCK = ZoneInfo("Asia/Bangkok")


def item(event: Event) -> bytes:
    """The event as the supplier tells it: nested, amounts in major units as text, times on a clock in Bangkok."""
    told = {
        "changedAt": iso(event.published_ms),
        "message": {"type": _TYPES[event.kind]},
        "booking": {
            "reference": event.activity,
            "state": _STATES[event.status],
            "revision": event.version,
            "modified": _modified(event.time_ms),
            "totals": {"net": _major(event.amount, event.currency), "currency code": event.currency},
        },
    }
    if event.event_id is not None:
        told["message"]["id"] = event.event_id  # type: ignore[index]
    return f"{json.dumps(told, ensure_ascii=False)[:-1]}{event.extra}}}".encode()


class Api:
    """What it has to tell; `/bookings?since=TIME&limit=N` gives what was changed then or later."""

    def __init__(self) -> None:
        self.items: list[tuple[int, bytes]] = []

    def offer(self, record: Record) -> None:
        """From now on it is told; records come in the order of their times."""
        assert record.value is not None
        self.items.append((record.published_ms, record.value))

    def newest_before(self, end_ms: int) -> int | None:
        """When the newest item of before that time was changed, milliseconds since 1970; None where there is none."""
        place = bisect_left(self.items, end_ms, key=itemgetter(0))
        return self.items[place - 1][0] if place else None

    def answer(self, since: str, limit: int) -> bytes:
        """The body of one answer."""
        first = round(datetime.fromisoformat(since).timestamp() * 1000) if since else 0
        place = bisect_left(self.items, first, key=itemgetter(0))
        return b'{"bookings":[' + b",".join(value for _, value in self.items[place : place + limit]) + b"]}"

    @contextmanager
    def served(self) -> Iterator[int]:
        """Served on a free loopback port while in the context."""
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
                body = api.answer(asked.get("since", ""), int(asked.get("limit", "50")))
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_words: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

        with Server(("127.0.0.1", 0), Handler) as http:
            Thread(target=http.serve_forever, daemon=True).start()
            try:
                yield http.server_address[1]
            finally:
                http.shutdown()


def describe(file: Path, supplier: str, port: int) -> None:
    """Write the file by which `reco poll` knows the API."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        f"""supplier: {supplier}
url: http://127.0.0.1:{port}/bookings
paging: {{kind: updated_since, param: since, updated: changedAt, order: ascending, size_param: limit, size: 500}}
items: bookings
key: booking.reference
format: shop
every: 1s
rate_limit: 100
""",
        encoding="utf-8",
    )


def _major(amount: int, currency: str) -> str:
    digits = minor_units()[currency]
    whole, part = divmod(amount, 10**digits)
    return f"{whole}.{part:0{digits}}" if digits else f"{whole}"


def _modified(time_ms: int) -> str:
    there = datetime.fromtimestamp(time_ms // 1000, UTC).astimezone(_CLOCK)
    return f"{there:%d/%m/%Y %H:%M:%S}.{time_ms % 1000:03}"
