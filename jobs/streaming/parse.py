"""A raw record becomes an event, a heartbeat, or a quarantined row with its reasons (CONTRACT section 2)."""

import json
from collections.abc import Mapping, Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.common.formats.mapping import Formats, header_supplier
from jobs.common.times import iso_time
from reco_rules.vocabulary import ActivityType, Reason, Side, Status

MAX_BYTES = 1_048_576
MAX_FUTURE_SECONDS = 300
MAX_AMOUNT_MINOR = 10**15
MAX_ID_LENGTH = 128
#: Why a record is no event whose supplier's format is not there, or cannot be used.
BROKEN_FORMAT = f"{Reason.INVALID_FIELD.value}:format"

#: A surrogate escape without its other half: no Unicode text. Of a text without escaped backslashes.
_LONE_SURROGATE = r"(?i)\\ud[89ab][0-9a-f]{2}(?!\\ud[c-f][0-9a-f]{2})|(?<!\\ud[89ab][0-9a-f]{2})\\ud[c-f][0-9a-f]{2}"
#: One object without an escape, in which no other ends and after which nothing comes.
_SIMPLE = r"\A[^}\\]*+\}\z"
#: How what is no text, true or false begins where it is read as one.
_NO_TEXT = (*"-0123456789[{",)
_STRINGS = ("eventId", "activityId", "supplierId", "activityType", "currency", "status", "eventTime")
_INTEGERS = ("amountMinor", "version")
#: In the order in which the contract writes them, and most writers with it.
_WRITTEN = (*_STRINGS[:4], "amountMinor", *_STRINGS[4:6], "version", "eventTime")
#: What `schema_of_variant` says of an object that has just the contract's fields, with all in their JSON types.
_KINDS = {**dict.fromkeys(_STRINGS, "STRING"), **dict.fromkeys(_INTEGERS, "BIGINT")}
#: The bytes of a plain event without those of its values: braces, names in quotes, colons, commas, quotes of texts.
_FRAME = len(json.dumps(dict.fromkeys(_STRINGS, "") | dict.fromkeys(_INTEGERS, 0), separators=(",", ":"))) - len("00")
#: How many more it has with one blank after each comma and colon.
_BLANKS = 2 * len(_KINDS) - 1
_PLAIN = "OBJECT<" + ", ".join(f"{name}: {_KINDS[name]}" for name in sorted(_KINDS)) + ">"


def parse(records: DataFrame, currencies: Sequence[str], clock: Column, formats: Formats | None = None) -> DataFrame:
    """Add `kind` (EVENT, HEARTBEAT or QUARANTINE), `reasons` (sorted), and the event's fields in camelCase.

    `records`: columns of bronze. `currencies`: the codes in force. `clock`: when the batch is read, a timestamp.
    `formats`: of suppliers with payloads of their own; None where there are none, and then they cost nothing.
    Fields are null where the record has none of the right type; `eventAt` is `eventTime` as a timestamp, cut to the
    millisecond. `eventId` is the payload's, else that of the header `id`, else topic, partition and offset. Where the
    header `supplierId` of SUPPLIER's record names one, `supplierId` must be that, and it is no heartbeat. `format` is
    the payload's, null for the contract's own; `is_json` tells whether the value was read as one JSON object, and
    `is_told` whether that was an event of the contract's form without an escape (never null, false where not looked).
    """
    shaped = _with_fields(_with_json(_told(_with_text(records, formats), formats), formats), formats)
    in_time = _is_past("kafka_time", clock) & _is_past("eventAt", F.col("kafka_time"))
    # What a format gives has the right types, or is null.
    is_typed = F.col("is_plain") | F.col("format").isNotNull() if formats else F.col("is_plain")
    is_event = is_typed & in_time & F.col("currency").isin(list(currencies))
    for valid in _validity().values():
        is_event = is_event & valid
    # Arrays and their sorting cost more than all the checks: only what fails one is asked for its reasons.
    judged = shaped.withColumn("is_event", F.coalesce(is_event, F.lit(False))).withColumn(
        "reasons", F.when(~F.col("is_event"), _reasons(currencies, clock, formats))
    )
    kind = (
        F.when(F.col("is_event"), F.lit("EVENT"))
        .when(F.size("reasons") > 0, F.lit("QUARANTINE"))
        .when(F.col("is_heartbeat"), F.lit("HEARTBEAT"))
        .otherwise(F.lit("EVENT"))
    )
    fields = [*_STRINGS[1:], *_INTEGERS, "eventAt"]
    return judged.select(
        *[F.col(name) for name in records.columns],
        kind.alias("kind"),
        F.col("reasons"),
        F.coalesce("eventId", "header_id", F.concat_ws("-", "topic", "partition", "offset")).alias("eventId"),
        *[F.col(name) for name in fields],
        (F.col("format") if formats else F.lit(None).cast("string")).alias("format"),
        (_is_object() & (formats.is_json if formats else F.lit(True))).alias("is_json"),
        "is_told",
    )


def _is_object() -> Column:
    return F.col("is_told") | F.col("json").isNotNull()


def payload(records: DataFrame, formats: Formats) -> DataFrame:
    """Add `json`, the record's one JSON object, or its format's values, as a variant.

    Null where there is none, or where it is too large to read. `format` is the name of the record's.
    """
    return _with_json(_with_text(records, formats).withColumn("is_told", F.lit(False)), formats)


def _with_text(records: DataFrame, formats: Formats | None) -> DataFrame:
    """Add `text`, the value where it begins as a JSON object, and with formats `format`, the name of the record's."""
    too_large = F.coalesce(F.octet_length("value") > MAX_BYTES, F.lit(False))
    is_read = ~too_large
    if formats:
        records = formats.named(records)
        is_read = is_read & formats.is_json
    text = F.when(is_read, F.col("value").cast("string"))
    begins = F.substring(F.ltrim(text, F.lit(" \t\r\n")), 1, 1) == "{"
    return records.select("*", too_large.alias("is_too_large"), F.when(begins, text).alias("text"))


def _told(records: DataFrame, formats: Formats | None) -> DataFrame:
    """Add `read`, the fields as they are read from a text of the contract's JSON, what headers say, and `is_told`.

    `is_told`: the text is exactly a plain event: each of the contract's names once, in its JSON type, and no other.
    Where a text that was read might be none, as an id that is a number, or it has other blanks, it does not tell.
    """
    fields = ", ".join(f"{name} STRING" for name in _STRINGS) + ", " + ", ".join(f"{name} BIGINT" for name in _INTEGERS)
    plain = F.when(F.col("format").isNull(), F.col("text")) if formats else F.col("text")
    # As strict as the variant's reader.
    strict = {"allowSingleQuotes": "false", "allowNonNumericNumbers": "false"}
    header = F.get(F.filter("headers", _names_event), F.lit(0))["value"].cast("string")
    read = records.select("*", F.from_json(plain, fields, strict).alias("read"))
    is_told = F.is_valid_utf8(plain) & _has_just_these(plain)
    for name in _STRINGS[:-1]:
        value = F.col("read")[name]
        is_told = is_told & ~F.substring(value, 1, 1).isin(list(_NO_TEXT)) & ~value.isin("true", "false")
    # A time begins with a digit, but no number has a colon.
    time = F.col("read")[_STRINGS[-1]]
    is_told = is_told & F.contains(time, F.lit(":")) & ~F.substring(time, 1, 1).isin("[", "{")
    # Neither the read nor a filter is code that Spark puts into that of a stage: in one step with all filters this is
    # a class of its own, and what follows a stage whose code is short enough to be compiled.
    return read.select(
        "*",
        *([] if formats else [header_supplier().alias("named_supplier")]),
        F.when(F.size("headers") > 0, header).alias("header_id"),
        F.coalesce(_is_as_written(plain) | is_told, F.lit(False)).alias("is_told"),
    )


def _is_as_written(text: Column) -> Column:
    """Whether a text is what the contract's example would be with the values that were `read` from it, byte for byte.

    With no blank, or with one after each comma and colon. A tenth of all parsing cheaper than to look for what else it
    may have; what begins with a digit, as many an id, is a text by its quotes; and what is no UTF-8 was read as U+FFFD.
    """

    def written(comma: str, colon: str) -> Column:
        parts: list[Column] = []
        for number, name in enumerate(_WRITTEN):
            quote = "" if name in _INTEGERS else '"'
            before = "{" if number == 0 else ("" if _WRITTEN[number - 1] in _INTEGERS else '"') + comma
            parts += [F.lit(f'{before}"{name}"{colon}{quote}'), F.col("read")[name].cast("string")]
        return F.concat(*parts, F.lit('"}')) == text

    rest = _rest(text)
    return F.when(rest == _FRAME, written(",", ":")).when(rest == _FRAME + _BLANKS, written(", ", ": "))


def _rest(text: Column) -> Column:
    """How many bytes a text has besides the values that were `read` from it."""
    values = [F.octet_length(F.col("read")[name]) for name in _STRINGS]
    values += [F.octet_length(F.col("read")[name].cast("string")) for name in _INTEGERS]
    return F.octet_length(text) - sum(values[1:], values[0])


def _has_just_these(text: Column) -> Column:
    """Whether a text that `read` was read from has nothing but these fields, if all texts are texts.

    All nine are in it, so it cannot be shorter than they are; and where it is as long there is no room for a name more,
    one twice, an escape, or anything after it. With the blanks that many writers set, each must be at its place.
    A regular expression that counts the quotes takes three times as long.
    """
    rest = _rest(text)
    is_spaced = ~F.contains(text, F.lit(',"')) & ~F.contains(text, F.lit('":"'))
    for name in _INTEGERS:
        is_spaced = is_spaced & F.contains(text, F.lit(f'"{name}": '))
    return (rest == _FRAME) | ((rest == _FRAME + _BLANKS) & is_spaced)


def _with_json(records: DataFrame, formats: Formats | None) -> DataFrame:
    """Add `json`, the record's one JSON object, or its format's values, as a variant; null where all is told."""
    asked = F.when(~F.col("is_told") & F.is_valid_utf8("text"), F.col("text"))
    simple = records.withColumn("asked", asked).withColumn("is_simple", F.col("asked").rlike(_SIMPLE))
    # An escaped backslash is none of the escape after it, and what stands before it is no half of that.
    escapes = F.replace(F.col("asked"), F.lit("\\\\"), F.lit("_"))
    halved = F.contains(F.col("asked"), F.lit("\\u")) & escapes.rlike(_LONE_SURROGATE)
    # Spark reads the first value of a text and ignores what follows it. Nothing does where the only closing brace is
    # the last character; else, inside an array, what follows must be our mark, which takes three times as long. No
    # text can have it in itself, and so close the array: the mark is the text's own hash.
    is_simple, mark = F.col("is_simple"), F.sha2("asked", 256)
    array = F.concat(F.lit("["), F.col("asked"), F.lit(',"'), mark, F.lit('"]'))
    wrapped = F.try_parse_json(F.when(~is_simple & ~halved, array))
    ended = F.try_variant_get("wrapped", "$[1]", "string") == mark
    within = F.when(ended, F.try_variant_get("wrapped", "$[0]", "variant"))
    json = F.when(is_simple, F.try_parse_json("asked")).otherwise(within)
    found = simple.withColumn("wrapped", wrapped).withColumn("json", json).drop("wrapped", "is_simple", "asked", "text")
    return found.withColumn("json", formats.payload) if formats else found


def _with_fields(records: DataFrame, formats: Formats | None) -> DataFrame:
    """Add every field, null where the JSON has another type there; `<name>_type` where the object is no plain event.

    `is_plain`: the object has exactly the contract's fields in their JSON types, which one comparison tells.
    """
    is_plain = F.schema_of_variant("json") == _PLAIN
    if formats:
        is_plain = F.col("format").isNull() & is_plain
    read = records.withColumn("is_plain", F.col("is_told") | F.coalesce(is_plain, F.lit(False)))
    types = {
        name: F.when(~F.col("is_plain"), F.schema_of_variant(F.try_variant_get("json", f"$.{name}", "variant")))
        for name in (*_STRINGS, *_INTEGERS, "heartbeat")
    }
    typed = read.select("*", *[kind.alias(f"{name}_type") for name, kind in types.items()])

    def of_type(name: str, kind: str) -> Column:
        return F.when(F.col("is_plain") | (F.col(f"{name}_type") == kind), F.col("read")[name]).alias(name)

    # Whose payload a header says it is speaks for that supplier alone: neither for the whole topic nor for another.
    of = F.when(F.col("source") == Side.SUPPLIER.value, F.col("header_supplier" if formats else "named_supplier"))
    # Of a plain event the type is null, and both sides of an `&` would be asked.
    beats = F.when(F.col("heartbeat_type") == "BOOLEAN", F.try_variant_get("json", "$.heartbeat", "boolean"))
    valued = typed.select(
        *[F.col(name) for name in typed.columns if name != "read"],
        *[of_type(name, "STRING") for name in _STRINGS],
        *[of_type(name, "BIGINT") for name in _INTEGERS],
        F.coalesce(beats & of.isNull(), F.lit(False)).alias("is_heartbeat"),
        F.coalesce(of != of_type("supplierId", "STRING"), F.lit(False)).alias("is_anothers"),
    )
    timed = valued.withColumn("eventAt", iso_time(F.col("eventTime")))
    return formats.mapped(timed) if formats else timed


def _names_event(header: Column) -> Column:
    """Whether a record header can stand for the event id: it is named `id` and holds 1-128 characters."""
    text = header["value"].cast("string")
    return (header["key"] == "id") & F.is_valid_utf8(text) & F.length(text).between(1, MAX_ID_LENGTH)


def _is_past(name: str, clock: Column) -> Column:
    """Whether a time is at most five minutes ahead of a clock; null where it is null."""
    return F.col(name) <= clock + F.make_dt_interval(secs=F.lit(MAX_FUTURE_SECONDS))


def _reasons(currencies: Sequence[str], clock: Column, formats: Formats | None) -> Column:
    """Every reason code that holds, sorted; a record that cannot be read has just that one."""
    found = [
        F.when(~_is_past("kafka_time", clock), F.lit(Reason.PUBLISHED_IN_FUTURE.value)),
        F.when(~_is_past("eventAt", F.col("kafka_time")), F.lit(Reason.EVENT_TIME_IN_FUTURE.value)),
        *_field_reasons("eventTime", F.col("eventAt").isNotNull()),
        *[
            F.when(~F.col("is_heartbeat"), reason)
            for name, valid in _validity().items()
            for reason in _field_reasons(name, valid, optional=name == "eventId")
        ],
        F.when(
            ~F.col("is_heartbeat") & ~F.col("currency").isin(list(currencies)), F.lit(Reason.UNKNOWN_CURRENCY.value)
        ),
    ]
    unread = F.when(F.col("is_too_large"), F.array(F.lit(Reason.TOO_LARGE.value)))
    if formats:
        unread = unread.when(formats.is_broken, F.array(F.lit(BROKEN_FORMAT)))
        found.append(F.when(F.col("lacks_event_id"), F.lit(f"{Reason.MISSING_FIELD.value}:eventId")))
    return unread.when(~_is_object(), F.array(F.lit(Reason.MALFORMED_JSON.value))).otherwise(
        F.array_sort(F.array_compact(F.array(*found)))
    )


def _validity() -> Mapping[str, Column]:
    """What each field must be, besides its JSON type; null where it is not of that type."""

    def named(name: str) -> Column:
        return F.length(F.col(name)).between(1, MAX_ID_LENGTH)

    return {
        **{name: named(name) for name in ("eventId", "activityId")},
        "supplierId": named("supplierId") & ~F.col("is_anothers"),
        "activityType": F.col("activityType").isin([kind.value for kind in ActivityType]),
        "status": F.col("status").isin([status.value for status in Status]),
        "currency": F.col("currency").isNotNull(),
        "amountMinor": F.col("amountMinor").between(0, MAX_AMOUNT_MINOR),
        "version": F.col("version") >= 1,
    }


def _field_reasons(name: str, valid: Column, optional: bool = False) -> list[Column]:
    kind = F.col(f"{name}_type")
    absent = ~F.col("is_plain") & (kind.isNull() | (kind == "VOID"))
    invalid = F.when(~absent & ~F.coalesce(valid, F.lit(False)), F.lit(f"{Reason.INVALID_FIELD.value}:{name}"))
    if optional:
        return [invalid]
    return [F.when(absent, F.lit(f"{Reason.MISSING_FIELD.value}:{name}")), invalid]
