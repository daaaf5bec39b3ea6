"""Times as the contract writes them: ISO 8601 with an offset, cut to the millisecond."""

from pyspark.sql import Column
from pyspark.sql import functions as F

_ISO = r"^(?!0000)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-](0\d|1[0-8])(:?[0-5]\d)?)\z"
#: As the contract writes it.
_USUAL = r"\A(?!0000)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\z"


def iso_time(text: Column) -> Column:
    """The moment that a text of the contract's form tells, cut to the millisecond; null for any other text."""
    # Without its zone, of which Spark makes a search and a replacement, it is of the session's, UTC. It has no more to
    # cut off, which would take as long as all the rest.
    usual = F.substring(text, 1, len("yyyy-MM-ddTHH:mm:ss.SSS")).try_cast("timestamp")
    other = F.when(text.rlike(_ISO), text.try_cast("timestamp"))
    return F.when(text.rlike(_USUAL), usual).otherwise(to_millisecond(other))


def to_millisecond(at: Column) -> Column:
    """The moment cut to the millisecond; null before the year 1, which no reader of the tables knows."""
    cut = F.date_trunc("millisecond", at)
    return F.when(cut >= F.lit("0001-01-01").cast("timestamp"), cut)
