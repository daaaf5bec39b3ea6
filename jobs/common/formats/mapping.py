"""The formats in force, as Columns: which record has which, its payload, and the canonical fields out of it."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.common.formats import values
from jobs.common.formats.model import NAMES, Amount, Format, Number, Source, Time, Word
from jobs.common.formats.payload import avro_payload, csv_payload
from reco_rules.vocabulary import Side

#: The record header that says whose payload it is.
HEADER = "supplierId"
MAX_LENGTH = 128
#: What of a source does not tell how its text is read.
_WHERE_FROM = {"path": None, "compose": None, "separator": "", "constant": None, "default": None, "required": None}
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

    def named(self, records: DataFrame) -> DataFrame:
        """Add `header_supplier`, whom a record's header names, and `format`, the name of the format that it has.

        Null for the contract's own JSON: where no header names a supplier, and on AGODA's side, whose payloads are its
        own.
        """
        return records.withColumn("header_supplier", header_supplier()).withColumn("format", self._name)

    @cached_property
    def _name(self) -> Column:
        supplier = F.col("header_supplier")
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
        in the same form, so that a record of a format is judged as any other; `lacks_event_id` is new.
        """
        if not self.known:
            return rows.withColumn("lacks_event_id", F.lit(False)).drop("header_supplier")
        sources = _by_format({n: _sources(f) for n, f in self.known.items()})
        sourced = rows.withColumn("sources", F.when(_has_format(), sources))
        texts = [
            F.col("sources")[f"{name}_{part}"].alias(f"{name}_{part}") for name in NAMES for part in ("text", "kind")
        ]
        given = sourced.select(*[F.col(name) for name in rows.columns], *texts)
        # The currency comes before the amount, which is shifted by its decimal places.
        for columns in (self._columns, self._amounts):
            kept = [name for name in given.columns if name not in columns]
            given = given.select(*[F.col(name) for name in kept], *[at.alias(name) for name, at in columns.items()])
        return given.drop("header_supplier", *[f"{name}_{part}" for name in NAMES for part in ("text", "kind")])

    @cached_property
    def _columns(self) -> dict[str, Column]:
        columns = {
            "is_heartbeat": F.col("is_heartbeat") & ~_has_format(),
            "eventTime": _replaced("eventTime", F.col("eventTime_text")),
            "eventAt": _replaced("eventAt", self._each("eventTime", _time)),
            "version": _replaced("version", _or_given("version", self._each("version", _number), "bigint")),
        }
        for name in ("eventId", "activityId", HEADER):
            value = _or_given(name, values.named(F.col(f"{name}_text"), F.col(f"{name}_kind")))
            columns[name] = _replaced(name, value)
        for name in ("activityType", "currency", "status"):
            columns[name] = _replaced(name, _or_given(name, self._each(name, _word)))
        for name in NAMES:
            there = F.when(F.col(f"{name}_kind").isNotNull(), F.lit(values.STRING))
            columns[f"{name}_type"] = _replaced(f"{name}_type", there)
        strict = [name for name, f in self.known.items() if f.fields.event_id and f.fields.event_id.required]
        columns["lacks_event_id"] = F.col("format").isin(strict) & F.col("eventId_kind").isNull()
        columns["places"] = F.when(~_is_plain(), values.decimal_places(columns["currency"]))
        return columns

    @cached_property
    def _amounts(self) -> dict[str, Column]:
        # By another supplier than its header's a record may not be; named by nobody but the header, it is the header's.
        maps_supplier = [name for name, f in self.known.items() if f.fields.supplier_id]
        header = F.col("header_supplier")
        own = F.when(~F.col("format").isin(maps_supplier), header).when(F.col(HEADER) == header, header)
        amount = _or_given("amountMinor", self._each("amountMinor", _amount), "bigint")
        # The header's where the format does not map it, and never missing.
        there = F.when(_has_format() & ~F.col("format").isin(maps_supplier), F.lit(values.STRING))
        return {
            HEADER: _replaced(HEADER, own),
            f"{HEADER}_type": F.coalesce(there, F.col(f"{HEADER}_type")),
            "amountMinor": _replaced("amountMinor", amount),
        }

    def _each(self, name: str, compute: Callable[[Source, Column, Column], Column]) -> Column:
        """A field by every format's way of reading it; those that read alike share a column: plans stay small."""
        ways: dict[str, tuple[Source, list[str]]] = {}
        for format_name, format_ in self.known.items():
            source = dict(format_.sources())[name]
            if source.constant is None:
                way = source.model_copy(update=_WHERE_FROM)
                ways.setdefault(way.model_dump_json(), (way, []))[1].append(format_name)
        found = F.lit(None)
        for way, names in ways.values():
            value = compute(way, F.col(f"{name}_text"), F.col(f"{name}_kind"))
            found = F.when(F.col("format").isin(names), value).otherwise(found)
        return found


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
        text, kind = _given(found[name]) if name in found else (F.lit(None), F.lit(None))
        parts += [F.lit(f"{name}_text"), text.cast("string"), F.lit(f"{name}_kind"), kind.cast("string")]
    return F.when(F.col("json").isNotNull(), F.named_struct(*parts))


def _given(source: Source) -> tuple[Column, Column]:
    """Text and kind of a field, of what the format gives by itself too."""
    if source.constant is not None:
        return F.lit(source.constant), F.lit(values.GIVEN)
    text, kind = _source(source)
    if source.default is None:
        return text, kind
    return F.when(kind.isNull(), F.lit(source.default)).otherwise(text), F.coalesce(kind, F.lit(values.GIVEN))


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


def _is_plain() -> Column:
    return F.col("format").isNull()


def _has_format() -> Column:
    """The contrary, in a form that keeps its step out of whole-stage compilation.

    There a step becomes one method, and with a few formats it is over the 64 KB that Java allows: it would be compiled
    in vain, with every batch. Without it Spark compiles the step in pieces.
    """
    return F.exists(F.array("format"), lambda name: name.isNotNull())


def _replaced(name: str, value: Column) -> Column:
    """The column as it is for a plain record, the value for one of a format."""
    return F.when(_is_plain(), F.col(name)).otherwise(value)


def _or_given(name: str, value: Column, kind: str = "string") -> Column:
    """The value, or what the format itself gives."""
    return F.when(F.col(f"{name}_kind") == values.GIVEN, F.col(f"{name}_text").try_cast(kind)).otherwise(value)


def _time(source: Source, text: Column, kind: Column) -> Column:
    assert isinstance(source, Time)
    return values.moment(source.pattern, source.zone, text, kind)


def _number(source: Source, text: Column, kind: Column) -> Column:
    assert isinstance(source, Number)
    return values.number(source, text, kind)


def _amount(source: Source, text: Column, kind: Column) -> Column:
    assert isinstance(source, Amount)
    return values.amount(source, text, kind, F.col("places"))


def _word(source: Source, text: Column, kind: Column) -> Column:
    assert isinstance(source, Word)
    return values.word(source, text, kind)
