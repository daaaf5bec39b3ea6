"""Deterministic ids and content hashes: a separator between the parts and an explicit mark for null."""

from collections.abc import Sequence

from pyspark.sql import Column

from reco_rules.engine import F

#: Unit separator and the "null" picture: neither is what a producer writes by accident, and lengths settle the rest.
SEPARATOR = "\x1f"
NULL_MARK = "\x00"


def joined(parts: Sequence[Column]) -> Column:
    """The parts as one string in which no two different sequences meet: each with its length, null marked."""
    texts = [part.cast("string") for part in parts]
    marked = [F.coalesce(F.concat(F.length(text).cast("string"), F.lit(":"), text), F.lit(NULL_MARK)) for text in texts]
    return F.concat_ws(SEPARATOR, *marked)


def digest(*parts: Column) -> Column:
    """SHA-256 of the parts, hexadecimal."""
    return F.sha2(joined(parts), 256)
