"""Amounts in US dollars, exact to six places (CONTRACT section 5, rule 2)."""

from pyspark.sql import Column, DataFrame

from reco_rules.engine import F, Window
from schemas.types import MINOR, RATE_PER_MINOR, USD

#: A rate holds on its own date and on the seven days after it.
MAX_RATE_AGE_DAYS = 7


def usd(amount_minor: Column, usd_per_minor: Column) -> Column:
    """Decimal dollars of an amount in minor units, rounded half up to six places; null where either is null.

    The product of 16 digits and decimal(21,16) is exact in decimal(38,16): it is rounded once.
    """
    return F.round(amount_minor.cast(MINOR) * usd_per_minor, 6).cast(USD)


def rates_as_of(fx: DataFrame, minor_units: DataFrame, dates: DataFrame) -> DataFrame:
    """The rate in force on each date: `fx_date, fx_currency, usd_per_minor decimal(21,16)`.

    `fx`: rows of `ref/fx_rates`. `minor_units`: `currency, minor_unit` (one minor unit in whole units, decimal(5,4)).
    `dates`: `fx_date`, the dates to price. The latest rate on or before the date holds for seven days; for one date
    the highest `fx_version` is the one in force; USD is 1 on every date.
    """
    fx_date = F.col("fx_date")
    age = F.datediff(fx_date, F.col("rate_date"))
    newest = Window.partitionBy("fx_date", "currency").orderBy(F.col("rate_date").desc(), F.col("fx_version").desc())
    loaded = (
        dates.join(fx.where(F.col("currency") != "USD"), (age >= 0) & (age <= MAX_RATE_AGE_DAYS), how="inner")
        .withColumn("rank", F.row_number().over(newest))
        .where(F.col("rank") == 1)
        .select("fx_date", "currency", "usd_per_unit")
    )
    dollar = dates.select(
        "fx_date", F.lit("USD").alias("currency"), F.lit(1).cast("decimal(17,12)").alias("usd_per_unit")
    )
    return (
        loaded.unionByName(dollar)
        .join(minor_units, on="currency", how="inner")
        .select(
            "fx_date",
            F.col("currency").alias("fx_currency"),
            # Exact in 16 places; widened first, since not every engine widens a product.
            (F.col("usd_per_unit").cast(RATE_PER_MINOR) * F.col("minor_unit"))
            .cast(RATE_PER_MINOR)
            .alias("usd_per_minor"),
        )
    )


def with_usd(sides: DataFrame, rates: DataFrame) -> DataFrame:
    """Add `fx_date`, `agoda_amount_usd` and `supplier_amount_usd` to rows that have both sides' latest versions.

    `rates`: what `rates_as_of` gives. Both sides are priced by the rates of AGODA's UTC event date, of SUPPLIER's
    where AGODA is missing.
    """
    fx_date = F.coalesce(F.to_date("agoda_event_time"), F.to_date("supplier_event_time"))
    priced = sides.withColumn("fx_date", fx_date)
    for side in ("agoda", "supplier"):
        of_side = rates.select(
            "fx_date",
            F.col("fx_currency").alias(f"{side}_currency"),
            F.col("usd_per_minor").alias(f"{side}_usd_per_minor"),
        )
        priced = priced.join(of_side, on=["fx_date", f"{side}_currency"], how="left").withColumn(
            f"{side}_amount_usd", usd(F.col(f"{side}_amount_minor"), F.col(f"{side}_usd_per_minor"))
        )
    return priced.drop("agoda_usd_per_minor", "supplier_usd_per_minor")
