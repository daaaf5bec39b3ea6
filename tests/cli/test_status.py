"""`reco status`: the law proven record by record, and the rest of the report."""

import json
import subprocess
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from jobs.cli import doctor, lake_state, status
from jobs.common.errors import UserError
from jobs.common.law import DOUBLED, LOST, STRAY, Law, is_heartbeat, measure, settled
from jobs.common.progress_file import progress_file, read_progress
from jobs.common.settings import Lake, Settings
from tests.cli.lake_rows import AT, BEAT, bronze, event, put, quarantined


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(lake=Lake(root=str(tmp_path / "lake")))


@pytest.fixture
def _no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: Any) -> list[lake_state.Lag]:
        raise UserError("No Kafka broker answers at nowhere.")

    monkeypatch.setattr(lake_state, "lags", nobody)


def law_of(settings: Settings) -> Law:
    law = measure(settings)
    assert law is not None
    return law


def run(settings: Settings, *arguments: str) -> tuple[int, str]:
    file = Path(settings.lake.root).parent / "s.yaml"
    file.write_text(json.dumps({"lake": {"root": settings.lake.root}}))
    result = CliRunner().invoke(status.app, ["--settings", str(file), "--wait", "0", *arguments])
    return result.exit_code, result.stdout


def tell(settings: Settings, told: dict[str, Any]) -> None:
    """What a query says of itself."""
    file = Path(progress_file(settings, "match"))
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(told) + "\n")


def whole_lake(settings: Settings) -> None:
    put(settings, "activity_raw", [bronze(0), bronze(1, BEAT), bronze(2, b"{"), bronze(3), bronze(0, BEAT, "SUPPLIER")])
    put(settings, "activity", [event(0), event(3)])
    put(settings, "quarantine", [quarantined(2, "MALFORMED_JSON")])


@pytest.mark.parametrize(
    ("value", "beats"),
    [
        (BEAT, True),
        (b'{"heartbeat": false}', False),
        (b'{"heartbeat": 1}', False),
        (b'["heartbeat"]', False),
        (b"", False),
        (None, False),
        (b"\xff", False),
        (b"[" * 100_000, False),
    ],
)
def test_heartbeats_are_told_by_their_value(value: bytes | None, beats: bool) -> None:
    assert is_heartbeat(value) is beats


def test_the_law_holds_where_every_record_has_one_home(settings: Settings) -> None:
    assert measure(settings) is None
    whole_lake(settings)
    law = law_of(settings)
    assert law.holds
    agoda, supplier = law.counts
    assert (agoda.bronze, agoda.heartbeats, agoda.events, agoda.quarantined, agoda.next_offset) == (4, 1, 2, 1, 4)
    assert (supplier.topic, supplier.bronze, supplier.heartbeats) == ("supplier.raw.activity", 1, 1)
    assert law.last_heartbeat == {"AGODA": AT, "SUPPLIER": AT}


def test_bronze_alone_is_all_lost_but_heartbeats(settings: Settings) -> None:
    put(settings, "activity_raw", [bronze(0), bronze(1, BEAT)])
    law = law_of(settings)
    assert law.broken.rows() == [("agoda.raw.activity", 0, 0, LOST)]


def test_a_lost_record_is_not_made_up_for_by_a_doubled_one(settings: Settings) -> None:
    put(settings, "activity_raw", [bronze(0), bronze(1), bronze(2)])
    put(settings, "activity", [event(0), event(0), event(2)])
    law = law_of(settings)
    assert law.counts[0].bronze == law.counts[0].events
    assert [(row[2], row[3]) for row in law.broken.rows()] == [(0, DOUBLED), (1, LOST)]
    assert law.counts[0].broken == 2


def test_strays_and_records_with_two_homes_break_it(settings: Settings) -> None:
    put(settings, "activity_raw", [bronze(0), bronze(1), bronze(1)])
    put(settings, "activity", [event(0), event(1), event(7)])
    put(settings, "quarantine", [quarantined(0, "TOO_LARGE")])
    assert [(row[2], row[3]) for row in law_of(settings).broken.rows()] == [(0, DOUBLED), (1, DOUBLED), (7, STRAY)]


def test_a_batch_in_flight_does_not_break_it(settings: Settings) -> None:
    put(settings, "activity_raw", [bronze(0), bronze(1), bronze(2)])
    put(settings, "activity", [event(1)])
    first = law_of(settings)
    assert first.counts[0].broken == 2
    put(settings, "activity", [event(0)])
    put(settings, "activity_raw", [bronze(3)])
    second = settled(first, law_of(settings))
    assert [row[2] for row in second.broken.rows()] == [2]
    assert (second.counts[0].broken, second.counts[0].in_flight) == (1, 1)


@pytest.mark.usefixtures("_no_broker")
def test_an_empty_lake_says_so(settings: Settings) -> None:
    code, shown = run(settings)
    assert code == 0
    assert "has no bronze/activity_raw yet" in shown
    assert "Lag unknown: No Kafka broker answers" in shown
    assert "Last closes: the table is not there yet." in shown
    assert "The stream's queries: not there yet" in shown
    code, shown = run(settings, "--json")
    report = json.loads(shown)
    assert (code, report["law"], report["lag"], report["quarantine"]) == (0, None, None, None)
    assert (report["stream_last_hour"], report["drift"]) == (None, None)


@pytest.mark.usefixtures("_no_broker")
def test_the_report(settings: Settings) -> None:
    whole_lake(settings)
    put(
        settings,
        "exceptions",
        [
            {"anomaly_type": "PRICE_MISMATCH", "state": "OPEN", "amount_at_risk_usd": Decimal("1.5")},
            {"anomaly_type": "PRICE_MISMATCH", "state": "OPEN", "amount_at_risk_usd": Decimal("2.25")},
            {"anomaly_type": "FX_RATE_MISSING", "state": "OPEN"},
            {"anomaly_type": "PRICE_MISMATCH", "state": "RESOLVED", "amount_at_risk_usd": Decimal(9)},
        ],
    )
    missing = {"anomaly_type": "MISSING_SUPPLIER", "amount_at_risk_usd": Decimal(2)}
    put(
        settings,
        "nrt_exceptions",
        [
            {"anomaly_type": "FEED_SILENT", "state": "OPEN", "amount_at_risk_usd": Decimal(2)},
            {**missing, "state": "OPEN", "held_by": "f"},
            {**missing, "state": "PENDING"},
            {**missing, "state": "RESOLVED"},
        ],
    )
    put(settings, "closes", [{"close_id": "c1", "reco_date": date(2026, 3, 9), "revision": 1, "finished_at": AT}])
    code, shown = run(settings, "--json")
    report = json.loads(shown)
    assert code == 0
    assert report["law"]["holds"]
    assert report["quarantine"] == {"MALFORMED_JSON": 1}
    assert report["open_exceptions"] == [
        {"anomaly_type": "FX_RATE_MISSING", "open": 1, "unpriced": 1, "amount_at_risk_usd": "0"},
        {"anomaly_type": "PRICE_MISMATCH", "open": 2, "unpriced": 0, "amount_at_risk_usd": "3.75"},
    ]
    assert [tuple(row.values()) for row in report["stream_exceptions"]] == [
        ("FEED_SILENT", 1, 0, 0, 0, "2"),
        ("MISSING_SUPPLIER", 1, 1, 1, 0, "4"),
    ]
    assert report["last_closes"][0]["close_id"] == "c1"
    assert report["sides"][0]["last_event_time"] == "2026-03-09T10:00:00Z"
    assert report["sides"][1]["last_event_time"] is None
    code, shown = run(settings)
    assert code == 0
    assert "holds" in shown
    assert "PRICE_MISMATCH" in shown


def summarised(supplier: str, usd: str, hour: int = 10, day: int = 9, **others: Any) -> dict[str, Any]:
    row = {
        "verdict_date": date(2026, 3, day),
        "verdict_hour": hour,
        "supplier_id": supplier,
        "amount_at_risk_usd": Decimal(usd),
    }
    return row | {"verdicts": 3, "matched": 1, "broken": [], "unpriced": 0} | others


@pytest.mark.usefixtures("_no_broker")
def test_the_streams_last_hour_by_supplier(settings: Settings) -> None:
    broken = [("MISSING_AGODA", 0, 1), ("PRICE_MISMATCH", 2000, 0)]
    told = [dict(zip(("anomaly_type", "open", "pending"), one, strict=True)) for one in broken]
    least = [summarised(f"SUP-{n:02}", "0.5") for n in range(10, -1, -1)]
    most = summarised("SUP-99", "20.25", broken=told, unpriced=1, delay_p50_ms=900, delay_p99_ms=4000)
    put(settings, "hourly_summary", [])
    assert json.loads(run(settings, "--json")[1])["stream_last_hour"] == []
    put(settings, "hourly_summary", [summarised("OTHER", "99", 9), summarised("OTHER", "99", 11, 8)])
    put(settings, "hourly_summary", [*least, most])
    found = json.loads(run(settings, "--json")[1])["stream_last_hour"]
    assert found[0] == {
        "hour": "2026-03-09T10:00:00Z",
        "supplier_id": "SUP-99",
        "verdicts": 3,
        "matched": 1,
        "broken": told,
        "amount_at_risk_usd": "20.25",
        "unpriced": 1,
        "delay_p50_ms": 900,
        "delay_p99_ms": 4000,
    }
    assert [row["supplier_id"] for row in found[1:]] == [f"SUP-{n:02}" for n in range(9)]
    assert "MISSING_AGODA 0 + 1 pending, PRICE_MISMATCH 2,000" in run(settings)[1]


@pytest.mark.usefixtures("_no_broker")
def test_the_drift_of_the_last_closes(settings: Settings) -> None:
    days = [date(2026, 3, 1 + n) for n in range(6)]
    rows = [("SUP-2", "AGREES", 5), ("SUP-1", "AGREES", 5), ("SUP-3", "AGREES", 1), ("SUP-3", "LATE_EVENT", 7)]
    names = ("supplier_id", "cause", "verdicts")
    put(
        settings,
        "verdict_drift",
        [{"reco_date": day, **dict(zip(names, row, strict=True))} for day in days for row in rows],
    )
    put(
        settings,
        "closes",
        [{"close_id": f"{day}", "reco_date": day, "finished_at": AT + (day - days[0])} for day in days],
    )
    found = json.loads(run(settings, "--json")[1])["drift"]
    assert sorted({row["reco_date"] for row in found}) == [f"{day}" for day in days[1:]], "the last five closes"
    assert found[:2] == [
        {"reco_date": "2026-03-06", "cause": "AGREES", "verdicts": 11, "most_of": "SUP-1", "its_verdicts": 5},
        {"reco_date": "2026-03-06", "cause": "LATE_EVENT", "verdicts": 7, "most_of": "SUP-3", "its_verdicts": 7},
    ]
    assert "LATE_EVENT" in run(settings)[1]


@pytest.mark.usefixtures("_no_broker")
def test_how_far_the_queries_are(settings: Settings) -> None:
    told: dict[str, Any] = {
        "query": "match",
        "state": "RUNNING",
        "why": None,
        "told_at": "2026-03-09T10:00:10.000Z",
        "batch": 7,
    }
    told |= {"batch_ended_at": "2026-03-09T10:00:09.000Z", "batch_seconds": 1.5, "rows_dropped_by_watermark": 0}
    told |= {"watermark": "2026-03-09T09:59:00.000Z", "watermark_lag_seconds": 60.5, "state_rows": 1234}
    tell(settings, told | {"of a later version": True})
    code, shown = run(settings)
    assert code == 0
    for words in ("RUNNING", "2026-03-09 09:59:00Z", "60.5", "1,234"):
        assert words in shown
    assert "DROPPED" not in shown
    (found,) = json.loads(run(settings, "--json")[1])["queries"]
    absent = ("state_memory_bytes", "state_disk_bytes", "process", "group")
    assert found == told | dict.fromkeys(absent) | {
        name: told[name].replace(".000Z", "Z") for name in ("told_at", "batch_ended_at", "watermark")
    }


@pytest.mark.usefixtures("_no_broker")
def test_what_must_not_be_is_said_aloud(settings: Settings) -> None:
    tell(settings, {"query": "match", "state": "FAILED", "why": "it broke", "rows_dropped_by_watermark": 3})
    code, shown = run(settings)
    assert code == 0
    assert "THE QUERY match FAILED: it broke" in shown
    assert "ROWS DROPPED BY THE WATERMARK: 3 of match; there must be none" in shown


def test_progress_that_cannot_be_read_is_named(settings: Settings) -> None:
    tell(settings, {})
    Path(progress_file(settings, "match")).write_text("no JSON")
    with pytest.raises(UserError, match=r"progress/match\.json cannot be read"):
        read_progress(settings, "match")
    Path(progress_file(settings, "match")).write_text("")
    assert read_progress(settings, "match") is None


def test_progress_is_read_while_it_is_written(settings: Settings) -> None:
    tell(settings, {})
    file = progress_file(settings, "match")
    over_and_over = f"while True:\n  with open({file!r}, 'w') as out: out.write('{{\"query\":\"match\"}}\\n')"
    writer = subprocess.Popen([sys.executable, "-c", over_and_over])
    try:
        while (read_progress(settings, "match") or {}).get("query") is None:
            assert writer.poll() is None
        told = [read_progress(settings, "match") for _ in range(2000)]
    finally:
        writer.kill()
        writer.wait()
    assert {one["query"] for one in told if one is not None} == {"match"}


@pytest.mark.usefixtures("_no_broker")
def test_a_broken_law_is_shown_and_fails(settings: Settings) -> None:
    whole_lake(settings)
    put(settings, "activity_raw", [bronze(9)])
    code, shown = run(settings)
    assert code == 1
    assert "BROKEN by 1" in shown
    assert f"agoda.raw.activity-0-9: {LOST}" in shown
    assert run(settings, "--json")[0] == 1


def test_a_broker_that_does_not_answer_is_named(settings: Settings) -> None:
    servers = settings.kafka.model_copy(update={"bootstrap_servers": "127.0.0.1:1"})
    lonely = settings.model_copy(
        update={"kafka": servers, "local": settings.local.model_copy(update={"home": Path("/none")})}
    )
    with pytest.raises(UserError, match=r"No Kafka broker answers at 127\.0\.0\.1:1"):
        lake_state.lags(lonely, None)


def test_doctor_misses_files_that_a_tables_log_has(settings: Settings) -> None:
    whole_lake(settings)
    put(settings, "exceptions", [])
    look = doctor.CHECKS["lake"]
    assert look(settings).ok
    table = Path(settings.table_path("activity"))
    [gone, *_] = sorted(table.rglob("*.parquet"))
    gone.unlink()
    found = look(settings)
    assert not found.ok
    assert found.found.startswith(f"{table}/{gone.relative_to(table)} is gone, which the table's log has")
    assert "reco restore" in found.remedy
