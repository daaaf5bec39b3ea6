"""The supplier's policy as columns of its rows (CONTRACT section 4)."""

from collections.abc import Mapping
from decimal import Decimal

from pyspark.sql import DataFrame
from pyspark.sql.types import DataType

from reco_rules.engine import F
from schemas.types import LONG, TOLERANCE

#: What one policy key may hold.
Value = Decimal | int | str | None

#: The columns of `ref/policies` that rules read, with their types.
POLICY_COLUMNS: Mapping[str, DataType] = {
    "abs_tol_usd": TOLERANCE,
    "pct_tol": TOLERANCE,
    "allowed_skew_seconds": LONG,
    "max_delay_seconds": LONG,
    "high_usd": TOLERANCE,
    "critical_usd": TOLERANCE,
}

#: In force where no policies were ever applied: the contract's example.
BUILT_IN: Mapping[str, Value] = {
    "mode": "NRT_HOURLY",
    "grace_seconds": 3600,
    "versions": "aligned",
    "abs_tol_usd": Decimal("0.50"),
    "pct_tol": Decimal("0.01"),
    "allowed_skew_seconds": 900,
    "max_delay_seconds": 7200,
    "high_usd": Decimal(100),
    "critical_usd": Decimal(1000),
    "format": None,
}


def with_policy(
    rows: DataFrame,
    policies: DataFrame,
    defaults: Mapping[str, Value],
    columns: Mapping[str, DataType] = POLICY_COLUMNS,
) -> DataFrame:
    """Add `columns` of the policy of each row's `supplier_id`; a supplier not listed has the defaults.

    `policies`: the rows of one policy version that name a supplier. `defaults`: that version's row that names none.
    """
    named = policies.select(
        "supplier_id", F.lit(True).alias("is_listed"), *[F.col(name).alias(f"listed_{name}") for name in columns]
    )
    joined = rows.join(named, on="supplier_id", how="left")
    filled = {
        name: F.when(F.col("is_listed"), F.col(f"listed_{name}")).otherwise(F.lit(defaults[name]).cast(kind))
        for name, kind in columns.items()
    }
    return joined.select(
        *[F.col(name) for name in rows.columns], *[value.alias(name) for name, value in filled.items()]
    )
