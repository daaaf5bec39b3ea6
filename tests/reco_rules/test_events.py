"""Rules 5 and 6: duplicates with the money in them, delays."""

from collections.abc import Callable
from typing import Any

import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from reco_rules import delays, duplicates, latest, money
from tests.oracle.build import DAY, agoda, supplier
from tests.reco_rules.cases import SECONDS, USD, Scenario, events
from tests.reco_rules.engine import Engine


def _rates(engine: Engine) -> DataFrame:
    dates = engine.frame({"fx_date": "date"}, [(DAY,)])
    return engine.kept(money.rates_as_of(engine.fx(), engine.minor_units(), dates))


def _whole(_: Engine, deliveries: DataFrame) -> DataFrame:
    return latest.day_sides(deliveries)


def _in_two(engine: Engine, deliveries: DataFrame) -> DataFrame:
    """Keys of single deliveries without sorting, all others as ever."""
    several = engine.kept(latest.keys_of_several(deliveries, "supplier_id"))
    one, more = (engine.kept(deliveries.join(several, on="supplier_id", how=how)) for how in ("left_anti", "left_semi"))
    return engine.kept(latest.single_sides(one)).unionByName(engine.kept(latest.day_sides(more)))


WAYS = pytest.mark.parametrize("sides_of", [_whole, _in_two], ids=["whole", "in two"])
SidesOf = Callable[[Engine, DataFrame], DataFrame]


def _day(engine: Engine, cases: tuple[Any, ...], sides_of: SidesOf) -> DataFrame:
    return engine.kept(sides_of(engine, engine.kept(engine.events(cases))))


@WAYS
def test_duplicates(engine: Engine, sides_of: SidesOf) -> None:
    sides = _day(engine, events.DUPLICATES, sides_of).select(
        "*", F.lit(DAY).alias("reco_date"), F.lit(DAY).alias("fx_date")
    )
    columns = {"supplier_id": "string", "agoda_events": "bigint", "supplier_events": "bigint"}
    columns |= {"agoda": "boolean", "supplier": "boolean"}
    found = sides.select(
        *["supplier_id", "agoda_events", "supplier_events"],
        *[duplicates.is_duplicated(F.col(f"{side}_duplicates")).alias(side) for side in ("agoda", "supplier")],
    )
    expected = [
        (
            *(case.name, case.expected["agoda_events"], case.expected["supplier_events"]),
            *("AGODA" in case.expected["at_risk"], "SUPPLIER" in case.expected["at_risk"]),
        )
        for case in events.DUPLICATES
    ]
    engine.assert_equal(found, columns, expected)


@WAYS
def test_money_between_duplicates(engine: Engine, sides_of: SidesOf) -> None:
    sides = _day(engine, events.DUPLICATES, sides_of).select(
        "*", F.lit(DAY).alias("reco_date"), F.lit(DAY).alias("fx_date")
    )
    columns = {"reco_date": "date", "supplier_id": "string", "activity_id": "string"}
    columns |= {"anomaly_type": "string", "difference_usd": USD}
    expected = [
        (DAY, case.name, "BK-1", f"DUPLICATE_{side}", at_risk)
        for case in events.DUPLICATES
        for side, at_risk in case.expected["at_risk"].items()
    ]
    engine.assert_equal(duplicates.duplicate_differences(sides, _rates(engine)), columns, expected)


def test_kept_duplicates_are_sorted_events(engine: Engine) -> None:
    """The kept payloads are the side's events by version and id, whatever the order of arrival; single versions too."""
    first = (agoda("10T09:00", version=2, amount_minor=99), agoda(event_id="a1b"))
    sent = (*first, agoda(), agoda(activity_type="PAYMENT"), supplier())
    row = latest.day_sides(engine.events((Scenario("S", sent, {}),))).collect()[0]
    kept = [tuple(item[name] for name in ("version", "event_id", "amount_minor")) for item in row["agoda_duplicates"]]
    assert kept == [(1, "a1", 10_000), (1, "a1", 10_000), (1, "a1b", 10_000), (2, "a2", 99)]
    assert row["supplier_duplicates"] is None


@WAYS
def test_delays(engine: Engine, sides_of: SidesOf) -> None:
    limits = engine.frame(
        {"supplier_id": "string", "max_delay_seconds": "bigint"},
        [(case.name, case.policy.max_delay) for case in events.DELAYS],
    )
    rows = _day(engine, events.DELAYS, sides_of).join(limits, on="supplier_id", how="inner")
    columns = {"supplier_id": "string", "agoda_delay_seconds": SECONDS, "supplier_delay_seconds": SECONDS}
    found = rows.select(
        *columns,
        *[
            delays.is_delayed(F.col(f"{side}_delay_seconds"), F.col("max_delay_seconds")).alias(side)
            for side in ("agoda", "supplier")
        ],
    )
    expected = [
        (
            *(case.name, case.expected["agoda_delay_seconds"], case.expected["supplier_delay_seconds"]),
            *("AGODA" in case.expected["delayed"], "SUPPLIER" in case.expected["delayed"]),
        )
        for case in events.DELAYS
    ]
    engine.assert_equal(found, columns | {"agoda": "boolean", "supplier": "boolean"}, expected)


def test_a_single_delivery_is_its_sides_latest(engine: Engine) -> None:
    alone = (agoda("10T09:00", version=3, amount_minor=7),)
    cases = tuple(Scenario(name, sent, {}) for name, sent in (("A", alone), ("B", (agoda(), supplier()))))
    rows = {row["supplier_id"]: row for row in latest.single_sides(engine.events(cases)).collect()}
    assert [rows[name]["agoda_latest"]["version"] for name in "AB"] == [3, 1]
    assert rows["A"]["agoda_latest"]["amount_minor"] == 7
    assert [(rows[name]["agoda_events"], rows[name]["supplier_events"]) for name in "AB"] == [(1, 0), (1, 1)]
    assert rows["A"]["supplier_latest"] is None
    assert rows["A"]["supplier_delay_seconds"] is None
    assert rows["B"]["agoda_duplicates"] is None
    assert latest.keys_of_several(engine.events(cases), "supplier_id").collect() == []
