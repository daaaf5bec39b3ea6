"""Rule 5: an idempotency key was sent once."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from reco_rules.money import usd
from reco_rules.vocabulary import KEY
from schemas.types import USD


def is_duplicated(duplicates: Column) -> Column:
    """True where `day_sides` kept the side's events because one idempotency key was sent twice; never null."""
    return duplicates.isNotNull()


def duplicate_differences(facts: DataFrame, side: str, rates: DataFrame) -> DataFrame:
    """What the conflicting payloads of one side are apart: `reco_date`, the key, `anomaly_type`, `difference_usd`.

    `side`: `agoda` or `supplier`. `facts`: rows with `{side}_duplicates` and `fx_date`. Per duplicated version the
    greatest minus the smallest amount, priced as the fact is; the greatest of them over versions. Zero where all its
    payloads name the same amount of the same currency; null where amounts differ and a rate is missing.
    """
    row = ["reco_date", *KEY]
    payload = F.col("payload")
    sent = facts.where(is_duplicated(F.col(f"{side}_duplicates"))).select(
        *row, "fx_date", F.explode(f"{side}_duplicates").alias("payload")
    )
    priced = (
        sent.select(
            *row,
            "fx_date",
            payload["version"].alias("version"),
            payload["amount_minor"].alias("amount_minor"),
            payload["currency"].alias("fx_currency"),
        )
        .join(rates, on=["fx_date", "fx_currency"], how="left")
        .withColumn("amount_usd", usd(F.col("amount_minor"), F.col("usd_per_minor")))
    )
    differ = (F.min("amount_minor") != F.max("amount_minor")) | (F.min("fx_currency") != F.max("fx_currency"))
    unpriced = F.max(F.col("amount_usd").isNull())
    by_version = priced.groupBy(*row, "version").agg(
        F.when(differ & unpriced, F.lit(None).cast(USD))
        .when(differ, F.max("amount_usd") - F.min("amount_usd"))
        .otherwise(F.lit(0))
        .cast(USD)
        .alias("difference_usd")
    )
    any_unpriced = F.max(F.col("difference_usd").isNull())
    greatest = F.when(~any_unpriced, F.max("difference_usd")).cast(USD)
    return (
        by_version.groupBy(*row)
        .agg(greatest.alias("difference_usd"))
        .select(*row, F.lit(f"DUPLICATE_{side.upper()}").alias("anomaly_type"), "difference_usd")
    )
