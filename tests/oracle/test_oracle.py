"""Hand-computed cases that hold the oracle itself: each limit at, just under and just over."""

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.oracle.build import DAY, FX, agoda, at, ms, supplier
from tests.oracle.close import Close, close, latest, reco_dates, severity, to_usd
from tests.oracle.model import Event, Policy, first_publications, stamped

KEY = ("SUP-1", "BK-1")


def closed(*events: Event, day: date = DAY, history_days: int = 7, **policy: Any) -> Close:
    return close(events, {"SUP-1": Policy(**policy)}, FX, day, history_days)


def types(*events: Event, **more: Any) -> object:
    return closed(*events, **more).facts[KEY]["anomaly_types"]


def at_risk(result: Close, kind: str) -> Mapping[str, object]:
    return result.anomalies[(*KEY, kind)]


def days(*events: Event, grace: int = 3600) -> list[int]:
    return [day.day for _, day in reco_dates([stamped(event, Policy(grace=grace)) for event in events])]


def test_a_clean_pair_is_matched_with_every_column() -> None:
    result = closed(agoda(amount_minor=12_345), supplier("10T10:00:00.250", amount_minor=12_345))
    assert result.anomalies == {}
    assert result.facts == {
        KEY: {
            "reco_date": DAY,
            "supplier_id": "SUP-1",
            "activity_id": "BK-1",
            "outcome": "MATCHED",
            "anomaly_types": [],
            "agoda_event_id": "a1",
            "agoda_amount_minor": 12_345,
            "agoda_currency": "USD",
            "agoda_status": "BOOKED",
            "agoda_version": 1,
            "agoda_event_time": at("10T10:00"),
            "agoda_amount_usd": Decimal("123.45"),
            "supplier_event_id": "s1",
            "supplier_amount_minor": 12_345,
            "supplier_currency": "USD",
            "supplier_status": "BOOKED",
            "supplier_version": 1,
            "supplier_event_time": at("10T10:00:00.250"),
            "supplier_amount_usd": Decimal("123.45"),
            "price_diff_usd": Decimal(0),
            "price_tolerance_usd": Decimal("1.2345"),
            "skew_seconds": Decimal("0.250"),
            "agoda_events": 1,
            "supplier_events": 1,
        }
    }


@pytest.mark.parametrize(("side", "outcome"), [(agoda, "MISSING_SUPPLIER"), (supplier, "MISSING_AGODA")])
def test_a_missing_side_puts_the_whole_amount_at_risk(side: Any, outcome: str) -> None:
    result = closed(side(amount_minor=9_999))
    assert result.facts[KEY]["outcome"] == outcome
    assert result.facts[KEY]["anomaly_types"] == [outcome]
    assert at_risk(result, outcome) == {"severity": "MEDIUM", "amount_at_risk_usd": Decimal("99.99")}


@pytest.mark.parametrize(("cents", "broken"), [(10_100, False), (10_101, True), (9_900, False), (9_899, True)])
def test_price_at_and_just_over_one_percent(cents: int, broken: bool) -> None:
    assert types(agoda(), supplier(amount_minor=cents)) == (["PRICE_MISMATCH"] if broken else [])


@pytest.mark.parametrize(("cents", "broken"), [(50, False), (51, True), (0, False)])
def test_price_at_and_just_over_the_absolute_tolerance(cents: int, broken: bool) -> None:
    assert types(agoda(amount_minor=0), supplier(amount_minor=cents)) == (["PRICE_MISMATCH"] if broken else [])


def test_amounts_are_rounded_half_up_to_six_places() -> None:
    fx = {(DAY, "JPY"): Decimal("0.0000005"), (DAY, "KWD"): Decimal("0.000499")}
    assert to_usd(1, "JPY", DAY, fx) == Decimal("0.000001")  # 0.0000005 exactly: up, not to even
    assert to_usd(5, "JPY", DAY, fx) == Decimal("0.000003")  # 0.0000025
    assert to_usd(1, "KWD", DAY, fx) == Decimal("0.000000")  # 0.000000499
    assert to_usd(10**15, "JPY", DAY, {(DAY, "JPY"): Decimal("99999.999999999999")}) == Decimal(
        "99999999999999999000"  # 10^15 × 99999.999999999999, nothing lost
    )


@pytest.mark.parametrize(("currency", "usd"), [("EUR", "10.825"), ("JPY", "6.7"), ("KWD", "3.25"), ("GBP", "12.7")])
def test_minor_units_and_a_rate_of_seven_days_ago(currency: str, usd: str) -> None:
    assert to_usd(1_000, currency, DAY, FX) == Decimal(usd)


def test_a_rate_of_eight_days_ago_or_of_tomorrow_is_no_rate() -> None:
    assert to_usd(1_000, "CHF", DAY, FX) is None
    assert to_usd(1_000, "JPY", DAY - timedelta(days=1), FX) is None


def test_both_sides_take_the_rate_of_agodas_date() -> None:
    # 100.00 EUR on the 9th for AGODA (1.08), on the 10th for SUPPLIER (1.0825): both 108.00, by the 9th.
    result = closed(agoda("09T23:50", currency="EUR"), supplier("10T00:10", currency="EUR"), day=date(2026, 3, 9))
    assert result.facts[KEY]["supplier_amount_usd"] == Decimal("108")
    # The fact's day is the 9th, the event's date the 10th: the event's date counts, here the only side's.
    alone = closed(supplier("10T10:00", currency="EUR"))
    assert alone.facts[KEY]["supplier_amount_usd"] == Decimal("108.25")


def test_without_a_rate_only_equal_amounts_of_one_currency_are_fine() -> None:
    chf = {"currency": "CHF"}
    assert types(agoda(**chf), supplier(**chf)) == []
    other = closed(agoda(**chf), supplier(amount_minor=10_001, **chf))
    assert other.facts[KEY]["anomaly_types"] == ["FX_RATE_MISSING"]
    assert other.facts[KEY]["price_diff_usd"] is None
    assert at_risk(other, "FX_RATE_MISSING") == {"severity": "HIGH", "amount_at_risk_usd": None}
    half = closed(agoda(), supplier(**chf))
    assert half.facts[KEY]["anomaly_types"] == ["FX_RATE_MISSING"]
    assert half.facts[KEY]["agoda_amount_usd"] == Decimal("100")


def test_a_status_mismatch_risks_the_greater_side() -> None:
    result = closed(agoda(), supplier(status="PAID", amount_minor=10_050))
    assert result.facts[KEY]["outcome"] == "MISMATCHED"
    assert at_risk(result, "STATUS_MISMATCH") == {"severity": "HIGH", "amount_at_risk_usd": Decimal("100.5")}


@pytest.mark.parametrize(("extra", "broken"), [(-1, False), (0, False), (1, True)])
def test_skew_and_delay_break_one_millisecond_over(extra: int, broken: bool) -> None:
    late = at("10T10:15") + ms(extra)
    for pair in ((agoda(), supplier(late)), (agoda(late), supplier())):
        assert types(*pair) == (["TIMESTAMP_SKEW"] if broken else [])
    published = at("10T12:00") + ms(extra)
    result = closed(agoda(kafka_time=published), supplier())
    assert result.facts[KEY]["outcome"] == "MATCHED"
    assert result.facts[KEY]["anomaly_types"] == (["DELAYED_AGODA"] if broken else [])


def test_a_redelivery_changes_nothing_and_its_first_publication_counts() -> None:
    pair = (agoda(), supplier())
    again = closed(*pair, agoda(kafka_time=at("11T10:00")), supplier(kafka_time=at("10T10:01")))
    assert again == closed(*pair)


def test_duplicates_with_equal_and_with_different_payloads() -> None:
    same = closed(agoda(), agoda(event_id="a1b"), supplier())
    assert same.facts[KEY]["outcome"] == "MATCHED"
    assert same.facts[KEY]["agoda_events"] == 2
    assert at_risk(same, "DUPLICATE_AGODA") == {"severity": "LOW", "amount_at_risk_usd": Decimal(0)}
    other = closed(agoda(), supplier(), supplier(amount_minor=10_040), supplier(event_id="s0", amount_minor=9_970))
    assert at_risk(other, "DUPLICATE_SUPPLIER") == {"severity": "MEDIUM", "amount_at_risk_usd": Decimal("0.7")}
    unpriced = closed(agoda(), agoda(event_id="a1b", currency="CHF"), supplier())
    assert at_risk(unpriced, "DUPLICATE_AGODA")["amount_at_risk_usd"] is None
    needless = closed(agoda(currency="CHF"), agoda(event_id="a1b", currency="CHF", status="PAID"))
    assert at_risk(needless, "DUPLICATE_AGODA")["amount_at_risk_usd"] == 0


def test_two_versions_are_no_duplicate_and_the_greater_counts() -> None:
    result = closed(agoda(version=2, status="PAID"), agoda("10T10:05"), supplier(status="PAID", version=2))
    assert result.facts[KEY]["anomaly_types"] == []
    assert result.facts[KEY]["agoda_version"] == 2


def test_latest_is_decided_field_by_field() -> None:
    base = agoda()
    for greater in (
        agoda("10T10:00:00.001", event_id="a0", amount_minor=1),
        agoda(event_id="b", amount_minor=1),
        agoda(amount_minor=10_001, currency="AED"),
        agoda(currency="ZAR", status="BOOKED"),
        agoda(status="PAID"),
    ):
        assert latest([greater, base], "AGODA") == latest([base, greater], "AGODA") == greater


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("09T23:50", "10T00:10", [9, 9]),
        ("09T23:50", "10T00:49:59.999", [9, 9]),
        ("09T23:50", "10T00:50", [9, 10]),  # follows by grace exactly, not by less
        ("10T23:59:59.999", "11T00:00", [10, 10]),
        ("10T00:00", "10T00:10", [10, 10]),
    ],
)
def test_a_pair_split_by_midnight_belongs_to_the_earlier_day(first: str, second: str, expected: list[int]) -> None:
    assert days(agoda(first), supplier(second)) == expected


def test_a_chain_after_midnight_ends_at_twice_the_grace() -> None:
    chain = [agoda("09T23:40"), supplier("10T00:30"), agoda("10T01:20", version=2)]
    assert days(*chain, supplier("10T01:59:59.999", version=2)) == [9, 9, 9, 9]
    assert days(*chain, supplier("10T02:00", version=2)) == [9, 9, 9, 10]
    assert days(agoda("09T23:40"), supplier("10T00:45"), agoda("10T01:00", version=2)) == [9, 10, 10]
    assert days(*chain, grace=3000) == [9, 10, 10]  # each gap is 50 minutes: not less than this grace


def test_a_split_pair_is_one_fact_of_the_earlier_day_only() -> None:
    pair = (agoda("09T23:50"), supplier("10T00:10"))
    assert closed(*pair).facts == {}
    assert closed(*pair, day=date(2026, 3, 9)).facts[KEY]["supplier_events"] == 1


def test_history_reaches_back_exactly_so_many_days() -> None:
    refund = agoda("10T10:00", version=2, status="REFUNDED")
    fact = closed(agoda("03T10:00"), supplier("03T10:00"), refund).facts[KEY]
    assert (fact["outcome"], fact["anomaly_types"]) == ("MISMATCHED", ["STATUS_MISMATCH", "TIMESTAMP_SKEW"])
    assert (fact["agoda_events"], fact["supplier_events"]) == (1, 0)
    older = closed(agoda("02T10:00"), supplier("02T10:00"), refund).facts[KEY]
    assert older["outcome"] == "MISSING_SUPPLIER"
    # What happened after the day does not count, and duplicates of other days do not either.
    later = closed(refund, supplier("11T10:00"), agoda("09T01:00"), agoda("09T01:00", event_id="x")).facts[KEY]
    assert later["anomaly_types"] == ["MISSING_SUPPLIER"]


def test_an_older_version_of_the_day_stands_back_behind_historys_newer_one() -> None:
    fact = closed(agoda("09T10:00", version=3, status="PAID"), agoda(version=2), supplier(status="PAID")).facts[KEY]
    assert (fact["agoda_version"], fact["agoda_events"]) == (3, 1)
    assert fact["anomaly_types"] == ["TIMESTAMP_SKEW"]  # by a day: AGODA's newest is of the 9th


@pytest.mark.parametrize(
    ("money", "expected"),
    [
        (None, "HIGH"),
        ("0", "LOW"),
        ("0.000001", "MEDIUM"),
        ("99.999999", "MEDIUM"),
        ("100", "HIGH"),
        ("999.999999", "HIGH"),
        ("1000", "CRITICAL"),
    ],
)
def test_severity_by_money(money: str | None, expected: str) -> None:
    assert severity(None if money is None else Decimal(money), Policy()) == expected


def test_the_first_publications_grace_holds_for_a_redelivery() -> None:
    first = agoda(grace_seconds=60)
    again = agoda(kafka_time=at("10T11:00"), grace_seconds=7200)
    assert first_publications([again, first]) == [first]
