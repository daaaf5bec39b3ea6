"""The running query: suppliers' own payloads among plain ones, a format changed between batches, a batch run again."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.cli.broker import Broker
from jobs.common.kafka import topic_partitions
from jobs.common.lake import open_table, read
from jobs.common.law import measure
from jobs.common.policies import apply
from jobs.common.settings import Settings
from jobs.streaming.main import start_normalise
from jobs.streaming.normalise import Normaliser
from tests.oracle.normalise import Raw
from tests.streaming.feed import consume, new_settings, produce
from tests.streaming.formats.cases import FORMATS, NOW

_PLAIN = (
    b'{"eventId":"p%d","activityId":"A%d","supplierId":"Q","activityType":"BOOKING","amountMinor":1,"currency":"USD",'
    b'"status":"BOOKED","version":1,"eventTime":"2026-03-09T10:00:00Z"}'
)
_OWN = b'{"id":"o%d","ref":"R%d","type":"NEW","sum":%s,"state":"ok","at":"09/03/2026 11:00"}'
_ROW = b"C%d,1.500,ok,2026-03-09T10:00:00Z"
_POLICIES = "version: 1\nsuppliers:\n  S-OWN: {format: own, mode: DAILY_ONLY}\n  S-CSV: {format: rows}\n"


def _records(number: int, amount: bytes = b"12.5") -> list[Raw]:
    """One of each kind; `number` makes them others."""
    supplier, agoda = "supplier.raw.activity", "agoda.raw.activity"
    own = (("supplierId", b"S-OWN"),)
    return [
        Raw(supplier, 0, 5 * number, None, _OWN % (number, number, amount), NOW, own),
        Raw(supplier, 0, 5 * number + 1, None, _PLAIN % (number, number), NOW, ()),
        Raw(supplier, 0, 5 * number + 2, None, _ROW % number, NOW, (("supplierId", b"S-CSV"), ("id", b"h%d" % number))),
        Raw(supplier, 0, 5 * number + 3, None, b'{"heartbeat":true,"eventTime":"2026-03-09T10:00:00Z"}', NOW, ()),
        Raw(supplier, 0, 5 * number + 4, None, _ROW % number, NOW, own),
        Raw(agoda, 0, number, None, _PLAIN % (number, number), NOW, own),
    ]


def _run(spark: SparkSession, settings: Settings) -> None:
    query = start_normalise(spark, settings, topic_partitions(settings), available_now=True, clock=lambda: NOW)
    query.awaitTermination()


def _events(settings: Settings) -> dict[str, tuple[str, int, str, int]]:
    rows = read(open_table(settings, "activity"), "activity").filter(source="SUPPLIER").to_dicts()
    assert len({row["event_id"] for row in rows}) == len(rows)
    return {r["event_id"]: (r["supplier_id"], r["amount_minor"], r["mode"], r["policy_version"]) for r in rows}


def _quarantined(settings: Settings) -> dict[int, list[str]]:
    rows = read(open_table(settings, "quarantine"), "quarantine").to_dicts()
    assert len({row["offset"] for row in rows}) == len(rows)
    return {row["offset"]: row["reasons"] for row in rows}


_FIRST = {
    "o0": ("S-OWN", 1250, "DAILY_ONLY", 1),
    "p0": ("Q", 1, "NRT_HOURLY", 1),
    "h0": ("S-CSV", 1500, "NRT_HOURLY", 1),
}


def _begin(spark: SparkSession, settings: Settings, folder: Path) -> None:
    """Policies that name two formats, and one batch."""
    (folder / "formats").mkdir()
    (folder / "formats" / "own.yaml").write_text(FORMATS["json"])
    (folder / "formats" / "rows.yaml").write_text(FORMATS["csv"])
    (folder / "policies.yaml").write_text(_POLICIES)
    assert apply(settings, folder / "policies.yaml", NOW) == 1
    produce(settings, _records(0))
    _run(spark, settings)
    assert _events(settings) == _FIRST
    assert _quarantined(settings) == {4: ["MALFORMED_JSON"]}


def test_own_payloads_among_plain_ones(spark: SparkSession, broker: Broker, tmp_path: Path) -> None:
    settings = new_settings(str(tmp_path / "lake"), broker.bootstrap_servers, "formats")
    _begin(spark, settings, tmp_path)
    sent = {
        json.loads(value or b"")["eventId"] for _, _, value in consume(settings, settings.topics.supplier_canonical)
    }
    assert sent == set(_FIRST)


@pytest.mark.long
def test_formats_change_between_batches_and_never_within_one(
    spark: SparkSession, broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = new_settings(str(tmp_path / "lake"), broker.bootstrap_servers, "formats-change")
    _begin(spark, settings, tmp_path)
    own = tmp_path / "formats" / "own.yaml"

    # The format alone changes; the batch dies once it is in bronze, and meanwhile the format changes again.
    own.write_text(FORMATS["minor"])
    assert apply(settings, tmp_path / "policies.yaml", NOW + timedelta(minutes=1)) == 2
    produce(settings, _records(1, b"34"))

    def die(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        append = Normaliser._append
        patched.setattr(
            Normaliser, "_append", lambda n, name, *rest: append(n, name, *rest) if name == "activity_raw" else die()
        )
        with pytest.raises(Exception, match="killed"):
            _run(spark, settings)
    own.write_text(FORMATS["json"])
    assert apply(settings, tmp_path / "policies.yaml", NOW + timedelta(minutes=2)) == 3
    _run(spark, settings)
    second = {
        "o1": ("S-OWN", 34, "DAILY_ONLY", 2),
        "p1": ("Q", 1, "NRT_HOURLY", 2),
        "h1": ("S-CSV", 1500, "NRT_HOURLY", 2),
    }
    assert _events(settings) == _FIRST | second

    # A version whose formats are lost: its suppliers' records wait in quarantine, everybody else's go on.
    _lose_formats(settings)
    produce(settings, _records(2))
    _run(spark, settings)
    assert _events(settings) == _FIRST | second | {"p2": ("Q", 1, "NRT_HOURLY", 3)}
    lost = {offset: ["INVALID_FIELD:format"] for offset in (10, 12, 14)}
    assert _quarantined(settings) == {4: ["MALFORMED_JSON"], 9: ["MALFORMED_JSON"]} | lost
    law = measure(settings)
    assert law is not None
    assert law.holds

    # Read again from the beginning, with formats that can be used: what is in quarantine does not become an event too.
    assert apply(settings, tmp_path / "policies.yaml", NOW + timedelta(minutes=3)) == 4
    (tmp_path / "lake" / "_checkpoints").rename(tmp_path / "old")
    _run(spark, settings)
    assert _events(settings) == _FIRST | second | {"p2": ("Q", 1, "NRT_HOURLY", 3)}
    law = measure(settings)
    assert law is not None
    assert law.holds


def _lose_formats(settings: Settings) -> None:
    table = Path(settings.table_path("formats"))
    table.rename(table.with_name("lost"))
