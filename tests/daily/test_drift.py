"""What the stream had said beside what the close says: one row a story, with the cause expected."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs.common.engines import Session, engine_of
from jobs.common.engines.duckdb import duckdb_session
from jobs.common.settings import Settings
from jobs.daily.drift import drift
from schemas.gold import FACTS
from schemas.nrt import NRT_RESULTS

T = datetime(2026, 3, 10, 10, tzinfo=UTC)
MATCHED: dict[str, Any] = {"outcome": "MATCHED", "anomaly_types": []}
BROKEN: dict[str, Any] = {"outcome": "MISMATCHED", "anomaly_types": ["STATUS_MISMATCH"]}
MISSING: dict[str, Any] = {"outcome": "MISSING_SUPPLIER", "anomaly_types": ["MISSING_SUPPLIER"]}


def _knows(agoda: int, supplier: int) -> dict[str, Any]:
    return {
        f"{side}_{name}": value
        for side, version in (("agoda", agoda), ("supplier", supplier))
        if version
        for name, value in (("version", version), ("event_time", T), ("event_id", f"{side}{version}"))
    }


#: activity: the fact, the verdicts in the order they were given, the cause.
STORIES: dict[str, tuple[dict[str, Any], list[dict[str, Any]], str]] = {
    "agrees": (MATCHED | _knows(1, 1), [MATCHED | _knows(1, 1)], "AGREES"),
    "the last counts": (MATCHED | _knows(1, 1), [MISSING | _knows(1, 0), MATCHED | _knows(1, 1)], "AGREES"),
    "never judged": (MATCHED | _knows(1, 1), [], "NO_VERDICT"),
    "came late": (MATCHED | _knows(1, 1), [MISSING | _knows(1, 0)], "LATE_EVENT"),
    "amended late": (BROKEN | _knows(2, 1), [MATCHED | _knows(1, 1)], "LATE_EVENT"),
    "after the day": (BROKEN | _knows(2, 1), [MATCHED | _knows(2, 2)], "LATER_EVENT"),
    "other policies": (MATCHED | _knows(1, 1), [BROKEN | _knows(1, 1) | {"policy_version": 2}], "POLICY"),
    "other day": (MATCHED | _knows(1, 1), [BROKEN | _knows(1, 1)], "DAY"),
    "other breaks": (BROKEN | _knows(1, 1), [BROKEN | _knows(1, 1) | {"anomaly_types": ["PRICE_MISMATCH"]}], "DAY"),
}


@pytest.mark.parametrize("name", ["spark", "duckdb"])
def test_every_cause(name: str, request: pytest.FixtureRequest) -> None:
    if name == "spark":
        spark: SparkSession = request.getfixturevalue("spark")
        assert_every_cause(spark)
        return
    with duckdb_session(Settings()) as session:
        assert_every_cause(session)


def assert_every_cause(session: Session) -> None:
    local_rows = engine_of(session).local_rows
    facts, results = [], []
    for number, (fact, verdicts, _) in enumerate(STORIES.values()):
        key = {"supplier_id": f"{number}", "activity_id": "BK-1"}
        facts.append(_row(FACTS.schema.names, key | fact))
        for place, verdict in enumerate(verdicts):
            given = {"policy_version": 3, "published_at": T, "verdict_at": T, "batch_id": place}
            results.append(_row(NRT_RESULTS.schema.names, key | given | verdict))
    rows = drift(local_rows(facts, FACTS.schema), local_rows(results, NRT_RESULTS.schema), 3).collect()
    assert {int(row["supplier_id"]): (row["cause"], row["verdicts"]) for row in rows} == {
        number: (cause, 1) for number, (_, _, cause) in enumerate(STORIES.values())
    }


def _row(names: list[str], values: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(values.get(name) for name in names)
