"""Rule 2: dollars, rates, tolerance, comparison, missing rates."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from pyspark.sql import functions as F

from reco_rules import money, price
from tests.oracle.build import at
from tests.oracle.model import EXPONENTS
from tests.reco_rules.cases import RATE, USD
from tests.reco_rules.cases import price as cases
from tests.reco_rules.engine import Engine

PER_MINOR = "decimal(21,16)"


def test_amounts_in_usd(engine: Engine) -> None:
    # Each case on a date of its own, so that one table of rates serves all.
    first = date(2020, 1, 1)
    rows = [(first + timedelta(days=30 * n), *row) for n, row in enumerate(cases.TO_USD.rows)]
    fx = {(day, currency): rate for day, _, _, currency, _, rate, _ in rows if rate is not None and currency != "USD"}
    sides = {"case_name": "string", "agoda_event_time": "timestamp", "supplier_event_time": "timestamp"}
    sides |= {f"{side}_{name}": kind for side in ("agoda", "supplier") for name, kind in _AMOUNT.items()}
    # AGODA's side in every other case: each side is priced, and either one's date serves where it stands alone.
    given = [
        (case, datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=UTC), None, amount, currency, None, None)
        if n % 2
        else (case, None, datetime(day.year, day.month, day.day, tzinfo=UTC), None, None, amount, currency)
        for n, (day, case, amount, currency, *_) in enumerate(rows)
    ]
    expected = [
        (case, day, usd, None) if n % 2 else (case, day, None, usd) for n, (day, case, *_, usd) in enumerate(rows)
    ]
    frame = engine.frame(sides, given)
    rates = money.rates_as_of(
        engine.fx(fx), engine.minor_units(), engine.frame({"fx_date": "date"}, [r[:1] for r in rows])
    )
    priced = money.with_usd(frame, rates)
    columns = {"case_name": "string", "fx_date": "date", "agoda_amount_usd": USD, "supplier_amount_usd": USD}
    engine.assert_equal(priced.select(*columns), columns, expected)
    assert not {"agoda_usd_per_minor", "supplier_usd_per_minor"} & set(priced.columns)


_AMOUNT = {"amount_minor": "bigint", "currency": "string"}


def test_both_sides_are_priced_by_agodas_date(engine: Engine) -> None:
    fx = {(date(2026, 3, 9), "EUR"): Decimal("1.08"), (date(2026, 3, 10), "EUR"): Decimal("1.0825")}
    dates = engine.frame({"fx_date": "date"}, [(date(2026, 3, 9),), (date(2026, 3, 10),)])
    rates = money.rates_as_of(engine.fx(fx), engine.minor_units(), dates)
    columns = {"agoda_event_time": "timestamp", "supplier_event_time": "timestamp"}
    columns |= {f"{side}_{name}": kind for side in ("agoda", "supplier") for name, kind in _AMOUNT.items()}
    ninth, tenth = at("09T23:59:59.999"), at("10T00:00")
    frame = engine.frame(columns, [(ninth, tenth, 100, "EUR", 200, "EUR"), (tenth, ninth, 100, "EUR", 200, "EUR")])
    found = {"fx_date": "date", "agoda_amount_usd": USD, "supplier_amount_usd": USD}
    engine.assert_equal(
        money.with_usd(frame, rates).select(*found),
        found,
        [
            (date(2026, 3, 9), Decimal("1.08"), Decimal("2.16")),
            (date(2026, 3, 10), Decimal("1.0825"), Decimal("2.165")),
        ],
    )


def test_rate_that_holds(engine: Engine) -> None:
    table = cases.RATES
    dates = engine.frame({"fx_date": "date"}, sorted({(row[2],) for row in table.rows}))
    known = {(day, currency): rate for day, currency, rate in cases.KNOWN_RATES}
    rates = money.rates_as_of(engine.fx(known), engine.minor_units(), dates)
    asked = engine.frame(
        {"case_name": "string", "fx_currency": "string", "fx_date": "date"}, [r[:3] for r in table.rows]
    )
    found = asked.join(rates, on=["fx_date", "fx_currency"], how="left").select("case_name", "usd_per_minor")
    expected = [
        (case, None if rate is None else rate.scaleb(-EXPONENTS[currency])) for case, currency, _, rate in table.rows
    ]
    engine.assert_equal(found, {"case_name": "string", "usd_per_minor": PER_MINOR}, expected)


def test_rates_are_one_a_date_and_currency(engine: Engine) -> None:
    """A correction holds whatever its value and its place in the file; a currency unknown to ISO has none."""
    day, before = date(2026, 3, 10), date(2026, 3, 9)
    columns = {"rate_date": "date", "currency": "string", "usd_per_unit": RATE, "fx_version": "bigint"}
    loads = [(day, "EUR", Decimal("1.1"), 1), (day, "EUR", Decimal("1.05"), 3), (day, "EUR", Decimal("1.2"), 2)]
    # An older date's later correction does not outrun the newer date.
    loads += [
        (before, "EUR", Decimal("1.3"), 9),
        (before, "JPY", Decimal("0.0067"), 2),
        (before, "JPY", Decimal("0.5"), 1),
    ]
    loads += [(day, "XAU", Decimal("4000"), 1)]
    rates = money.rates_as_of(
        engine.frame(columns, loads), engine.minor_units(), engine.frame({"fx_date": "date"}, [(day,)])
    )
    engine.assert_equal(
        rates,
        {"fx_date": "date", "fx_currency": "string", "usd_per_minor": PER_MINOR},
        [(day, "EUR", Decimal("0.0105")), (day, "JPY", Decimal("0.0067")), (day, "USD", Decimal("0.01"))],
    )


def test_tolerance(engine: Engine) -> None:
    usd, absolute, share = F.col("agoda_usd"), F.col("abs_tol_usd"), F.col("pct_tol")
    engine.assert_table(cases.TOLERANCES, expected_tolerance_usd=price.price_tolerance(usd, usd, absolute, share))


def test_tolerance_of_a_missing_side_is_null(engine: Engine) -> None:
    usd = {"agoda_usd": USD, "supplier_usd": USD}
    rows = [(Decimal(1), None), (None, Decimal(1)), (None, None), (Decimal(1), Decimal(1))]
    half = F.lit("0.5").cast("decimal(18,6)")
    found = price.price_tolerance(F.col("agoda_usd"), F.col("supplier_usd"), half, half)
    expected = [(*row, Decimal("0.5") if None not in row else None) for row in rows]
    engine.assert_equal(
        engine.frame(usd, rows).select("*", found.alias("tolerance")), {**usd, "tolerance": USD}, expected
    )


def test_price_differs(engine: Engine) -> None:
    agoda, supplier = F.col("agoda_usd"), F.col("supplier_usd")
    difference = price.price_difference(agoda, supplier)
    tolerance = price.price_tolerance(agoda, supplier, F.col("abs_tol_usd"), F.col("pct_tol"))
    engine.assert_table(
        cases.PRICE_DIFFERS, expected_diff_usd=difference, expected=price.price_differs(difference, tolerance)
    )


def test_rate_missing(engine: Engine) -> None:
    names = ("usd", "amount_minor", "currency")
    inputs = [F.col(f"{side}_{name}") for name in names for side in ("agoda", "supplier")]
    engine.assert_table(cases.FX_RATE_MISSING, expected=price.rate_missing(*inputs))


def test_rate_missing_is_never_null(engine: Engine) -> None:
    unknown = engine.frame({"minor": "bigint", "currency": "string", "usd": USD}, [(100, None, None)])
    usd, minor, currency = F.col("usd"), F.col("minor"), F.col("currency")
    found = unknown.select(price.rate_missing(usd, usd, minor, minor, currency, currency))
    assert [tuple(row) for row in found.collect()] == [(False,)]
