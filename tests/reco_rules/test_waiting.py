"""How long a break pends, and what state that gives it."""

from pyspark.sql import functions as F

from reco_rules import waiting
from reco_rules.latest import latest_sides
from tests.oracle.build import event
from tests.reco_rules.cases import waiting as cases
from tests.reco_rules.engine import EVENT, Engine


def test_how_long_each_key_waits(engine: Engine) -> None:
    rows = []
    for case in cases.KEYS:
        for side, version, minute, grace, kind in case.sent:
            sent = event(side, cases.at(0), activity_id=case.name, version=version, activity_type=kind)
            of_case = {"supplier_id": "SUP", "kafka_time": cases.at(minute), "grace_seconds": 60 * grace}
            rows.append(tuple(of_case.get(name, getattr(sent, name)) for name in EVENT))
    events = engine.frame(EVENT, rows)
    versions = engine.frame(
        {"supplier_id": "string", "activity_id": "string", "versions": "string"},
        [("SUP", case.name, case.versions) for case in cases.KEYS],
    )
    sides = engine.kept(latest_sides(events).join(versions, on=["supplier_id", "activity_id"], how="inner"))
    found = engine.kept(waiting.waiting(events, sides)).select("activity_id", "pending_until")
    expected = [(case.name, None if case.until is None else cases.at(case.until)) for case in cases.KEYS]
    engine.assert_equal(found, {"activity_id": "string", "pending_until": "timestamp"}, expected)


def test_only_what_an_answer_can_mend_pends(engine: Engine) -> None:
    given = F.col("anomaly_type"), F.col("pending_until"), F.col("watermark")
    engine.assert_table(cases.STATES, expected=waiting.state(*given))


def test_what_an_event_answers(engine: Engine) -> None:
    given = F.col("versions"), F.col("version"), F.col("activity_type")
    engine.assert_table(cases.SLOTS, expected=waiting.slot(*given))
