"""Rule 3: both sides name the same status."""

from pyspark.sql import Column

from reco_rules.engine import F


def status_differs(agoda_status: Column, supplier_status: Column) -> Column:
    """True where the two statuses differ; false where either is null."""
    return F.coalesce(agoda_status != supplier_status, F.lit(False))
