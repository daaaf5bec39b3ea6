"""Times as whole milliseconds, so that differences are exact integers."""

from pyspark.sql import Column

from reco_rules.engine import F
from schemas.types import SECONDS


def millis(time: Column) -> Column:
    """Milliseconds since 1970 (bigint) of a UTC timestamp; null where it is null."""
    return F.unix_millis(time)


def seconds(duration_ms: Column) -> Column:
    """A duration in milliseconds (bigint) as decimal seconds with three places."""
    return (duration_ms.cast("decimal(18,0)") * F.lit("0.001").cast("decimal(4,3)")).cast(SECONDS)
