"""Rules 1, 3 and 4, the outcome, amount at risk and severity, clock and identity."""

import hashlib
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from pyspark.sql import functions as F

from reco_rules import clock, delays, duplicates, existence, identity, price, risk, skew, status, verdict
from tests.reco_rules.cases import SECONDS, USD, pairs
from tests.reco_rules.cases import risk as risks
from tests.reco_rules.engine import Engine


def test_existence(engine: Engine) -> None:
    sides = F.col("agoda_event_id"), F.col("supplier_event_id")
    engine.assert_table(
        pairs.EXISTENCE,
        expected_missing_agoda=existence.missing_agoda(*sides),
        expected_missing_supplier=existence.missing_supplier(*sides),
    )


def test_missing_is_never_null(engine: Engine) -> None:
    both = {"agoda": "bigint", "supplier": "bigint"}
    sides = F.col("agoda"), F.col("supplier")
    found = engine.frame(both, [(None, None)]).select(
        existence.missing_agoda(*sides), existence.missing_supplier(*sides)
    )
    assert [tuple(row) for row in found.collect()] == [(False, False)]


def test_status_differs(engine: Engine) -> None:
    engine.assert_table(
        pairs.STATUS_DIFFERS, expected=status.status_differs(F.col("agoda_status"), F.col("supplier_status"))
    )


def test_skew(engine: Engine) -> None:
    apart = skew.skew(F.col("agoda_event_time"), F.col("supplier_event_time"))
    engine.assert_table(
        pairs.SKEW, expected_skew_seconds=apart, expected=skew.is_skewed(apart, F.col("allowed_skew_seconds"))
    )


def test_clock(engine: Engine) -> None:
    times = {"time": "timestamp", "expected": "bigint"}
    rows = [
        (datetime(1970, 1, 1, tzinfo=UTC), 0),
        (datetime(1970, 1, 2, 0, 0, 0, 1000, tzinfo=UTC), 86_400_001),
        (datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC), -1),
        (datetime(2026, 3, 29, 1, 30, tzinfo=UTC), 1_774_747_800_000),
        (None, None),
    ]
    engine.assert_equal(
        engine.frame(times, rows).select("time", clock.millis(F.col("time")).alias("expected")), times, rows
    )
    durations = {"ms": "bigint", "expected": SECONDS}
    lengths: list[tuple[int | None, Decimal | None]] = [
        (0, Decimal(0)),
        (1, Decimal("0.001")),
        (-1, Decimal("-0.001")),
        (86_400_000, Decimal(86_400)),
        (999_999_999_999_999, Decimal("999999999999.999")),
        (None, None),
    ]
    engine.assert_equal(
        engine.frame(durations, lengths).select("ms", clock.seconds(F.col("ms")).alias("expected")), durations, lengths
    )


def test_delay_of_nothing_is_none(engine: Engine) -> None:
    columns = {"delay": SECONDS, "limit_seconds": "bigint", "expected": "boolean"}
    rows = [
        (None, 60, False),
        (Decimal("60"), None, False),
        (Decimal("60"), 60, False),
        (Decimal("60.001"), 60, True),
        (Decimal("59.999"), 60, False),
        (Decimal("-60.001"), 60, False),
    ]
    found = engine.frame(columns, rows).select(
        "delay", "limit_seconds", delays.is_delayed(F.col("delay"), F.col("limit_seconds")).alias("expected")
    )
    engine.assert_equal(found, columns, rows)


#: A matched, measured row; what breaks it, by the name of the break.
_MATCHED: dict[str, Any] = {
    "agoda_version": 1,
    "supplier_version": 1,
    "agoda_status": "PAID",
    "supplier_status": "PAID",
    "agoda_amount_minor": 100,
    "supplier_amount_minor": 100,
    "agoda_currency": "USD",
    "supplier_currency": "USD",
    "agoda_amount_usd": Decimal(1),
    "supplier_amount_usd": Decimal(1),
    "price_diff_usd": Decimal(0),
    "price_tolerance_usd": Decimal(0),
    "skew_seconds": Decimal(0),
    "allowed_skew_seconds": 0,
    "max_delay_seconds": 0,
    "agoda_duplicates": None,
    "supplier_duplicates": None,
    "agoda_delay_seconds": Decimal(0),
    "supplier_delay_seconds": Decimal(0),
}
_GONE = ("version", "status", "amount_minor", "currency", "amount_usd")
_PAIRED = ("price_diff_usd", "price_tolerance_usd", "skew_seconds")
_BREAKS: dict[str, dict[str, Any]] = {
    "PRICE_MISMATCH": {"price_diff_usd": Decimal("0.000001")},
    "FX_RATE_MISSING": {"supplier_amount_usd": None, "supplier_amount_minor": 101},
    "STATUS_MISMATCH": {"supplier_status": "BOOKED"},
    "TIMESTAMP_SKEW": {"skew_seconds": Decimal("0.001")},
    "DUPLICATE_AGODA": {"agoda_duplicates": [1]},
    "DUPLICATE_SUPPLIER": {"supplier_duplicates": [1]},
    "DELAYED_AGODA": {"agoda_delay_seconds": Decimal("0.001")},
    "DELAYED_SUPPLIER": {"supplier_delay_seconds": Decimal("0.001")},
    "MISSING_SUPPLIER": {f"supplier_{name}": None for name in _GONE} | dict.fromkeys(_PAIRED),
    "MISSING_AGODA": {f"agoda_{name}": None for name in _GONE} | dict.fromkeys(_PAIRED),
}
_MEASURED = {
    **dict.fromkeys(("agoda_version", "supplier_version", "agoda_amount_minor", "supplier_amount_minor"), "bigint"),
    **dict.fromkeys(("agoda_status", "supplier_status", "agoda_currency", "supplier_currency"), "string"),
    **dict.fromkeys(("agoda_amount_usd", "supplier_amount_usd", "price_diff_usd", "price_tolerance_usd"), USD),
    **dict.fromkeys(("skew_seconds", "agoda_delay_seconds", "supplier_delay_seconds"), SECONDS),
    **dict.fromkeys(("allowed_skew_seconds", "max_delay_seconds"), "bigint"),
    **dict.fromkeys(("agoda_duplicates", "supplier_duplicates"), "array<bigint>"),
}


def test_outcomes(engine: Engine) -> None:
    columns = {"case_name": "string", **_MEASURED}
    rows, expected = [], []
    for case, breaks, outcome in pairs.OUTCOMES.rows + tuple((kind, [kind], None) for kind in _BREAKS):
        row = _MATCHED | {name: value for kind in breaks for name, value in _BREAKS[kind].items()}
        rows.append((case, *[row[name] for name in _MEASURED]))
        alone = "MISMATCHED" if kind_mismatches(breaks) else "MATCHED"
        expected.append((case, sorted(breaks), outcome or (breaks[0] if breaks[0].startswith("MISSING") else alone)))
    broken = verdict.broken_rules()
    found = engine.frame(columns, rows).select(
        "case_name", verdict.anomaly_types(broken).alias("anomaly_types"), verdict.outcome(broken).alias("outcome")
    )
    engine.assert_equal(found, {"case_name": "string", "anomaly_types": "array<string>", "outcome": "string"}, expected)


def kind_mismatches(breaks: list[str]) -> bool:
    """As section 5 has it: rules 2 to 4."""
    return bool({"PRICE_MISMATCH", "FX_RATE_MISSING", "STATUS_MISMATCH", "TIMESTAMP_SKEW"} & set(breaks))


def test_duplicated_is_never_null(engine: Engine) -> None:
    rows = engine.frame({"kept": "array<bigint>"}, [(None,), ([1],)])
    found = rows.select(duplicates.is_duplicated(F.col("kept")))
    assert sorted(tuple(row) for row in found.collect()) == [(False,), (True,)]


def test_amount_at_risk(engine: Engine) -> None:
    rows = engine.table(risks.AT_RISK)
    difference = price.price_difference(F.col("agoda_usd"), F.col("supplier_usd"))
    named = rows.select(
        "case_name",
        "anomaly_type",
        "duplicate_spread_usd",
        difference.alias("price_diff_usd"),
        *[F.col(f"{side}_usd").alias(f"{side}_amount_usd") for side in ("agoda", "supplier")],
    )
    found = risk.amount_at_risk(F.col("anomaly_type"), F.col("duplicate_spread_usd"))
    engine.assert_same(
        named.select("case_name", found.alias("expected_at_risk_usd")), rows.select("case_name", "expected_at_risk_usd")
    )


def test_severity(engine: Engine) -> None:
    inputs = F.col("at_risk_usd"), F.col("high_usd"), F.col("critical_usd")
    engine.assert_table(risks.SEVERITIES, expected=risk.severity(*inputs))


def test_identity(engine: Engine) -> None:
    """No two different sequences meet: not by where parts end, not by null, not by a separator inside."""
    columns = {"first": "string", "second": "string"}
    rows = [
        ("ab", "c"),
        ("a", "bc"),
        ("", "abc"),
        ("", None),
        (None, ""),
        (None, None),
        ("", ""),
        ("1:a", "\x1f"),
        ("é", "1"),
    ]
    found = engine.frame(columns, rows).select(
        *columns,
        identity.joined([F.col("first"), F.col("second")]).alias("joined"),
        identity.digest(F.col("first"), F.col("second")).alias("digest"),
    )
    texts = ["\x1f".join("\x00" if part is None else f"{len(part)}:{part}" for part in row) for row in rows]
    assert len(set(texts)) == len(rows)
    expected = [(*row, text, hashlib.sha256(text.encode()).hexdigest()) for row, text in zip(rows, texts, strict=True)]
    engine.assert_equal(found, {**columns, "joined": "string", "digest": "string"}, expected)
