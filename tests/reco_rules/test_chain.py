"""The rules one after another, as the close runs them, over small cases worked out by hand."""

from datetime import date
from decimal import Decimal
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from reco_rules import anomalies, explain, latest, money, ownership, policy, verdict
from schemas.types import LONG, STRING
from tests.oracle.build import DAY, agoda, at, supplier
from tests.oracle.model import Policy
from tests.reco_rules.cases import SECONDS, USD, Scenario
from tests.reco_rules.engine import Engine

D = Decimal

#: Expected: the fact's outcome, and each break as (type, severity, dollars at risk, explanation).
CASES = (
    Scenario("matched", (agoda(), supplier()), {"outcome": "MATCHED", "breaks": []}),
    Scenario(
        "apart in price, status and time",
        (agoda(), supplier("10T10:15:00.001", amount_minor=9_899, status="PAID")),
        {
            "outcome": "MISMATCHED",
            "breaks": [
                (
                    *("PRICE_MISMATCH", "MEDIUM", D("1.01")),
                    (
                        "AGODA 10000 minor units of USD (100.000000 USD), SUPPLIER 9899 minor units of USD "
                        "(98.990000 USD): 1.010000 USD apart, 1.000000 USD allowed"
                    ),
                ),
                ("STATUS_MISMATCH", "HIGH", D("100"), "AGODA says BOOKED, SUPPLIER says PAID"),
                ("TIMESTAMP_SKEW", "LOW", D(0), "event times 900.001 s apart, 900 s allowed"),
            ],
        },
    ),
    Scenario(
        "no supplier",
        (agoda(amount_minor=100_000, currency="EUR"),),
        {
            "outcome": "MISSING_SUPPLIER",
            "breaks": [
                (
                    *("MISSING_SUPPLIER", "CRITICAL", D("1082.5")),
                    "AGODA reports 100000 minor units of EUR (1082.500000 USD), SUPPLIER nothing",
                )
            ],
        },
    ),
    # CHF's only rate is eight days old.
    Scenario(
        "no AGODA, unpriced, twice, late",
        (
            supplier(currency="CHF"),
            supplier(currency="CHF", amount_minor=1, event_id="s0", kafka_time=at("10T12:00:00.001")),
        ),
        {
            "outcome": "MISSING_AGODA",
            "breaks": [
                ("DELAYED_SUPPLIER", "LOW", D(0), "SUPPLIER published 7200.001 s after the event, 7200 s allowed"),
                (
                    *("DUPLICATE_SUPPLIER", "HIGH", None),
                    "SUPPLIER sent 2 different events where one version is repeated, ? USD between conflicting amounts",
                ),
                (
                    *("MISSING_AGODA", "HIGH", None),
                    "SUPPLIER reports 10000 minor units of CHF (no USD rate), AGODA nothing",
                ),
            ],
        },
    ),
    Scenario(
        "no rate",
        (agoda(currency="CHF"), supplier()),
        {
            "outcome": "MISMATCHED",
            "breaks": [
                (
                    *("FX_RATE_MISSING", "HIGH", None),
                    (
                        "AGODA 10000 minor units of CHF (no USD rate), SUPPLIER 10000 minor units of USD "
                        "(100.000000 USD): no rate of the 7 days to 2026-03-10"
                    ),
                )
            ],
        },
    ),
    Scenario(
        "twice and late, and yet matched",
        (
            agoda(kafka_time=at("10T12:01")),
            agoda(event_id="a0", amount_minor=10_725, kafka_time=at("10T12:00")),
            agoda(kafka_time=at("10T15:00")),
            supplier(),
        ),
        {
            "outcome": "MATCHED",
            "breaks": [
                ("DELAYED_AGODA", "LOW", D(0), "AGODA published 7260.000 s after the event, 7200 s allowed"),
                (
                    *("DUPLICATE_AGODA", "MEDIUM", D("7.25")),
                    (
                        "AGODA sent 2 different events where one version is repeated, "
                        "7.250000 USD between conflicting amounts"
                    ),
                ),
            ],
        },
    ),
    Scenario(
        "split by midnight, under a policy of its own",
        (agoda("10T23:50"), supplier("11T00:10", amount_minor=10_200)),
        {
            "outcome": "MISMATCHED",
            "breaks": [
                (
                    *("PRICE_MISMATCH", "CRITICAL", D("2")),
                    (
                        "AGODA 10000 minor units of USD (100.000000 USD), SUPPLIER 10200 minor units of USD "
                        "(102.000000 USD): 2.000000 USD apart, 1.500000 USD allowed"
                    ),
                )
            ],
        },
        Policy(abs_tol_usd=D("1.5"), allowed_skew=1200, high_usd=D("1"), critical_usd=D("2")),
    ),
)


def _policies(engine: Engine, listed: tuple[Scenario, ...]) -> DataFrame:
    columns = {"supplier_id": "string"} | {
        name: "bigint" if kind == LONG else "decimal(18,6)" for name, kind in policy.POLICY_COLUMNS.items()
    }
    rows = [(case.name, *_limits(case.policy).values()) for case in listed]
    return engine.frame(columns, rows)


def _limits(of: Policy) -> dict[str, Any]:
    return {
        "abs_tol_usd": of.abs_tol_usd,
        "pct_tol": of.pct_tol,
        "allowed_skew_seconds": of.allowed_skew,
        "max_delay_seconds": of.max_delay,
        "high_usd": of.high_usd,
        "critical_usd": of.critical_usd,
    }


def _facts(engine: Engine) -> tuple[DataFrame, DataFrame]:
    owned = ownership.with_reco_date(engine.events(CASES))
    sides = latest.day_sides(owned.where((F.col("reco_date") == F.lit(DAY)) & ~F.col("is_redelivery")))
    rates = money.rates_as_of(engine.fx(), engine.minor_units(), engine.frame({"fx_date": "date"}, [(DAY,)]))
    listed = tuple(case for case in CASES if case.policy != Policy())
    priced = money.with_usd(latest.flat_sides(sides), rates)
    judged = verdict.judge(policy.with_policy(priced, _policies(engine, listed), policy.BUILT_IN))
    return engine.kept(judged.select("*", F.lit(DAY).alias("reco_date"))), engine.kept(rates)


def test_facts(engine: Engine) -> None:
    facts, _ = _facts(engine)
    columns = {"supplier_id": "string", "outcome": "string", "anomaly_types": "array<string>", "fx_date": "date"}
    expected = [
        (case.name, case.expected["outcome"], [found[0] for found in case.expected["breaks"]], DAY) for case in CASES
    ]
    engine.assert_equal(facts.select(*columns), columns, expected)


def test_anomalies(engine: Engine) -> None:
    found = anomalies.anomalies_of(*_facts(engine))
    assert found.columns == [
        *("anomaly_id", "reco_date", "supplier_id", "activity_id", "anomaly_type", "outcome", "severity"),
        *("amount_at_risk_usd", "explanation"),
    ]
    columns = {"reco_date": "date", "supplier_id": "string", "activity_id": "string", "anomaly_type": "string"}
    columns |= {"outcome": "string", "severity": "string", "amount_at_risk_usd": USD, "explanation": "string"}
    expected = [
        (DAY, case.name, "BK-1", kind, case.expected["outcome"], severity, dollars, sentence)
        for case in CASES
        for kind, severity, dollars, sentence in case.expected["breaks"]
    ]
    engine.assert_equal(found.select(*columns), columns, expected)


def test_explanations(engine: Engine) -> None:
    """Each sentence with its side's own numbers; what is null reads `?`."""
    fact: dict[str, tuple[str, Any]] = {
        "agoda_amount_minor": ("bigint", 100),
        "agoda_currency": ("string", "EUR"),
        "agoda_events": ("bigint", 4),
        "agoda_amount_usd": (USD, D("1.08")),
        "agoda_status": ("string", "PAID"),
        "supplier_status": ("string", None),
        "supplier_amount_minor": ("bigint", 200),
        "supplier_currency": ("string", "CHF"),
        "fx_date": ("date", DAY),
        "supplier_amount_usd": (USD, None),
        "supplier_events": ("bigint", 5),
        "price_diff_usd": (USD, D("2.5")),
        "price_tolerance_usd": (USD, D("0.5")),
        "skew_seconds": (SECONDS, D("901")),
        "difference_usd": (USD, D("3")),
        "allowed_skew_seconds": ("bigint", 900),
        "max_delay_seconds": ("bigint", 7200),
        "agoda_delay_seconds": (SECONDS, D("7201")),
        "supplier_delay_seconds": (SECONDS, D("7202.5")),
    }
    euro, franc = "100 minor units of EUR (1.080000 USD)", "200 minor units of CHF (no USD rate)"
    twice = "different events where one version is repeated, 3.000000 USD between conflicting amounts"
    sentences = {
        "MISSING_SUPPLIER": f"AGODA reports {euro}, SUPPLIER nothing",
        "MISSING_AGODA": f"SUPPLIER reports {franc}, AGODA nothing",
        "PRICE_MISMATCH": f"AGODA {euro}, SUPPLIER {franc}: 2.500000 USD apart, 0.500000 USD allowed",
        "FX_RATE_MISSING": f"AGODA {euro}, SUPPLIER {franc}: no rate of the 7 days to 2026-03-10",
        "STATUS_MISMATCH": "AGODA says PAID, SUPPLIER says ?",
        "TIMESTAMP_SKEW": "event times 901.000 s apart, 900 s allowed",
        "DUPLICATE_AGODA": f"AGODA sent 4 {twice}",
        "DUPLICATE_SUPPLIER": f"SUPPLIER sent 5 {twice}",
        "DELAYED_AGODA": "AGODA published 7201.000 s after the event, 7200 s allowed",
        "DELAYED_SUPPLIER": "SUPPLIER published 7202.500 s after the event, 7200 s allowed",
        "SOMETHING_NEW": "SOMETHING_NEW",
    }
    columns = {"anomaly_type": "string"} | {name: kind for name, (kind, _) in fact.items()}
    values = [value for _, value in fact.values()]
    rows = engine.frame(columns, [(kind, *values) for kind in sentences])
    found = rows.select("anomaly_type", explain.explanation(F.col("anomaly_type")).alias("explanation"))
    engine.assert_equal(found, {"anomaly_type": "string", "explanation": "string"}, sentences.items())


def test_policy_of_each_row(engine: Engine) -> None:
    """A listed supplier has its own values, nulls too; another has the defaults."""
    rows = engine.frame({"supplier_id": "string", "n": "bigint"}, [("listed", 1), ("other", 2), ("listed", 3)])
    policies = engine.frame(
        {"supplier_id": "string", "format": "string", "grace_seconds": "bigint"},
        [("listed", None, 60), ("more", "x", 1)],
    )
    defaults: dict[str, policy.Value] = {"grace_seconds": 3600, "format": "own", "mode": "DAILY_ONLY"}
    found = policy.with_policy(rows, policies, defaults, {"grace_seconds": LONG, "format": STRING})
    columns = {"supplier_id": "string", "n": "bigint", "grace_seconds": "bigint", "format": "string"}
    engine.assert_equal(found, columns, [("listed", 1, 60, None), ("other", 2, 3600, "own"), ("listed", 3, 60, None)])


def test_built_in_policy_is_the_contracts() -> None:
    ours = Policy()
    expected = _limits(ours) | {"mode": ours.mode, "grace_seconds": ours.grace, "versions": ours.versions}
    assert dict(policy.BUILT_IN) == expected | {"format": None}


def test_ids_differ_by_date_key_and_type(engine: Engine) -> None:
    facts, rates = _facts(engine)
    again = facts.withColumn("reco_date", F.lit(date(2026, 3, 11)))
    one, two = (anomalies.anomalies_of(rows, rates).select("anomaly_id") for rows in (facts, again))
    ids = [row[0] for frame in (one, two) for row in frame.collect()]
    assert len(set(ids)) == len(ids) == 2 * sum(len(case.expected["breaks"]) for case in CASES)
    assert all(len(found) == 64 for found in ids)
