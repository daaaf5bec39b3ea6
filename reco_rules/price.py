"""Rule 2: both sides name the same price, within the supplier's tolerance."""

from pyspark.sql import Column

from reco_rules.engine import F
from schemas.types import USD


def price_difference(agoda_usd: Column, supplier_usd: Column) -> Column:
    """Distance of the two amounts in US dollars; null where either is null."""
    return F.abs(agoda_usd - supplier_usd).cast(USD)


def price_tolerance(agoda_usd: Column, supplier_usd: Column, abs_tol_usd: Column, pct_tol: Column) -> Column:
    """Greatest allowed distance in US dollars, the product rounded half up to six places; null where a side is null."""
    relative = F.round(agoda_usd * pct_tol.cast("decimal(7,6)"), 6).cast(USD)
    both = agoda_usd.isNotNull() & supplier_usd.isNotNull()
    return F.when(both, F.greatest(abs_tol_usd.cast(USD), relative))


def price_differs(difference_usd: Column, tolerance_usd: Column) -> Column:
    """True where the distance is greater than the tolerance; false where either is null."""
    return F.coalesce(difference_usd > tolerance_usd, F.lit(False))


def rate_missing(
    agoda_usd: Column,
    supplier_usd: Column,
    agoda_amount_minor: Column,
    supplier_amount_minor: Column,
    agoda_currency: Column,
    supplier_currency: Column,
) -> Column:
    """True where both sides are there, one cannot be priced, and they are not the same amount of the same currency."""
    unpriced = agoda_usd.isNull() | supplier_usd.isNull()
    # Null where a side is missing, and so is the whole condition.
    same = (agoda_amount_minor == supplier_amount_minor) & (agoda_currency == supplier_currency)
    return F.coalesce(unpriced & ~same, F.lit(False))
