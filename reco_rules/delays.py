"""Rule 6: an event was published in time."""

from pyspark.sql import Column

from reco_rules.engine import F


def is_delayed(delay_seconds: Column, max_delay_seconds: Column) -> Column:
    """True where a first publication came more than the limit after the event; false where either is null."""
    return F.coalesce(delay_seconds > max_delay_seconds, F.lit(False))
