"""A field's text and JSON type become its value; null wherever the value is not what the format says (no Python UDF).

`text` is null, and `kind` too, where the payload has nothing there. `kind` is what `schema_of_variant` says.
"""

from collections import defaultdict

from pyspark.sql import Column
from pyspark.sql import functions as F

from jobs.common.currencies import minor_units
from jobs.common.formats.model import EPOCH_MILLIS, EPOCH_SECONDS, ISO, Amount, Number, Word
from jobs.common.times import iso_time, to_millisecond

STRING = "STRING"
#: The kind of a text that the format itself gives, as a constant or a default: it is the value already.
GIVEN = "GIVEN"
_INTEGER = "BIGINT"
_WHOLE = r"^(BIGINT|DECIMAL\(\d+,0\))$"
_EXACT = r"^(BIGINT|DECIMAL\(\d+,\d+\))$"
_CLOCK = r"^(STRING|BIGINT|TIMESTAMP_NTZ|DATE)$"
# Java's $ also matches before a last line break, \\z does not.
#: A year of six digits or more has a sign; with one of a distant age `try_to_timestamp` fails, in spite of its name.
_FAR_YEAR = r"\+\d{6}|(^|\D)-\d{6}"
#: Milliseconds of the years 1 to 9999; with others Spark would fail the whole batch.
_FIRST_MILLI, _LAST_MILLI = -62_135_596_800_000, 253_402_300_799_999


def named(text: Column, kind: Column) -> Column:
    """An id: text, or a whole number's digits."""
    return F.when((kind == STRING) | kind.rlike(_WHOLE), text)


def word(source: Word, text: Column, kind: Column) -> Column:
    """A word of the contract; null where the map does not have the supplier's."""
    if source.map is None:
        return F.when(kind == STRING, text)
    theirs_of = defaultdict(list)
    for theirs, ours in sorted(source.map.items()):
        theirs_of[ours].append(theirs)
    found = F.lit(None).cast("string")
    readable = (kind == STRING) | kind.rlike(_EXACT) | (kind == "BOOLEAN")
    for ours, words in theirs_of.items():
        found = F.when(readable & text.isin(words), F.lit(ours)).otherwise(found)
    return found


def amount(source: Amount, text: Column, kind: Column, places: Column) -> Column:
    """Minor units, digit by digit, never rounded and never through a float: 12.345 is null where `places` is 2.

    `places`: of the currency; where it is unknown, null, any number will do: what is wrong is told of the currency.
    """
    written = text
    if source.grouping:
        grouped = rf"^-?\d{{1,3}}(\{source.grouping}\d{{3}})*(\{source.decimal}\d+)?\z"
        plain = rf"^-?\d+(\{source.decimal}\d+)?\z"
        tidy = F.replace(text, F.lit(source.grouping), F.lit(""))
        written = F.when(text.rlike(grouped) | text.rlike(plain), tidy)
    if source.decimal == ",":
        written = F.when(~F.contains(written, F.lit(".")), F.replace(written, F.lit(","), F.lit(".")))
    number = F.when(kind == STRING, written).when(kind.rlike(_EXACT), text)
    sign = "-?" if source.absolute else ""
    digits = F.nullif(F.regexp_extract(number, rf"^{sign}(\d{{1,24}}(\.\d{{1,24}})?)\z", 1), F.lit(""))
    whole = F.substring_index(digits, ".", 1)
    decimals = F.when(F.contains(digits, F.lit(".")), F.rtrim(F.substring_index(digits, ".", -1), F.lit("0")))
    fraction = F.coalesce(decimals, F.lit(""))
    shift = F.lit(0) if source.unit == "minor" else F.coalesce(places, F.length(fraction))
    minor = F.concat(whole, F.rpad(fraction, shift, "0")).try_cast("bigint")
    return F.when(F.length(fraction) <= shift, minor)


def number(source: Number, text: Column, kind: Column) -> Column:
    """A whole number, or the milliseconds since 1970 of a time."""
    if source.pattern is not None:
        return F.unix_millis(moment(source.pattern, source.zone, text, kind))
    is_whole = (kind == _INTEGER) | ((kind == STRING) & text.rlike(r"^\d{1,19}\z"))
    return F.when(is_whole, text.try_cast("bigint"))


def moment(pattern: str, zone: str | None, text: Column, kind: Column) -> Column:
    """The moment that a text or number tells by a pattern; null where it tells none.

    A clock's hour that comes twice, when summer time ends, is the first one; one that is left out, when it begins,
    is no time at all.
    """
    if pattern == EPOCH_MILLIS:
        return _since_1970(F.when(text.rlike(r"^-?\d{1,15}\z"), text.try_cast("bigint")), kind)
    if pattern == EPOCH_SECONDS:
        seconds = F.when(text.rlike(r"^-?\d{1,12}(\.\d{1,9})?\z"), text.try_cast("decimal(21,9)"))
        return _since_1970(F.floor(seconds * 1000).cast("bigint"), kind)
    if pattern == ISO:
        # Avro has a type for moments; as a variant's text it is in the session's zone, which is UTC.
        instant = F.when(kind == "TIMESTAMP", text.try_cast("timestamp"))
        return to_millisecond(F.coalesce(F.when(kind == STRING, iso_time(text)), instant))
    readable = kind.rlike(_CLOCK) & ~text.rlike(_FAR_YEAR)
    read = F.when(readable, F.try_to_timestamp(text, F.lit(pattern)))
    if zone is None:
        return _until_9999(to_millisecond(read))
    at = F.to_utc_timestamp(read, zone)
    return _until_9999(to_millisecond(F.when(F.from_utc_timestamp(at, zone) == read, at)))


def _until_9999(at: Column) -> Column:
    return F.when(F.unix_millis(at) <= _LAST_MILLI, at)


def _since_1970(millis: Column, kind: Column) -> Column:
    readable = (kind == STRING) | kind.rlike(_EXACT)
    return F.timestamp_millis(F.when(readable & millis.between(_FIRST_MILLI, _LAST_MILLI), millis))


def decimal_places(currency: Column) -> Column:
    """Decimal places of a currency in force, else null."""
    codes_of = defaultdict(list)
    for code, places in minor_units().items():
        codes_of[places].append(code)
    found = F.lit(None).cast("int")
    for places, codes in codes_of.items():
        found = F.when(currency.isin(codes), F.lit(places)).otherwise(found)
    return found
