"""Rule 4: both sides date the activity alike."""

from pyspark.sql import Column

from reco_rules.clock import millis, seconds
from reco_rules.engine import F


def skew(agoda_event_time: Column, supplier_event_time: Column) -> Column:
    """Distance of the two event times in seconds, decimal(18,3); null where either is null."""
    return seconds(F.abs(millis(agoda_event_time) - millis(supplier_event_time)))


def is_skewed(skew_seconds: Column, allowed_skew_seconds: Column) -> Column:
    """True where the distance is greater than allowed; false where either is null."""
    return F.coalesce(skew_seconds > allowed_skew_seconds, F.lit(False))
