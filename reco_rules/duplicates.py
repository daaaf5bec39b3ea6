"""Rule 5: an idempotency key was sent once."""

from pyspark.sql import Column, DataFrame

from reco_rules.engine import F
from reco_rules.money import usd
from reco_rules.vocabulary import KEY, Side
from schemas.types import USD


def is_duplicated(duplicates: Column) -> Column:
    """True where `day_sides` kept the side's events because one idempotency key was sent twice; never null."""
    return duplicates.isNotNull()


def duplicate_differences(facts: DataFrame, rates: DataFrame) -> DataFrame:
    """What conflicting payloads of one side are apart: `reco_date`, the key, `anomaly_type`, `difference_usd`.

    `facts`: rows with `agoda_duplicates`, `supplier_duplicates` and `fx_date`. Per duplicated version the greatest
    minus the smallest amount, priced as the fact is; the greatest of them over versions. Zero where all its payloads
    name the same amount of the same currency; null where amounts differ and a rate is missing.
    """
    row = ["reco_date", *KEY, "anomaly_type"]
    payloads = F.array_compact(F.array(*[_payloads(side) for side in Side]))
    sent = facts.select(*row[:-1], "fx_date", F.explode(F.flatten(payloads)).alias("payload"))
    names = ("anomaly_type", "version", "amount_minor", "currency")
    of_payload = {name: F.col("payload")[name].alias("fx_currency" if name == "currency" else name) for name in names}
    priced = (
        sent.select(*row[:-1], "fx_date", *of_payload.values())
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
    return by_version.groupBy(*row).agg(greatest.alias("difference_usd"))


def _payloads(side: Side) -> Column:
    """The side's kept payloads, each with the anomaly type that stands for them; null where none is duplicated."""
    kind = F.lit(f"DUPLICATE_{side.value}")
    return F.transform(
        f"{side.prefix}_duplicates",
        lambda payload: F.struct(
            kind.alias("anomaly_type"),
            payload["version"].alias("version"),
            payload["amount_minor"].alias("amount_minor"),
            payload["currency"].alias("currency"),
        ),
    )
