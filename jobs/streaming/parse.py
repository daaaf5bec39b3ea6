"""A raw record becomes an event, a heartbeat, or a quarantined row with its reasons (CONTRACT section 2)."""

from collections.abc import Mapping, Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from reco_rules.vocabulary import ActivityType, Reason, Status

MAX_BYTES = 1_048_576
MAX_FUTURE_SECONDS = 300
MAX_AMOUNT_MINOR = 10**15
MAX_ID_LENGTH = 128

#: Closes the array that a record's text is wrapped in: found at its place, nothing came after the record's value.
_END = "\x7fend of record\x7f"
_TIME = r"^(?!0000)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-](0\d|1[0-8])(:?[0-5]\d)?)$"
#: A surrogate escape without its other half, after an even number of backslashes: no Unicode text.
_LONE_SURROGATE = (
    r"(?i)(?<!\\)(\\\\)*\\ud[89ab][0-9a-f]{2}(?!\\ud[c-f][0-9a-f]{2})"
    r"|(?<!\\ud[89ab][0-9a-f]{2})(?<!\\)(\\\\)*\\ud[c-f][0-9a-f]{2}"
)
_STRINGS = ("eventId", "activityId", "supplierId", "activityType", "currency", "status", "eventTime")
_INTEGERS = ("amountMinor", "version")


def parse(records: DataFrame, currencies: Sequence[str], clock: Column) -> DataFrame:
    """Add `kind` (EVENT, HEARTBEAT or QUARANTINE), `reasons` (sorted), and the event's fields in camelCase.

    `records`: columns of bronze. `currencies`: the codes in force. `clock`: when the batch is read, a timestamp.
    Fields are null where the record has none of the right type; `eventAt` is `eventTime` as a timestamp, cut to the
    millisecond. `eventId` is the payload's, else that of the header `id`, else topic, partition and offset.
    """
    shaped = _with_fields(_with_json(records))
    judged = shaped.withColumn("reasons", _reasons(currencies, clock))
    kind = (
        F.when(F.size("reasons") > 0, F.lit("QUARANTINE"))
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
    )


def _with_json(records: DataFrame) -> DataFrame:
    """Add `json`, the record's one JSON object as a variant; null where it is not one, or too large to be read."""
    too_large = F.coalesce(F.octet_length("value") > MAX_BYTES, F.lit(False))
    text = F.when(~too_large, F.col("value").cast("string"))
    as_text = records.select(
        "*",
        too_large.alias("is_too_large"),
        F.when(F.is_valid_utf8(text) & (F.substring(F.ltrim(text, F.lit(" \t\r\n")), 1, 1) == "{"), text).alias("text"),
    )
    halved = F.contains(F.lower(F.col("text")), F.lit("\\ud")) & F.col("text").rlike(_LONE_SURROGATE)
    wrapped = F.try_parse_json(
        F.when(~halved, F.concat(F.lit("["), F.col("text"), F.lit(',"' + _END.replace("\x7f", "\\u007f") + '"]')))
    )
    ended = F.try_variant_get("wrapped", "$[1]", "string") == _END
    return as_text.select(*[F.col(name) for name in records.columns], "is_too_large", wrapped.alias("wrapped")).select(
        "*", F.when(ended, F.try_variant_get("wrapped", "$[0]", "variant")).alias("json")
    )


def _with_fields(records: DataFrame) -> DataFrame:
    """Add every field in its JSON type, `<name>_type` beside it, null where the JSON has another type there."""
    json = F.col("json")
    typed = records.select(
        "*",
        *[F.schema_of_variant(F.try_variant_get(json, f"$.{n}", "variant")).alias(f"{n}_type") for n in _FIELDS],
        (F.try_variant_get(json, "$.heartbeat", "boolean") & _is(json, "heartbeat", "BOOLEAN")).alias("beats"),
    )
    strings = [
        F.when(F.col(f"{n}_type") == "STRING", F.try_variant_get(json, f"$.{n}", "string")).alias(n) for n in _STRINGS
    ]
    integers = [
        F.when(F.col(f"{n}_type") == "BIGINT", F.try_variant_get(json, f"$.{n}", "bigint")).alias(n) for n in _INTEGERS
    ]
    header = F.element_at(F.filter("headers", lambda h: h["key"] == "id"), 1)["value"].cast("string")
    header_ok = F.is_valid_utf8(header) & F.length(header).between(1, MAX_ID_LENGTH)
    valued = typed.select(
        "*",
        *strings,
        *integers,
        F.when(F.size("headers") > 0, F.when(header_ok, header)).alias("header_id"),
        F.coalesce(F.col("beats"), F.lit(False)).alias("is_heartbeat"),
    )
    at = F.when(F.col("eventTime").rlike(_TIME), F.col("eventTime").try_cast("timestamp"))
    cut = F.date_trunc("millisecond", at)
    return valued.select("*", F.when(cut >= F.lit("0001-01-01").cast("timestamp"), cut).alias("eventAt"))


_FIELDS = (*_STRINGS, *_INTEGERS)


def _is(json: Column, name: str, kind: str) -> Column:
    return F.schema_of_variant(F.try_variant_get(json, f"$.{name}", "variant")) == kind


def _reasons(currencies: Sequence[str], clock: Column) -> Column:
    """Every reason code that holds, sorted; a record that cannot be read has just that one."""
    ahead = F.make_dt_interval(secs=F.lit(MAX_FUTURE_SECONDS))
    found = [
        F.when(F.col("kafka_time") > clock + ahead, F.lit(Reason.PUBLISHED_IN_FUTURE.value)),
        F.when(F.col("eventAt") > F.col("kafka_time") + ahead, F.lit(Reason.EVENT_TIME_IN_FUTURE.value)),
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
    return (
        F.when(F.col("is_too_large"), F.array(F.lit(Reason.TOO_LARGE.value)))
        .when(F.col("json").isNull(), F.array(F.lit(Reason.MALFORMED_JSON.value)))
        .otherwise(F.array_sort(F.array_compact(F.array(*found))))
    )


def _validity() -> Mapping[str, Column]:
    """What each field must be, besides its JSON type; null where it is not of that type."""

    def named(name: str) -> Column:
        return F.length(F.col(name)).between(1, MAX_ID_LENGTH)

    return {
        **{name: named(name) for name in ("eventId", "activityId", "supplierId")},
        "activityType": F.col("activityType").isin([kind.value for kind in ActivityType]),
        "status": F.col("status").isin([status.value for status in Status]),
        "currency": F.col("currency").isNotNull(),
        "amountMinor": F.col("amountMinor").between(0, MAX_AMOUNT_MINOR),
        "version": F.col("version") >= 1,
    }


def _field_reasons(name: str, valid: Column, optional: bool = False) -> list[Column]:
    kind = F.col(f"{name}_type")
    absent = kind.isNull() | (kind == "VOID")
    invalid = F.when(~absent & ~F.coalesce(valid, F.lit(False)), F.lit(f"{Reason.INVALID_FIELD.value}:{name}"))
    if optional:
        return [invalid]
    return [F.when(absent, F.lit(f"{Reason.MISSING_FIELD.value}:{name}")), invalid]
