"""Section 6 and the latest version: the day of an event, redeliveries, history."""

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from reco_rules import latest, ownership
from tests.oracle.build import agoda, at, supplier
from tests.oracle.close import reco_dates
from tests.oracle.model import first_publications, stamped
from tests.reco_rules.cases import Scenario, days
from tests.reco_rules.engine import EVENT, Engine

_MORE = (
    # The policy was changed between the two deliveries: the second, stamped with a minute, does not break the chain.
    Scenario(
        "a redelivery with a shorter grace ends no chain",
        (
            agoda("09T23:50"),
            supplier("10T00:10", grace_seconds=3600),
            supplier("10T00:10", grace_seconds=60, kafka_time=at("10T00:30")),
            agoda("10T00:20", version=2),
        ),
        {"a1": 9, "s1": 9, "a2": 9},
    ),
    Scenario(
        "a redelivery with a longer grace begins none",
        (
            agoda("09T23:50"),
            supplier("10T00:10", grace_seconds=60),
            supplier("10T00:10", grace_seconds=3600, kafka_time=at("10T00:30")),
            agoda("10T00:20", version=2),
        ),
        {"a1": 9, "s1": 10, "a2": 10},
    ),
    Scenario(
        "a redelivery of the same millisecond is told by its policies",
        (
            agoda("09T23:50"),
            supplier("10T00:10", grace_seconds=3600, policy_version=1),
            supplier("10T00:10", grace_seconds=60, policy_version=2),
            agoda("10T00:20", version=2),
        ),
        {"a1": 9, "s1": 9, "a2": 9},
    ),
    # In the order of versions, as the latest one is: the first breaks the chain that the other would have gone on.
    Scenario(
        "events of one side and one millisecond are ordered by version",
        (
            agoda("09T23:50"),
            agoda("10T00:10", event_id="z", grace_seconds=60),
            agoda("10T00:10", event_id="b", version=2, grace_seconds=3600),
        ),
        {"a1": 9, "z": 10, "b": 10},
    ),
)
OWNERSHIP = days.OWNERSHIP + _MORE


def _reversed(cases: tuple[Scenario, ...]) -> tuple[Scenario, ...]:
    """Each under another name with its deliveries in the opposite order: arrival must not matter."""
    return tuple(replace(case, name=f"{case.name} (reversed)", events=case.events[::-1]) for case in cases)


def test_day_of_each_event(engine: Engine) -> None:
    both = OWNERSHIP + _reversed(OWNERSHIP)
    dated = ownership.with_reco_date(engine.events(both))
    # A redelivery has the day of its event, so that each event has one day.
    found = dated.select("supplier_id", "event_id", F.dayofmonth("reco_date").cast("bigint").alias("day")).distinct()
    expected = [(case.name, event_id, day) for case in both for event_id, day in case.expected.items()]
    engine.assert_equal(found, {"supplier_id": "string", "event_id": "string", "day": "bigint"}, expected)


#: Scenarios whose keys have an event less than its grace after a midnight and one in the six hours before it.
_ACROSS = {
    *("split by midnight", "split by midnight, SUPPLIER first", "split to the millisecond", "of one side only"),
    *("just under grace", "a chain, just under twice the grace", "a chain, at twice the grace"),
    *("a chain ends for good", "a gap in the chain ends it", "two midnights", "events of one instant after midnight"),
    *("sides take turns in a chain, whatever the order of arrival", "a redelivery is no predecessor of its own"),
    *("the shortest grace", "the longest grace, just under noon", "the longest grace, at noon"),
    *("the event's own stamp", "the predecessor's stamp does not matter", "across a month and a year"),
    *("a redelivery with a shorter grace ends no chain", "a redelivery with a longer grace begins none"),
    *("a redelivery of the same millisecond is told by its policies",),
    *("events of one side and one millisecond are ordered by version",),
    *(
        "six hours before midnight",
        "just under its grace after midnight",
        "at grace",
        "just over grace",
        "events of one instant at grace",
    ),
}
_AROUND = (
    Scenario("six hours before midnight", (agoda("09T18:00"), supplier("10T00:30")), {"a1": 9, "s1": 10}),
    Scenario("more than six hours before", (agoda("09T17:59:59.999"), supplier("10T00:30")), {"a1": 9, "s1": 10}),
    Scenario("just under its grace after midnight", (agoda("09T23:50"), supplier("10T00:59:59.999")), {}),
    Scenario("its grace after midnight", (agoda("09T23:50"), supplier("10T01:00")), {}),
    Scenario("across midnight in different keys", (agoda("09T23:50"), supplier("10T00:10", activity_id="BK-2")), {}),
)


def test_keys_across_midnight(engine: Engine) -> None:
    cases = OWNERSHIP + _reversed(OWNERSHIP) + _AROUND
    days_and_hours = {"event_date": F.to_date("event_time"), "event_hour": F.hour("event_time")}
    near = engine.kept(engine.events(cases).select("*", *[value.alias(name) for name, value in days_and_hours.items()]))
    columns = {"supplier_id": "string", "activity_id": "string"}
    expected = [(case.name, "BK-1") for case in cases if case.name.removesuffix(" (reversed)") in _ACROSS]
    engine.assert_equal(ownership.keys_across_midnight(near), columns, expected)
    by_supplier = ownership.keys_across_midnight(near, by=["supplier_id"])
    in_different_keys = [("across midnight in different keys",)]
    engine.assert_equal(by_supplier, {"supplier_id": "string"}, [(name,) for name, _ in expected] + in_different_keys)


@pytest.mark.parametrize("case", OWNERSHIP, ids=lambda case: case.name)
def test_oracle_gives_the_same_day(case: Scenario) -> None:
    dated = reco_dates([stamped(event, case.policy) for event in case.events])
    assert {event.event_id: day.day for event, day in dated} == case.expected


def test_redeliveries(engine: Engine) -> None:
    """The first publication is the delivery, all others of the same id and content are not; keys are kept apart."""
    ten = at("10T10:00")
    first = agoda(kafka_time=at("10T10:01"))
    deliveries = [
        (first, False),
        (agoda(kafka_time=at("10T10:02")), True),
        (agoda(kafka_time=at("10T10:03")), True),
        (supplier(event_id="a1", kafka_time=ten), False),
        (agoda(event_id="b", kafka_time=ten), False),
        (agoda(version=2, event_id="a1", kafka_time=ten), False),
        (agoda(amount_minor=1, kafka_time=ten), False),
        (agoda(currency="EUR", kafka_time=ten), False),
        (agoda(status="PAID", kafka_time=ten), False),
        (agoda(activity_type="PAYMENT", kafka_time=ten), False),
        (agoda("10T10:00:00.001", kafka_time=ten), False),
        (agoda(activity_id="BK-2", kafka_time=at("10T10:09")), False),
        (agoda(supplier_id="SUP-2", kafka_time=at("10T10:09")), False),
    ]
    assert len(first_publications([event for event, _ in deliveries])) == sum(not repeat for _, repeat in deliveries)
    rows = [[getattr(stamped(e, Scenario("", (), {}).policy), name) for name in EVENT] for e, _ in deliveries]
    columns = {**EVENT, "reco_date": "date", "is_redelivery": "boolean"}
    found = ownership.with_reco_date(engine.frame(EVENT, rows[::-1]))
    engine.assert_equal(
        found, columns, [(*row, date(2026, 3, 10), repeat) for row, (_, repeat) in zip(rows, deliveries, strict=True)]
    )


def test_latest_versions(engine: Engine) -> None:
    both = days.LATEST + _reversed(days.LATEST)
    flat = latest.flat_sides(latest.latest_sides(engine.events(both)))
    found = flat.select("supplier_id", "agoda_amount_minor", "supplier_amount_minor")
    columns = {"supplier_id": "string", "agoda_amount_minor": "bigint", "supplier_amount_minor": "bigint"}
    engine.assert_equal(
        found, columns, [(case.name, case.expected["AGODA"], case.expected["SUPPLIER"]) for case in both]
    )


def test_latest_of_ties(engine: Engine) -> None:
    kinds = Scenario("at last the type", (agoda(activity_type="BOOKING"), agoda(activity_type="PAYMENT")), {})
    both = days.LATEST_TIES + _reversed(days.LATEST_TIES) + (kinds, *_reversed((kinds,)))
    flat = latest.flat_sides(latest.latest_sides(engine.events(both)))
    names = ("currency", "status", "activity_type")
    defaults = {"currency": "USD", "status": "BOOKED", "activity_type": "BOOKING"}
    expected = [
        (case.name, *({**defaults, **(case.expected or {"activity_type": "PAYMENT"})}[name] for name in names))
        for case in both
    ]
    columns = {"supplier_id": "string", **{f"agoda_{name}": "string" for name in names}}
    engine.assert_equal(flat.select(*columns), columns, expected)


def _with_history(engine: Engine, today: tuple[Any, ...], earlier: tuple[Any, ...]) -> DataFrame:
    by_day = latest.day_sides(engine.events((Scenario("S", today, {}),)))
    return latest.with_history(by_day, latest.latest_sides(engine.events((Scenario("S", earlier, {}),))))


def test_history(engine: Engine) -> None:
    """A missing side and a greater version come from before; a lower version, and other keys, change nothing."""
    keys = [("alone", 1), ("outrun", 2), ("newer", 3), ("new", 4)]
    today = [agoda(activity_id=name, amount_minor=n, version=2) for name, n in keys]
    earlier = [
        supplier("08T10:00", activity_id="alone", amount_minor=11),
        agoda("08T10:00", activity_id="outrun", amount_minor=12, version=3),
        agoda("08T10:00", activity_id="newer", amount_minor=13, version=1),
        agoda("08T10:00", activity_id="gone", amount_minor=14),
    ]
    joined = _with_history(engine, tuple(today), tuple(earlier))
    assert joined.columns == [
        *("supplier_id", "activity_id", "agoda_latest", "agoda_events", "agoda_delay_seconds", "agoda_duplicates"),
        *("supplier_latest", "supplier_events", "supplier_delay_seconds", "supplier_duplicates"),
    ]
    columns = {"activity_id": "string", "agoda_amount_minor": "bigint", "supplier_amount_minor": "bigint"}
    columns |= {"agoda_events": "bigint", "supplier_events": "bigint"}
    expected = [("alone", 1, 11, 1, 0), ("outrun", 12, None, 1, 0), ("newer", 3, None, 1, 0), ("new", 4, None, 1, 0)]
    engine.assert_equal(latest.flat_sides(joined).select(*columns), columns, expected)


def test_hours_that_a_day_needs() -> None:
    """Grace is at most six hours, and an event is carried over midnight up to twice its grace."""
    assert ownership.HOURS_BEFORE * 3600 == 21_600
    assert ownership.HOURS_AFTER == 2 * ownership.HOURS_BEFORE


def test_scenarios_lie_in_their_year() -> None:
    """`dayofmonth` tells days apart only within a month."""
    instants = [event.event_time for case in OWNERSHIP for event in case.events]
    assert datetime(2025, 12, 31, tzinfo=UTC) < min(instants) < max(instants) < datetime(2026, 3, 31, tzinfo=UTC)
