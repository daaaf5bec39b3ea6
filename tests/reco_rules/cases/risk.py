"""Amount at risk and severity."""

from decimal import Decimal

from tests.reco_rules.cases import TOLERANCE, USD, Table

D = Decimal

_INPUTS = {
    "anomaly_type": "string",
    "agoda_usd": USD,
    "supplier_usd": USD,
    # The greatest distance between one version's payloads on that side: 0 where they agree, null where unpriced.
    "duplicate_spread_usd": USD,
}
AT_RISK = Table(
    "at_risk",
    {**_INPUTS, "expected_at_risk_usd": USD},
    (
        ("the whole of AGODA's amount", "MISSING_SUPPLIER", D("123.45"), None, None, D("123.45")),
        ("the whole of SUPPLIER's amount", "MISSING_AGODA", None, D("123.45"), None, D("123.45")),
        ("a missing side of nothing", "MISSING_SUPPLIER", D("0"), None, None, D("0")),
        ("a missing side unpriced", "MISSING_SUPPLIER", None, None, None, None),
        ("a missing side unpriced, other way", "MISSING_AGODA", None, None, None, None),
        ("the price's difference", "PRICE_MISMATCH", D("100"), D("98.5"), None, D("1.5")),
        ("the price's difference, other way", "PRICE_MISMATCH", D("98.5"), D("100"), None, D("1.5")),
        ("a missing rate", "FX_RATE_MISSING", None, D("5"), None, None),
        ("two missing rates", "FX_RATE_MISSING", None, None, None, None),
        ("status: AGODA's side is greater", "STATUS_MISMATCH", D("100"), D("98.5"), None, D("100")),
        ("status: SUPPLIER's side is greater", "STATUS_MISMATCH", D("98.5"), D("100"), None, D("100")),
        ("status: both alike", "STATUS_MISMATCH", D("100"), D("100"), None, D("100")),
        ("status: nothing", "STATUS_MISMATCH", D("0"), D("0"), None, D("0")),
        # greatest() skips nulls in Spark: it must not here.
        ("status: AGODA unpriced", "STATUS_MISMATCH", None, D("100"), None, None),
        ("status: SUPPLIER unpriced", "STATUS_MISMATCH", D("100"), None, None, None),
        ("skew", "TIMESTAMP_SKEW", D("100"), D("100"), None, D("0")),
        ("skew, unpriced", "TIMESTAMP_SKEW", None, None, None, D("0")),
        ("AGODA delayed", "DELAYED_AGODA", D("100"), D("100"), None, D("0")),
        ("SUPPLIER delayed, unpriced", "DELAYED_SUPPLIER", None, None, None, D("0")),
        ("duplicates that agree", "DUPLICATE_AGODA", D("100"), D("100"), D("0"), D("0")),
        ("duplicates that agree, unpriced", "DUPLICATE_SUPPLIER", None, None, D("0"), D("0")),
        ("duplicates that do not", "DUPLICATE_AGODA", D("100"), D("100"), D("7.25"), D("7.25")),
        ("duplicates that do not, unpriced", "DUPLICATE_SUPPLIER", D("100"), D("100"), None, None),
    ),
)

_LIMITS = (D("100"), D("1000"))
SEVERITIES = Table(
    "severities",
    {"at_risk_usd": USD, "high_usd": TOLERANCE, "critical_usd": TOLERANCE, "expected": "string"},
    (
        ("unpriced", None, *_LIMITS, "HIGH"),
        ("nothing", D("0"), *_LIMITS, "LOW"),
        ("one millionth", D("0.000001"), *_LIMITS, "MEDIUM"),
        ("just under high", D("99.999999"), *_LIMITS, "MEDIUM"),
        ("at high", D("100"), *_LIMITS, "HIGH"),
        ("just over high", D("100.000001"), *_LIMITS, "HIGH"),
        ("just under critical", D("999.999999"), *_LIMITS, "HIGH"),
        ("at critical", D("1000"), *_LIMITS, "CRITICAL"),
        ("just over critical", D("1000.000001"), *_LIMITS, "CRITICAL"),
        ("the greatest", D("99999999999999999000"), *_LIMITS, "CRITICAL"),
        ("both limits alike", D("100"), D("100"), D("100"), "CRITICAL"),
        ("both limits alike, just under", D("99.999999"), D("100"), D("100"), "MEDIUM"),
        # Literally: 0 ≥ high_usd comes before 0 is LOW.
        ("high at nothing", D("0"), D("0"), D("1000"), "HIGH"),
        ("critical at nothing", D("0"), D("0"), D("0"), "CRITICAL"),
        ("unpriced, critical at nothing", None, D("0"), D("0"), "HIGH"),
    ),
)
