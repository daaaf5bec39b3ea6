"""Personal fields of raw records become keyed hashes, in Columns: no record passes through Python.

The key is a row of a table that only the plan's data holds: a literal would stand in every `explain`, in Spark's web
page and in its event log, and a Python function would take each record out of the JVM. The rest of a payload stays as
it is, byte for byte: its text is taken apart by patterns, never parsed and written anew.
"""

import re
from collections.abc import Callable
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import BinaryType, StructType

from jobs.common.privacy import PSEUDONYM, Privacy, Tree, key_bytes, pads
from schemas.types import column

#: Objects and lists within each other that are looked through; a payload with more of them is masked whole.
DEPTH = 16
_STRING = r'"(?:[^"\\]++|\\.)*+"'
_INNER, _OUTER = "mask_inner", "mask_outer"
_PADS = StructType([column(_INNER, BinaryType(), "HMAC's inner pad"), column(_OUTER, BinaryType(), "HMAC's outer pad")])
#: Letters that JSON may write in a short form.
_SHORT = {'"': '"', "\\": "\\", "/": "/", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t"}


def _within(depth: int) -> str:
    """Anything whose brackets close, up to a depth. Possessive all through: no text makes it go back or deep."""
    plain = rf'[^\[\]{{}}"]++|{_STRING}'
    return rf"(?:{plain}|[{{\[]{_within(depth - 1)}[}}\]])*+" if depth else rf"(?:{plain})*+"


_BELOW = _within(DEPTH - 1)
_VALUE = rf'(?:{_STRING}|[{{\[]{_BELOW}[}}\]]|[^\[\]{{}}",\s]++)'
_OBJECT = rf"^\s*+\{{{_BELOW}\}}\s*+$"
_PIECE = rf"{_VALUE}|[\s,]++"
_IS_PSEUDONYM = rf'^"?{PSEUDONYM}"?$'


class Masker:
    """Masks records by the settings; takes the key once. UserError where it is not there or too short."""

    def __init__(self, spark: SparkSession, privacy: Privacy) -> None:
        self._spark, self._privacy = spark, privacy
        self._pads = pads(key_bytes(privacy, privacy.key)) if privacy.masks else (b"", b"")
        # Built once: each is hundreds of calls to the JVM.
        self._masked: dict[str, Column] = {}
        if privacy.fields:
            self._masked["value"] = self._value()
        if privacy.headers:
            self._masked["headers"] = F.transform("headers", self._header)
        if privacy.record_key:
            self._masked["key"] = F.when(F.col("key").isNotNull(), self._bytes(F.col("key")))

    def masked(self, rows: DataFrame) -> DataFrame:
        """The same rows with `value`, `headers` and `key` masked.

        `rows`: parsed records with `kind`, `format` and `is_json`. A payload that is no JSON object of at most 16
        levels may hold anything anywhere, so it is masked whole: its length and hash stay.
        """
        if not self._masked:
            return rows
        keyed = rows.crossJoin(F.broadcast(_one_row(self._spark, self._pads)))
        return keyed.select(*[self._masked.get(name, F.col(name)).alias(name) for name in rows.columns])

    def _value(self) -> Column:
        value, text = F.col("value"), F.col("value").cast("string")
        may_have = F.contains(text, F.lit("\\"))
        for name in self._privacy.tree:
            may_have = may_have | F.contains(text, F.lit(name))
        by_field = _bind(text, lambda whole: self._object(whole, self._privacy.tree)).cast("binary")
        known = F.when(value.isNull(), value)
        if self._privacy.plain_formats:
            known = known.when(F.col("format").isin(self._privacy.plain_formats), value)
        known = known.when(F.col("is_json") & ~may_have, value)
        return known.when(F.col("is_json") & text.rlike(_OBJECT), by_field).otherwise(self._whole(value))

    def _whole(self, value: Column) -> Column:
        beats = F.when(F.col("kind") == "HEARTBEAT", F.lit('"heartbeat":true,')).otherwise(F.lit(""))
        told = [F.lit('"reco:masked":{"key":"'), F.lit(self._privacy.key), F.lit('","bytes":')]
        size = F.octet_length(value).cast("string")
        return F.concat(F.lit("{"), beats, *told, size, F.lit(',"hmac":"'), _hmac(value), F.lit('"}}')).cast("binary")

    def _object(self, text: Column, tree: Tree) -> Column:
        """The text of an object with its personal members masked."""
        found = text
        for name, below in tree.items():
            found = _bind(found, self._member(name, below))
        return found

    def _member(self, name: str, below: Tree | None) -> Callable[[Column], Column]:
        """An object's text with one member's value masked; as it is where it has no such member."""

        def of(whole: Column) -> Column:
            def placed(before: Column) -> Column:
                def replaced(was: Column) -> Column:
                    new = self._leaf(was) if below is None else self._beneath(was, below)
                    return F.concat(before, new, F.substr(whole, F.length(before) + F.length(was) + 1))

                value = F.regexp_extract(F.substr(whole, F.length(before) + 1), f"^{_VALUE}", 0)
                return F.when(before == "", whole).otherwise(_bind(value, replaced))

            return _bind(F.regexp_extract(whole, _before(name), 0), placed)

        return of

    def _beneath(self, value: Column, tree: Tree) -> Column:
        """A value that has personal members: of an object, or of each object of a list; any other is masked itself."""
        is_list = F.startswith(value, F.lit("["))
        inside = F.substr(value, F.lit(2), F.length(value) - 2)
        pieces = F.when(is_list, F.regexp_extract_all(inside, F.lit(_PIECE), F.lit(0))).otherwise(F.array(value))

        def each(piece: Column) -> Column:
            is_between = piece.rlike(r"^[\s,]")
            return F.when(is_between, piece).otherwise(
                F.when(F.startswith(piece, F.lit("{")), self._object(piece, tree)).otherwise(self._leaf(piece))
            )

        joined = F.array_join(F.transform(pieces, each), "")
        return F.when(is_list, F.concat(F.lit("["), joined, F.lit("]"))).otherwise(joined)

    def _leaf(self, value: Column) -> Column:
        """A pseudonym of what the text says, however it is escaped; of no text, the hash of how it is written."""
        said = F.try_variant_get(F.try_parse_json(value), "$", "string")
        text = F.when(F.startswith(value, F.lit('"')), F.coalesce(said, value)).otherwise(value)
        hashed = F.concat(F.lit(f'"masked:{self._privacy.key}:'), _hmac(text.cast("binary")), F.lit('"'))
        return F.when((value == "null") | value.rlike(_IS_PSEUDONYM), value).otherwise(hashed)

    def _bytes(self, value: Column) -> Column:
        hashed = F.concat(F.lit(f"masked:{self._privacy.key}:"), _hmac(value)).cast("binary")
        return F.when(value.cast("string").rlike(_IS_PSEUDONYM), value).otherwise(hashed)

    def _header(self, header: Column) -> Column:
        named = F.lower(header["key"]).isin([name.lower() for name in self._privacy.headers])
        hashed = F.named_struct(F.lit("key"), header["key"], F.lit("value"), self._bytes(header["value"]))
        return F.when(named & header["value"].isNotNull(), hashed).otherwise(header)


def _hmac(message: Column) -> Column:
    """HMAC-SHA256 of bytes, in hexadecimal (RFC 2104)."""
    return F.sha2(F.concat(_OUTER, F.unhex(F.sha2(F.concat(_INNER, message), 256))), 256)


def _bind(value: Column, then: Callable[[Column], Column]) -> Column:
    """What `then` makes of a value that it names more than once: it is computed once."""
    return F.get(F.transform(F.array(value), then), F.lit(0))


def _before(name: str) -> str:
    """All of an object up to the value of a member, in any spelling of its name."""
    key = f'"{"".join(_spelled(letter) for letter in name)}"'
    other = rf"\s*+(?!{key}\s*+:){_STRING}\s*+:\s*+{_VALUE}\s*+,"
    return rf"^\s*+\{{(?:{other})*+\s*+{key}\s*+:\s*+"


def _spelled(letter: str) -> str:
    """A letter as it is, by its number, or in its short form."""
    units = letter.encode("utf-16-be").hex()
    ways = ["".join(rf"\\u(?i:{units[at : at + 4]})" for at in range(0, len(units), 4))]
    if letter not in '"\\' and letter >= " ":
        ways.append(letter if re.match(r"[A-Za-z0-9]", letter) else rf"\x{{{ord(letter):x}}}")
    if letter in _SHORT:
        short = _SHORT[letter]
        ways.append(rf"\\{short if short.isalpha() else re.escape(short)}")
    return f"(?:{'|'.join(ways)})"


def _one_row(spark: SparkSession, values: tuple[bytes, bytes]) -> DataFrame:
    """One row that no description of a plan shows: neither of a literal nor from a Python worker."""
    jvm: Any = spark.sparkContext._jvm
    gateway: Any = spark.sparkContext._gateway
    cells = gateway.new_array(jvm.java.lang.Object, len(values))
    for number, value in enumerate(values):
        cells[number] = bytearray(value)
    rows = jvm.java.util.ArrayList()
    rows.add(jvm.org.apache.spark.sql.RowFactory.create(cells))
    schema = jvm.org.apache.spark.sql.types.DataType.fromJson(_PADS.json())
    return DataFrame(spark._jsparkSession.createDataFrame(rows, schema), spark)
