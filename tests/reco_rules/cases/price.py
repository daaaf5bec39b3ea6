"""Rule 2: conversion to US dollars, the rate that holds, the tolerance, the comparison, missing rates."""

from datetime import date
from decimal import Decimal

from tests.reco_rules.cases import RATE, TOLERANCE, USD, Table

D = Decimal

TO_USD = Table(
    "to_usd",
    {"amount_minor": "bigint", "currency": "string", "exponent": "int", "usd_per_unit": RATE, "expected_usd": USD},
    (
        ("dollars are cents by 100", 12_345, "USD", 2, D("1"), D("123.45")),
        ("one cent", 1, "USD", 2, D("1"), D("0.01")),
        ("nothing", 0, "EUR", 2, D("1.0825"), D("0")),
        ("euro", 10_000, "EUR", 2, D("1.0825"), D("108.25")),
        ("yen have no minor unit", 12_345, "JPY", 0, D("0.0067"), D("82.7115")),
        ("dinars have three places", 12_345, "KWD", 3, D("3.25"), D("40.12125")),
        ("a currency with four places", 12_345, "CLF", 4, D("40"), D("49.38")),
        # 0.01 × 0.00005 = 0.0000005: a tie, so up.
        ("a tie goes up from zero", 1, "EUR", 2, D("0.00005"), D("0.000001")),
        # 0.01 × 0.00025 = 0.0000025: to even would be 0.000002.
        ("a tie goes up, not to even", 1, "EUR", 2, D("0.00025"), D("0.000003")),
        # 0.01 × 0.000049999999 = 0.00000049999999
        ("just under a tie goes down", 1, "EUR", 2, D("0.000049999999"), D("0.000000")),
        # 0.01 × 0.000050000001 = 0.00000050000001
        ("just over a tie goes up", 1, "EUR", 2, D("0.000050000001"), D("0.000001")),
        # 0.001 × 0.0005 = 0.0000005
        ("a tie in dinars", 1, "KWD", 3, D("0.0005"), D("0.000001")),
        # 3 × 0.0000005 = 0.0000015
        ("a tie in yen", 3, "JPY", 0, D("0.0000005"), D("0.000002")),
        # The rate's last place counts: 10^15 × 0.000000000001 = 1000.
        ("the smallest rate, the greatest amount", 10**15, "JPY", 0, D("0.000000000001"), D("1000")),
        ("the smallest of both", 1, "CLF", 4, D("0.000000000001"), D("0")),
        # 10^15 × 99999.999999999999 = 99999999999999999000
        ("the greatest of both", 10**15, "JPY", 0, D("99999.999999999999"), D("99999999999999999000")),
        # 99999999999999999000 − 99999.999999999999 = 99999999999999899000.000000000001
        ("nothing is lost on the way", 10**15 - 1, "JPY", 0, D("99999.999999999999"), D("99999999999999899000.000000")),
        # 999999999999.999 × 3.25 = 3249999999999.99675, × 10^-12 = 0.999999999999999,
        # together 3250000000000.996749999999999
        ("sixteen digits by thirteen", 10**15 - 1, "KWD", 3, D("3.250000000001"), D("3250000000000.996750")),
        ("no rate", 12_345, "EUR", 2, None, None),
        ("no rate for nothing", 0, "EUR", 2, None, None),
        ("no amount", None, "EUR", 2, D("1.0825"), None),
    ),
)

#: What is known when RATES is asked: a Friday and a Monday of EUR, one lone GBP, a USD row that must not count.
KNOWN_RATES: tuple[tuple[date, str, D], ...] = (
    (date(2026, 3, 6), "EUR", D("1.1")),
    (date(2026, 3, 9), "EUR", D("1.08")),
    (date(2026, 3, 1), "GBP", D("1.27")),
    (date(2026, 3, 9), "USD", D("2")),
)
RATES = Table(
    "rates",
    {"currency": "string", "day": "date", "expected_rate": RATE},
    (
        ("of the day itself", "EUR", date(2026, 3, 9), D("1.08")),
        ("of Friday on Saturday", "EUR", date(2026, 3, 7), D("1.1")),
        ("of Friday on Sunday", "EUR", date(2026, 3, 8), D("1.1")),
        ("the newest that is not later", "EUR", date(2026, 3, 10), D("1.08")),
        ("never a later one", "EUR", date(2026, 3, 5), None),
        ("six days old", "GBP", date(2026, 3, 7), D("1.27")),
        ("seven days old", "GBP", date(2026, 3, 8), D("1.27")),
        ("eight days old", "GBP", date(2026, 3, 9), None),
        ("seven days old, while another was newer", "EUR", date(2026, 3, 16), D("1.08")),
        ("eight days old, the older one is no help", "EUR", date(2026, 3, 17), None),
        ("a currency without rates", "KWD", date(2026, 3, 9), None),
        ("dollars are 1 whatever the table says", "USD", date(2026, 3, 9), D("1")),
        ("dollars are 1 without a rate", "USD", date(2020, 1, 1), D("1")),
    ),
)

TOLERANCES = Table(
    "tolerances",
    {"agoda_usd": USD, "abs_tol_usd": TOLERANCE, "pct_tol": TOLERANCE, "expected_tolerance_usd": USD},
    (
        ("the share is the larger", D("100"), D("0.5"), D("0.01"), D("1")),
        ("the sum is the larger", D("49.99"), D("0.5"), D("0.01"), D("0.5")),
        ("both alike", D("50"), D("0.5"), D("0.01"), D("0.5")),
        ("of nothing", D("0"), D("0.5"), D("0.01"), D("0.5")),
        ("none at all", D("100"), D("0"), D("0"), D("0")),
        ("no sum", D("100"), D("0"), D("0.01"), D("1")),
        ("no share", D("100"), D("0.5"), D("0"), D("0.5")),
        # 0.00005 × 0.01 = 0.0000005
        ("a tie goes up", D("0.00005"), D("0"), D("0.01"), D("0.000001")),
        # 0.000049 × 0.01 = 0.00000049
        ("under a tie goes down", D("0.000049"), D("0"), D("0.01"), D("0")),
        # 123.456789 × 0.012345 = 1.524074060205 -> …4074|06
        ("six places by six", D("123.456789"), D("0"), D("0.012345"), D("1.524074")),
        # 99999999999999999000 × 0.999999 = 99999899999999999000.001 (= x − x × 10^-6, x × 10^-6 = 99999999999999.999)
        ("the greatest amount", D("99999999999999999000"), D("0"), D("0.999999"), D("99999899999999999000.001")),
        ("unpriced", None, D("0.5"), D("0.01"), None),
    ),
)

_DIFFERS = {"agoda_usd": USD, "supplier_usd": USD, "abs_tol_usd": TOLERANCE, "pct_tol": TOLERANCE}
PRICE_DIFFERS = Table(
    "price_differs",
    {**_DIFFERS, "expected_diff_usd": USD, "expected": "boolean"},
    (
        ("equal", D("100"), D("100"), D("0.5"), D("0.01"), D("0"), False),
        ("equal, no tolerance", D("100"), D("100"), D("0"), D("0"), D("0"), False),
        ("one millionth, no tolerance", D("100"), D("100.000001"), D("0"), D("0"), D("0.000001"), True),
        ("under the share", D("100"), D("100.999999"), D("0.5"), D("0.01"), D("0.999999"), False),
        ("at the share", D("100"), D("101"), D("0.5"), D("0.01"), D("1"), False),
        ("over the share", D("100"), D("101.000001"), D("0.5"), D("0.01"), D("1.000001"), True),
        ("at the share, supplier lower", D("100"), D("99"), D("0.5"), D("0.01"), D("1"), False),
        ("over the share, supplier lower", D("100"), D("98.999999"), D("0.5"), D("0.01"), D("1.000001"), True),
        ("under the sum", D("10"), D("10.499999"), D("0.5"), D("0.01"), D("0.499999"), False),
        ("at the sum", D("10"), D("10.5"), D("0.5"), D("0.01"), D("0.5"), False),
        ("over the sum", D("10"), D("10.500001"), D("0.5"), D("0.01"), D("0.500001"), True),
        ("at the sum, supplier lower", D("10"), D("9.5"), D("0.5"), D("0.01"), D("0.5"), False),
        ("over the sum, supplier lower", D("10"), D("9.499999"), D("0.5"), D("0.01"), D("0.500001"), True),
        # The share is of AGODA's amount: 1% of 100 is 1, 1% of 101.005 would be 1.01005.
        ("the share is AGODA's", D("100"), D("101.005"), D("0"), D("0.01"), D("1.005"), True),
        ("the share is AGODA's, other way", D("101.005"), D("100"), D("0"), D("0.01"), D("1.005"), False),
        ("AGODA has nothing, at the sum", D("0"), D("0.5"), D("0.5"), D("0.01"), D("0.5"), False),
        ("AGODA has nothing, over the sum", D("0"), D("0.500001"), D("0.5"), D("0.01"), D("0.500001"), True),
        ("SUPPLIER has nothing", D("100"), D("0"), D("0.5"), D("0.01"), D("100"), True),
        ("SUPPLIER has nothing, all is allowed", D("100"), D("0"), D("0"), D("1"), D("100"), False),
        ("both have nothing", D("0"), D("0"), D("0"), D("0"), D("0"), False),
        # The share is rounded before it is compared: 0.0000005 becomes 0.000001.
        ("within the rounded share", D("0.00005"), D("0.000051"), D("0"), D("0.01"), D("0.000001"), False),
        # 0.00000049 becomes 0.
        ("beyond the rounded share", D("0.000049"), D("0.00005"), D("0"), D("0.01"), D("0.000001"), True),
        ("AGODA unpriced", None, D("100"), D("0.5"), D("0.01"), None, False),
        ("SUPPLIER unpriced", D("100"), None, D("0.5"), D("0.01"), None, False),
        ("both unpriced", None, None, D("0.5"), D("0.01"), None, False),
    ),
)

_SIDES = {
    "agoda_amount_minor": "bigint",
    "agoda_currency": "string",
    "agoda_usd": USD,
    "supplier_amount_minor": "bigint",
    "supplier_currency": "string",
    "supplier_usd": USD,
}
FX_RATE_MISSING = Table(
    "fx_rate_missing",
    {**_SIDES, "expected": "boolean"},
    (
        ("both priced, equal", 100, "EUR", D("1.08"), 100, "EUR", D("1.08"), False),
        ("both priced, not equal", 100, "EUR", D("1.08"), 200, "EUR", D("2.16"), False),
        ("both priced, two currencies", 100, "EUR", D("1.08"), 100, "USD", D("1"), False),
        ("unpriced, same currency and amount", 100, "CHF", None, 100, "CHF", None, False),
        ("unpriced, nothing on both sides", 0, "CHF", None, 0, "CHF", None, False),
        ("unpriced, one minor unit apart", 100, "CHF", None, 101, "CHF", None, True),
        ("unpriced, two currencies, same number", 100, "CHF", None, 100, "SEK", None, True),
        ("unpriced, two currencies, nothing on both sides", 0, "CHF", None, 0, "SEK", None, True),
        ("only AGODA unpriced", 100, "CHF", None, 100, "USD", D("1"), True),
        ("only SUPPLIER unpriced", 100, "USD", D("1"), 100, "CHF", None, True),
        # Rule 1 has spoken: no other pair rule applies.
        ("SUPPLIER missing, AGODA unpriced", 100, "CHF", None, None, None, None, False),
        ("AGODA missing, SUPPLIER unpriced", None, None, None, 100, "CHF", None, False),
        ("SUPPLIER missing, AGODA priced", 100, "USD", D("1"), None, None, None, False),
    ),
)
