"""The records made from events are those events again, and the poison poisons."""

from random import Random

from hypothesis import HealthCheck, given, settings

from tests.oracle.close import close
from tests.oracle.normalise import normalise
from tests.strategies import Workload, generate_workloads, pack, poison, raw_records, workloads
from tests.workloads.values import CLOCK, DAYS, FX


def test_records_are_the_events_again() -> None:
    events = pack(generate_workloads(100, seed=5))
    records = raw_records(events, Random(5))
    verdicts = [normalise(record, CLOCK) for record in records]
    found = [verdict[1] for verdict in verdicts if verdict[0] == "event"]
    assert len(found) == len(events), [verdict for verdict in verdicts if verdict[0] != "event"][:3]
    assert set(found) == {type(e)(**{n: getattr(e, n) for n in e.__slots__} | {"grace_seconds": None}) for e in events}


def test_poison_of_every_reason_is_there() -> None:
    verdicts = [normalise(record, CLOCK) for record in poison(Random(1), 300)]
    reasons = {reason for verdict in verdicts if verdict[0] == "quarantine" for reason in verdict[1]}
    assert {reason.split(":")[0] for reason in reasons} == {
        "MALFORMED_JSON",
        "MISSING_FIELD",
        "INVALID_FIELD",
        "UNKNOWN_CURRENCY",
        "EVENT_TIME_IN_FUTURE",
        "PUBLISHED_IN_FUTURE",
        "TOO_LARGE",
    }
    assert len(reasons) >= 20
    assert {verdict[0] for verdict in verdicts} == {"event", "heartbeat", "quarantine"}


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(workload=workloads())
def test_each_key_of_a_day_has_one_fact_and_order_does_not_matter(workload: Workload) -> None:
    policies = {workload.supplier_id: workload.policy}
    for day in DAYS:
        result = close(workload.events, policies, FX, day)
        assert result == close(workload.events[::-1], policies, FX, day)
        assert {key[:2] for key in result.anomalies} <= set(result.facts)
        for key, fact in result.facts.items():
            assert fact["anomaly_types"] == sorted(kind for *of, kind in result.anomalies if tuple(of) == key)
