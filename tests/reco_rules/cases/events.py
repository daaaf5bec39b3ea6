"""Rules 5 and 6: duplicates with the money at risk in them, redeliveries, delays.

Expected of DUPLICATES: distinct events of each side, and for each duplicated side the money at risk (US dollars, None
where unpriced); a side without duplicates is not in `at_risk`. Rates: `tests.oracle.build.FX`, fx_date 2026-03-10.
Expected of DELAYS: the longest delay of each side in seconds, and which sides are delayed.
"""

from decimal import Decimal

from tests.oracle.build import agoda, at, supplier
from tests.oracle.model import Policy
from tests.reco_rules.cases import Scenario

D = Decimal


def _found(agoda_events: int, supplier_events: int, **at_risk: Decimal | None) -> dict[str, object]:
    return {"agoda_events": agoda_events, "supplier_events": supplier_events, "at_risk": at_risk}


DUPLICATES: tuple[Scenario, ...] = (
    Scenario("one of each", (agoda(), supplier()), _found(1, 1)),
    Scenario("a redelivery is none", (agoda(), agoda(kafka_time=at("10T10:05")), supplier()), _found(1, 1)),
    Scenario(
        "ten redeliveries are none", tuple(agoda(kafka_time=at(f"10T10:{m:02}")) for m in range(10)), _found(1, 0)
    ),
    Scenario("a new version is none", (agoda(), agoda(version=2), supplier()), _found(2, 1)),
    Scenario(
        "a new version under the old event id is none",
        (agoda(event_id="x"), agoda(event_id="x", version=2, amount_minor=1)),
        _found(2, 0),
    ),
    Scenario("the same id on both sides is none", (agoda(event_id="x"), supplier(event_id="x")), _found(1, 1)),
    Scenario("same payload, two ids", (agoda(), agoda(event_id="a1b")), _found(2, 0, AGODA=D(0))),
    Scenario("same payload, two ids, SUPPLIER", (supplier(), supplier(event_id="s1b")), _found(0, 2, SUPPLIER=D(0))),
    # 100.00 and 107.25 USD
    Scenario("same id, two amounts", (agoda(), agoda(amount_minor=10_725)), _found(2, 0, AGODA=D("7.25"))),
    Scenario("two ids, two amounts", (agoda(), agoda(event_id="b", amount_minor=9_999)), _found(2, 0, AGODA=D("0.01"))),
    Scenario("same id, two statuses", (agoda(), agoda(status="PAID")), _found(2, 0, AGODA=D(0))),
    Scenario("same id, two kinds", (agoda(), agoda(activity_type="PAYMENT")), _found(2, 0, AGODA=D(0))),
    Scenario("same id, two times, one millisecond", (agoda(), agoda("10T10:00:00.001")), _found(2, 0, AGODA=D(0))),
    # The number is the same, the money is not: 100.00 USD and 100.00 EUR by 1.0825 = 108.25 USD.
    Scenario("same id, two currencies", (agoda(), agoda(currency="EUR")), _found(2, 0, AGODA=D("8.25"))),
    # 100.00 USD and 100.00 EUR/1.0825 would be alike; 9238 EUR cents are 100.001350 USD (92.38 × 1.0825).
    Scenario(
        "two currencies, nearly the same money",
        (agoda(), agoda(event_id="b", currency="EUR", amount_minor=9_238)),
        _found(2, 0, AGODA=D("0.00135")),
    ),
    Scenario(
        "three payloads: from the least to the greatest",
        (agoda(), agoda(event_id="b", amount_minor=9_000), agoda(event_id="c", amount_minor=10_500)),
        _found(3, 0, AGODA=D("15")),
    ),
    Scenario(
        "two versions doubled: the greatest difference of one version, not across",
        (
            agoda(),
            agoda(amount_minor=10_100),  # 1 USD
            agoda(version=2, amount_minor=50_000),
            agoda(version=2, amount_minor=50_300),  # 3 USD
        ),
        _found(4, 0, AGODA=D("3")),
    ),
    Scenario(
        "a doubled version and a single one",
        (agoda(), agoda(event_id="a1b"), agoda(version=2, amount_minor=99)),
        _found(3, 0, AGODA=D(0)),
    ),
    Scenario(
        "both sides, each by itself",
        (agoda(), agoda(amount_minor=10_001), supplier(), supplier(event_id="s1b")),
        _found(2, 2, AGODA=D("0.01"), SUPPLIER=D(0)),
    ),
    Scenario(
        "a duplicate, redelivered",
        (
            agoda(),
            agoda(event_id="b"),
            agoda(kafka_time=at("10T11:00")),
            agoda(event_id="b", kafka_time=at("10T12:00")),
        ),
        _found(2, 0, AGODA=D(0)),
    ),
    Scenario(
        "no rate is needed where the money is the same",
        (agoda(currency="CHF"), agoda(event_id="b", currency="CHF", status="PAID")),
        _found(2, 0, AGODA=D(0)),
    ),
    Scenario(
        "a needed rate is missing",
        (agoda(currency="CHF"), agoda(currency="CHF", amount_minor=10_001)),
        _found(2, 0, AGODA=None),
    ),
    Scenario("one needed rate is missing", (agoda(), agoda(currency="CHF")), _found(2, 0, AGODA=None)),
    Scenario(
        "one version priced, the other not",
        (
            agoda(),
            agoda(amount_minor=10_500),
            agoda(version=2, currency="CHF"),
            agoda(version=2, currency="CHF", amount_minor=1),
        ),
        _found(4, 0, AGODA=None),
    ),
    Scenario(
        "nothing and something, in yen and in dinars",
        (
            agoda(amount_minor=0, currency="JPY"),
            agoda(amount_minor=150, currency="JPY"),  # 150 × 0.0067 = 1.005
            supplier(amount_minor=0, currency="KWD"),
            supplier(amount_minor=150, currency="KWD"),  # 0.150 × 3.25 = 0.4875
        ),
        _found(2, 2, AGODA=D("1.005"), SUPPLIER=D("0.4875")),
    ),
)


def _late(agoda_seconds: str | None, supplier_seconds: str | None, *delayed: str) -> dict[str, object]:
    return {
        "agoda_delay_seconds": None if agoda_seconds is None else D(agoda_seconds),
        "supplier_delay_seconds": None if supplier_seconds is None else D(supplier_seconds),
        "delayed": delayed,
    }


_TWO = at("10T12:00")  # two hours, the default limit, after 10:00
DELAYS: tuple[Scenario, ...] = (
    Scenario("at once", (agoda(), supplier()), _late("0", "0")),
    Scenario("just under", (agoda(kafka_time=at("10T11:59:59.999")), supplier()), _late("7199.999", "0")),
    Scenario("at the limit", (agoda(kafka_time=_TWO), supplier()), _late("7200", "0")),
    Scenario("just over", (agoda(kafka_time=at("10T12:00:00.001")), supplier()), _late("7200.001", "0", "AGODA")),
    Scenario("just over, SUPPLIER", (supplier(kafka_time=at("10T12:00:00.001")),), _late(None, "7200.001", "SUPPLIER")),
    Scenario(
        "both",
        (agoda(kafka_time=at("10T13:00")), supplier(kafka_time=at("11T10:00"))),
        _late("10800", "86400", "AGODA", "SUPPLIER"),
    ),
    Scenario("a redelivery's time does not count", (agoda(), agoda(kafka_time=at("12T10:00"))), _late("0", None)),
    Scenario(
        "nor does a redelivery's that is read first",
        (agoda(kafka_time=at("12T10:00")), agoda(kafka_time=_TWO)),
        _late("7200", None),
    ),
    Scenario(
        "a duplicate is an event of its own",
        (agoda(), agoda(event_id="b", kafka_time=at("10T12:00:00.001"))),
        _late("7200.001", None, "AGODA"),
    ),
    Scenario(
        "same id, other content: an event of its own",
        (agoda(), agoda(amount_minor=1, kafka_time=at("10T12:00:00.001"))),
        _late("7200.001", None, "AGODA"),
    ),
    Scenario(
        "an old version counts too",
        (agoda(kafka_time=at("10T13:00")), agoda("10T12:30", version=2)),
        _late("10800", None, "AGODA"),
    ),
    Scenario("published before it happened", (agoda(kafka_time=at("10T09:55")), supplier()), _late("-300", "0")),
    Scenario("another limit: at", (agoda(kafka_time=at("10T10:01")),), _late("60", None), Policy(max_delay=60)),
    Scenario(
        "another limit: over",
        (agoda(kafka_time=at("10T10:01:00.001")),),
        _late("60.001", None, "AGODA"),
        Policy(max_delay=60),
    ),
)
