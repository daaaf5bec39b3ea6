"""Section 6: the day an event belongs to, and the latest version of a side.

Expected of OWNERSHIP: the day of March 2026 of each event by its id. The grace is the policy's unless an event carries
a stamp. Expected of LATEST: the amount_minor of each side's latest version, unique within a scenario.
"""

from tests.oracle.build import agoda, at, supplier
from tests.oracle.model import Policy
from tests.reco_rules.cases import Scenario

OWNERSHIP: tuple[Scenario, ...] = (
    Scenario("alone at noon", (agoda("10T12:00"),), {"a1": 10}),
    Scenario("alone at midnight", (agoda("10T00:00"),), {"a1": 10}),
    Scenario("alone a millisecond before midnight", (agoda("09T23:59:59.999"),), {"a1": 9}),
    Scenario("split by midnight", (agoda("09T23:50"), supplier("10T00:10")), {"a1": 9, "s1": 9}),
    Scenario("split by midnight, SUPPLIER first", (supplier("09T23:50"), agoda("10T00:10")), {"s1": 9, "a1": 9}),
    Scenario("split to the millisecond", (agoda("09T23:59:59.999"), supplier("10T00:00")), {"a1": 9, "s1": 9}),
    Scenario("of one side only", (agoda("09T23:50"), agoda("10T00:10", version=2)), {"a1": 9, "a2": 9}),
    # Less than grace: 23:50 and one hour is 00:50.
    Scenario("just under grace", (agoda("09T23:50"), supplier("10T00:49:59.999")), {"a1": 9, "s1": 9}),
    Scenario("at grace", (agoda("09T23:50"), supplier("10T00:50")), {"a1": 9, "s1": 10}),
    Scenario("just over grace", (agoda("09T23:50"), supplier("10T00:50:00.001")), {"a1": 9, "s1": 10}),
    Scenario("both after midnight", (agoda("10T00:10"), supplier("10T00:20")), {"a1": 10, "s1": 10}),
    Scenario("both before midnight", (agoda("09T23:10"), supplier("09T23:20")), {"a1": 9, "s1": 9}),
    # 23:40, 00:30 (50 min), 01:20 (50 min), then just before 02:00 = midnight + 2 × grace (under 40 min).
    Scenario(
        "a chain, just under twice the grace",
        (
            agoda("09T23:40"),
            supplier("10T00:30"),
            agoda("10T01:20", version=2),
            supplier("10T01:59:59.999", version=2),
        ),
        {"a1": 9, "s1": 9, "a2": 9, "s2": 9},
    ),
    Scenario(
        "a chain, at twice the grace",
        (agoda("09T23:40"), supplier("10T00:30"), agoda("10T01:20", version=2), supplier("10T02:00", version=2)),
        {"a1": 9, "s1": 9, "a2": 9, "s2": 10},
    ),
    # s2 lies too late, and what follows it has a predecessor of the 10th.
    Scenario(
        "a chain ends for good",
        (
            agoda("09T23:40"),
            supplier("10T00:30"),
            agoda("10T01:20", version=2),
            supplier("10T02:00", version=2),
            agoda("10T02:01", version=3),
        ),
        {"a1": 9, "s1": 9, "a2": 9, "s2": 10, "a3": 10},
    ),
    # 00:45 follows 23:40 by 65 minutes: a gap. 01:00 follows it by 15, but its predecessor is of the 10th.
    Scenario(
        "a gap in the chain ends it",
        (agoda("09T23:40"), supplier("10T00:45"), agoda("10T01:00", version=2)),
        {"a1": 9, "s1": 10, "a2": 10},
    ),
    Scenario(
        "sides take turns in a chain, whatever the order of arrival",
        (agoda("10T01:20", version=2), supplier("10T00:30", kafka_time=at("11T09:00")), agoda("09T23:40")),
        {"a1": 9, "s1": 9, "a2": 9},
    ),
    # The 10th's chain begins anew: 23:50 of the 10th belongs to the 10th, not to the 9th.
    Scenario(
        "two midnights",
        (
            agoda("09T23:50"),
            supplier("10T00:10"),
            agoda("10T23:50", version=2),
            supplier("11T00:10", version=2),
        ),
        {"a1": 9, "s1": 9, "a2": 10, "s2": 10},
    ),
    # Two days apart: the predecessor's day is not the previous one, and the gap is far over grace.
    Scenario("a day between", (agoda("08T23:50"), supplier("10T00:10")), {"a1": 8, "s1": 10}),
    Scenario(
        "events of one instant after midnight",
        (agoda("09T23:50"), supplier("10T00:10"), agoda("10T00:10", version=2)),
        {"a1": 9, "s1": 9, "a2": 9},
    ),
    Scenario(
        "events of one instant at grace",
        (agoda("09T23:50"), supplier("10T00:50"), agoda("10T00:50", version=2)),
        {"a1": 9, "s1": 10, "a2": 10},
    ),
    Scenario(
        "a redelivery is no predecessor of its own",
        (agoda("09T23:50"), agoda("09T23:50", kafka_time=at("10T00:40")), supplier("10T00:55")),
        {"a1": 9, "s1": 10},
    ),
    # Grace of a minute: 23:59:30, 00:00:20 (50 s); twice the grace is 00:02.
    Scenario(
        "the shortest grace",
        (agoda("09T23:59:30"), supplier("10T00:00:20"), agoda("10T00:01:20", version=2)),
        {"a1": 9, "s1": 9, "a2": 10},
        Policy(grace=60),
    ),
    # Grace of six hours: midnight + 12 h; 18:30 → 00:29:59 → 06:29 → 11:59:59.999, each gap under six hours.
    Scenario(
        "the longest grace, just under noon",
        (
            agoda("09T18:30"),
            supplier("10T00:29:59.999"),
            agoda("10T06:29", version=2),
            supplier("10T11:59:59.999", version=2),
        ),
        {"a1": 9, "s1": 9, "a2": 9, "s2": 9},
        Policy(grace=21_600),
    ),
    Scenario(
        "the longest grace, at noon",
        (agoda("09T18:30"), supplier("10T00:29"), agoda("10T06:28", version=2), supplier("10T12:00", version=2)),
        {"a1": 9, "s1": 9, "a2": 9, "s2": 10},
        Policy(grace=21_600),
    ),
    # A stamp on the event itself holds: 20 minutes are not less than 20 minutes, but less than an hour.
    Scenario(
        "the event's own stamp",
        (agoda("09T23:50", grace_seconds=3600), supplier("10T00:10", grace_seconds=1200)),
        {"a1": 9, "s1": 10},
    ),
    Scenario(
        "the predecessor's stamp does not matter",
        (agoda("09T23:50", grace_seconds=60), supplier("10T00:10", grace_seconds=3600)),
        {"a1": 9, "s1": 9},
    ),
    Scenario(
        "across a month and a year",
        (
            agoda(at("01T00:00").replace(year=2026, month=1, day=1)),
            supplier(at("01T00:00").replace(year=2025, month=12, day=31, hour=23, minute=59)),
        ),
        {"s1": 31, "a1": 31},
    ),
)


def _amounts(agoda_amount: int | None, supplier_amount: int | None) -> dict[str, int | None]:
    return {"AGODA": agoda_amount, "SUPPLIER": supplier_amount}


LATEST: tuple[Scenario, ...] = (
    Scenario("one of each", (agoda(amount_minor=1), supplier(amount_minor=2)), _amounts(1, 2)),
    Scenario("no SUPPLIER", (agoda(amount_minor=1),), _amounts(1, None)),
    Scenario("no AGODA", (supplier(amount_minor=2),), _amounts(None, 2)),
    Scenario(
        "the version before everything",
        (agoda("10T09:00", version=10, event_id="a", amount_minor=1), agoda(version=9, event_id="z", amount_minor=2)),
        _amounts(1, None),
    ),
    Scenario(
        "then the time, whatever the order of arrival",
        (
            agoda("10T10:00:00.001", event_id="a", amount_minor=1, kafka_time=at("10T10:01")),
            agoda(event_id="z", amount_minor=2, kafka_time=at("10T11:00")),
        ),
        _amounts(1, None),
    ),
    Scenario(
        "then the event id, as text",
        (agoda(event_id="e9", amount_minor=1), agoda(event_id="e10", amount_minor=2)),
        _amounts(1, None),
    ),
    # By code points: Z < a < é < U+FF5E < U+1F600 (by UTF-16 units the last two would change places).
    Scenario(
        "event ids by code points",
        (
            agoda(event_id="Z", amount_minor=1),
            agoda(event_id="a", amount_minor=2),
            agoda(event_id="é", amount_minor=3),
            supplier(event_id="～", amount_minor=4),
            supplier(event_id="😀", amount_minor=5),
        ),
        _amounts(3, 5),
    ),
    Scenario("then the amount", (agoda(amount_minor=9), agoda(amount_minor=10)), _amounts(10, None)),
    Scenario(
        "a redelivery changes nothing",
        (agoda(amount_minor=1, version=2), agoda(amount_minor=2), agoda(amount_minor=2, kafka_time=at("11T00:00"))),
        _amounts(1, None),
    ),
)
#: The same, down to what no amount can tell apart: expected are currency and status of AGODA's latest version.
LATEST_TIES: tuple[Scenario, ...] = (
    Scenario(
        "then the currency", (agoda(currency="USD"), agoda(currency="EUR")), {"currency": "USD", "status": "BOOKED"}
    ),
    Scenario(
        "the currency before the status",
        (agoda(currency="USD", status="BOOKED"), agoda(currency="EUR", status="REFUNDED")),
        {"currency": "USD", "status": "BOOKED"},
    ),
    Scenario("then the status", (agoda(status="BOOKED"), agoda(status="PAID")), {"currency": "USD", "status": "PAID"}),
)
