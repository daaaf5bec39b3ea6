"""A feed that has stopped: what is usual of it, and both sides of its limit."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

from pyspark.sql import functions as F

from reco_rules import explain, silence
from tests.oracle.build import supplier
from tests.oracle.model import Event
from tests.reco_rules.cases import SECONDS, Scenario
from tests.reco_rules.cases import silence as cases
from tests.reco_rules.engine import Engine


def test_usual_gaps(engine: Engine) -> None:
    sent = engine.events(Scenario(feed.name, tuple(_deliveries(feed)), {}) for feed in cases.GAPS)
    columns = {"supplier_id": "string", "last_event": "timestamp"}
    columns |= {"usual_gap_seconds": SECONDS, "daily_gap_seconds": SECONDS}
    minutes = [(feed.name, cases.at(feed.last), feed.usual, feed.daily) for feed in cases.GAPS]
    rows = [(name, last, *[m if m is None else Decimal(60 * m) for m in gaps]) for name, last, *gaps in minutes]
    engine.assert_equal(silence.usual_gaps(sent), columns, rows)


def _deliveries(feed: cases.Feed) -> Iterator[Event]:
    for number, minutes in enumerate(feed.sent):
        yield _event(number, cases.at(minutes), cases.at(minutes))
    for minutes in feed.again:
        yield _event(0, cases.at(feed.sent[0]), cases.at(minutes))


def _event(number: int, happened: datetime, published: datetime) -> Event:
    fields: dict[str, Any] = {"activity_id": f"BK-{number}", "event_id": f"e{number}"}
    return supplier(happened, kafka_time=published, **fields)


def test_limits(engine: Engine) -> None:
    given = F.col("usual"), F.col("daily"), F.col("floor")
    engine.assert_table(cases.LIMITS, expected=silence.silence_limit(*given))


def test_silence(engine: Engine) -> None:
    given = F.col("last_event"), F.col("watermark"), F.col("limit_seconds")
    engine.assert_table(cases.SILENT, expected=silence.is_silent(*given))


def test_what_a_silence_holds(engine: Engine) -> None:
    given = F.col("anomaly_type"), F.col("known_since"), F.col("last_event"), F.col("grace")
    engine.assert_table(cases.HELD, expected=silence.is_held(*given))


def test_silence_is_explained(engine: Engine) -> None:
    columns = {"last_event": "timestamp", "held": "bigint"}
    columns |= {f"{name}_seconds": SECONDS for name in ("usual_gap", "daily_gap", "limit")}
    start, usual = "SUPPLIER sent nothing after 2026-03-01 00:00:30: ", "gaps of 60.000 s are usual"
    minute, daily = Decimal(60), "on most days one of 900.000 s"
    sentences = {
        (3, minute, Decimal(900), Decimal(1800)): f"{usual}, {daily}, 1800.000 s allowed; it holds 3",
        (0, minute, None, Decimal(180)): f"{usual}, 180.000 s allowed; it holds 0",
        (2, None, Decimal(900), None): "what is usual of it is no longer known; it holds 2",
    }
    rows = [(cases.at(0.5), *told) for told in sentences]
    expected = [(f"{start}{end} MISSING_SUPPLIER",) for end in sentences.values()]
    found = engine.frame(columns, rows).select(explain.silence_explanation(F.col("held")).alias("explanation"))
    engine.assert_equal(found, {"explanation": "string"}, expected)
