"""A day's breaks, one row each, derived from its facts."""

from pyspark.sql import DataFrame

from reco_rules.duplicates import duplicate_differences
from reco_rules.engine import F
from reco_rules.explain import explanation
from reco_rules.identity import digest
from reco_rules.risk import amount_at_risk, severity
from reco_rules.vocabulary import KEY

_ROW = ["reco_date", *KEY, "anomaly_type"]


def anomalies_of(facts: DataFrame, rates: DataFrame) -> DataFrame:
    """Rows of `gold/anomalies` but for `close_id`, from facts that also have the policy's columns.

    `rates`: what `rates_as_of` gives, for conflicting duplicates.
    """
    breaks = facts.where(F.size("anomaly_types") > 0).withColumn("anomaly_type", F.explode("anomaly_types"))
    differences = duplicate_differences(facts, rates)
    joined = breaks.join(differences, on=_ROW, how="left").select(*breaks.columns, "difference_usd")
    priced = joined.withColumn("amount_at_risk_usd", amount_at_risk(F.col("anomaly_type"), F.col("difference_usd")))
    return priced.select(
        digest(*[F.col(name) for name in _ROW]).alias("anomaly_id"),
        *_ROW,
        "outcome",
        severity(F.col("amount_at_risk_usd"), F.col("high_usd"), F.col("critical_usd")).alias("severity"),
        "amount_at_risk_usd",
        explanation(F.col("anomaly_type")).alias("explanation"),
    )
