"""The formats in force, as Columns: which record has which, its payload, and the canonical fields out of it."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.common.formats import values
from jobs.common.formats.model import INTEGERS, NAMES, Amount, Format, Number, Source, Time, Word
from jobs.common.formats.payload import avro_payload, csv_payload
from reco_rules.vocabulary import Side

#: The record header that says whose payload it is.
HEADER = "supplierId"
MAX_LENGTH = 128
_SCALAR = r"^(STRING|BIGINT|BOOLEAN|DOUBLE|FLOAT|DATE|TIMESTAMP|TIMESTAMP_NTZ|DECIMAL\(\d+,\d+\))$"
_COMPOSABLE = r"^(STRING|BIGINT|BOOLEAN|DECIMAL\(\d+,0\))$"


@dataclass(frozen=True)
class Formats:
    """The formats of one policy version.

    `known`: those that can be used, by name. `broken`: why others cannot, by name. `by_supplier`: the format's name of
    each listed supplier, None for the contract's own JSON; `default`: that of all others.
    """

    known: Mapping[str, Format]
    broken: Mapping[str, str]
    by_supplier: Mapping[str, str | None]
    default: str | None = None

    @cached_property
    def name(self) -> Column:
        """The format's name of a record of bronze, null for the contract's own JSON.

        Only on the suppliers' side, and only where a header names the supplier: AGODA's payloads are AGODA's own.
        """
        supplier = header_supplier()
        suppliers_of = defaultdict(list)
        for listed, name in self.by_supplier.items():
            suppliers_of[name].append(listed)
        found = F.lit(self.default).cast("string")
        for name, suppliers in suppliers_of.items():
            if name != self.default:
                found = F.when(supplier.isin(suppliers), F.lit(name).cast("string")).otherwise(found)
        return F.when((F.col("source") == Side.SUPPLIER.value) & supplier.isNotNull(), found)

    @cached_property
    def is_json(self) -> Column:
        """Whether a record with the column `format` is to be read as JSON."""
        names = [name for name, format_ in self.known.items() if format_.payload == "json"]
        return F.col("format").isNull() | F.col("format").isin(names)

    @cached_property
    def is_broken(self) -> Column:
        """Whether a record's format cannot be used; never null."""
        return F.coalesce(F.col("format").isin(list(self.broken)), F.lit(False))

    @cached_property
    def payload(self) -> Column:
        """The payload as a variant, of `json` where it is JSON; null where it cannot be read, or is too large."""
        readers: dict[str, Column] = {}
        value = F.when(~F.col("is_too_large"), F.col("value"))
        for name, format_ in self.known.items():
            if format_.csv:
                readers[name] = csv_payload(format_.csv, value)
            elif format_.avro:
                readers[name] = avro_payload(format_.avro, value)
        return _by_format(readers, F.col("json"))

    def mapped(self, rows: DataFrame) -> DataFrame:
        """Put the formats' values in place of those that plain JSON would have given.

        `rows`: with `format`, `json`, the canonical fields, their `<name>_type` and `eventAt`. Columns are given back
        in the same form, so that a record of a format is judged as any other.
        """
        sourced = rows.withColumn("sources", _by_format({n: _sources(f) for n, f in self.known.items()}))
        columns = dict(self._columns)
        kept = [name for name in rows.columns if name not in columns]
        return sourced.select(*[F.col(name) for name in kept], *[at.alias(name) for name, at in columns.items()])

    @cached_property
    def _columns(self) -> dict[str, Column]:
        is_plain = F.col("format").isNull()
        columns = {"is_heartbeat": F.col("is_heartbeat") & is_plain}
        for name in NAMES:
            kind = "bigint" if name in INTEGERS else "string"
            found = self._each(partial(_value, name=name), kind)
            there = self._each(partial(_is_there, name=name), "boolean")
            columns[name] = F.when(is_plain, F.col(name)).otherwise(found)
            columns[f"{name}_type"] = F.when(is_plain, F.col(f"{name}_type")).when(there, F.lit(values.STRING))
        at = self._each(partial(_of, name="eventTime", compute=_time), "timestamp")
        columns["eventAt"] = F.when(is_plain, F.col("eventAt")).otherwise(at)
        columns["lacks_event_id"] = self._each(_lacks_event_id, "boolean")
        return columns

    def _each(self, column_of: Callable[[Format], Column], kind: str) -> Column:
        return _by_format({name: column_of(format_) for name, format_ in self.known.items()}).cast(kind)


def header_supplier() -> Column:
    """The supplier that a record's header names: its first `supplierId` of 1-128 characters, else null."""

    def names_supplier(header: Column) -> Column:
        text = header["value"].cast("string")
        return (header["key"] == HEADER) & F.is_valid_utf8(text) & F.length(text).between(1, MAX_LENGTH)

    found = F.get(F.filter("headers", names_supplier), F.lit(0))["value"].cast("string")
    return F.when(F.size("headers") > 0, found)


def at_path(path: str) -> tuple[Column, Column]:
    """(text, kind) of what stands at a path of `json`; both null where there is nothing, text where it is no scalar."""
    kind = F.schema_of_variant(F.try_variant_get("json", path, "variant"))
    text = F.when(kind.rlike(_SCALAR), F.try_variant_get("json", path, "string"))
    return text, F.nullif(kind, F.lit("VOID"))


def _by_format(cases: Mapping[str, Column], otherwise: Column | None = None) -> Column:
    """The column of a row's format; null, or `otherwise`, where it has none of these."""
    found = F.lit(None) if otherwise is None else otherwise
    for name, column in cases.items():
        found = F.when(F.col("format") == name, column).otherwise(found)
    return found


def _sources(format_: Format) -> Column:
    """Text and kind of every field, in the same form for all formats: read once, used by several checks."""
    found = dict(format_.sources())
    parts: list[Column] = []
    for name in NAMES:
        text, kind = _source(found[name]) if name in found else (F.lit(None), F.lit(None))
        parts += [F.lit(f"{name}_text"), text.cast("string"), F.lit(f"{name}_kind"), kind.cast("string")]
    return F.when(F.col("json").isNotNull(), F.named_struct(*parts))


def _source(source: Source) -> tuple[Column, Column]:
    if source.compose is None:
        return at_path(source.path) if source.path else (F.lit(None), F.lit(None))
    texts, is_there, is_fit = [], F.lit(True), F.lit(True)
    for part in source.compose:
        if part.startswith("$"):
            text, kind = at_path(part)
            texts.append(text)
            is_there, is_fit = is_there & kind.isNotNull(), is_fit & kind.rlike(_COMPOSABLE)
        else:
            texts.append(F.lit(part))
    separated = [piece for text in texts for piece in (F.lit(source.separator), text)][1:]
    return F.when(is_fit, F.concat(*separated)), F.when(
        is_there, F.when(is_fit, F.lit(values.STRING)).otherwise("ARRAY")
    )


def _of(format_: Format, name: str, compute: Callable[[Format, Source, Column, Column], Column]) -> Column:
    source = dict(format_.sources()).get(name)
    assert source is not None
    return compute(format_, source, F.col("sources")[f"{name}_text"], F.col("sources")[f"{name}_kind"])


def _is_there(format_: Format, name: str) -> Column:
    """Whether a field has anything at all, valid or not."""
    source = dict(format_.sources()).get(name)
    if source is None:
        return F.lit(name == HEADER)
    if source.constant is not None or source.default is not None:
        return F.lit(True)
    return F.col("sources")[f"{name}_kind"].isNotNull()


def _lacks_event_id(format_: Format) -> Column:
    """Whether the payload lacks the id that its format requires; else an id of ours stands in."""
    source = format_.fields.event_id
    if source is None or not source.required:
        return F.lit(False)
    return ~_is_there(format_, "eventId")


def _value(format_: Format, name: str) -> Column:
    if name not in dict(format_.sources()):
        return header_supplier() if name == HEADER else F.lit(None).cast("string")
    return _of(format_, name, _COMPUTE[name])


def _time(_format: Format, source: Source, text: Column, kind: Column) -> Column:
    assert isinstance(source, Time)
    return values.time(source, text, kind)


def _whole(_format: Format, source: Source, text: Column, kind: Column) -> Column:
    assert isinstance(source, Number)
    return values.whole(source, text, kind)


def _amount(format_: Format, source: Source, text: Column, kind: Column) -> Column:
    assert isinstance(source, Amount)
    return values.amount(source, text, kind, _value(format_, "currency"))


def _word(_format: Format, source: Source, text: Column, kind: Column) -> Column:
    assert isinstance(source, Word)
    return values.word(source, text, kind)


def _named(_format: Format, source: Source, text: Column, kind: Column) -> Column:
    return values.named(source, text, kind)


def _supplier(_format: Format, source: Source, text: Column, kind: Column) -> Column:
    found = values.named(source, text, kind)
    return F.when(found == header_supplier(), found)


_COMPUTE: Mapping[str, Callable[[Format, Source, Column, Column], Column]] = {
    **dict.fromkeys(("eventId", "activityId"), _named),
    HEADER: _supplier,
    **dict.fromkeys(("activityType", "currency", "status"), _word),
    "eventTime": lambda _format, _source, text, _kind: text,
    "amountMinor": _amount,
    "version": _whole,
}
