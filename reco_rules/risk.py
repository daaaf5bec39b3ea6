"""What a break may cost, and how much it matters (CONTRACT section 5)."""

from pyspark.sql import Column

from reco_rules.engine import F
from reco_rules.vocabulary import AnomalyType, Severity
from schemas.types import USD


def amount_at_risk(anomaly_type: Column, difference_usd: Column) -> Column:
    """Dollars at risk of one break of a fact (its columns by name); null where it cannot be priced.

    `difference_usd`: for a duplicate, what its conflicting payloads are apart.
    """
    agoda, supplier = F.col("agoda_amount_usd"), F.col("supplier_amount_usd")
    greater_side = F.when(agoda.isNotNull() & supplier.isNotNull(), F.greatest(agoda, supplier))
    by_type = {
        AnomalyType.MISSING_SUPPLIER: agoda,
        AnomalyType.MISSING_AGODA: supplier,
        AnomalyType.PRICE_MISMATCH: F.col("price_diff_usd"),
        AnomalyType.FX_RATE_MISSING: F.lit(None).cast(USD),
        AnomalyType.STATUS_MISMATCH: greater_side,
        AnomalyType.DUPLICATE_AGODA: difference_usd,
        AnomalyType.DUPLICATE_SUPPLIER: difference_usd,
    }
    chosen = F.when(F.lit(False), F.lit(None).cast(USD))
    for kind, amount in by_type.items():
        chosen = chosen.when(anomaly_type == kind.value, amount)
    return chosen.otherwise(F.lit(0).cast(USD)).cast(USD)


def severity(amount_at_risk_usd: Column, high_usd: Column, critical_usd: Column) -> Column:
    """CRITICAL or HIGH from the policy's limits on, MEDIUM above 0, LOW at 0; HIGH where the amount is null."""
    return (
        F.when(amount_at_risk_usd.isNull(), F.lit(Severity.HIGH.value))
        .when(amount_at_risk_usd >= critical_usd, F.lit(Severity.CRITICAL.value))
        .when(amount_at_risk_usd >= high_usd, F.lit(Severity.HIGH.value))
        .when(amount_at_risk_usd > 0, F.lit(Severity.MEDIUM.value))
        .otherwise(F.lit(Severity.LOW.value))
    )
