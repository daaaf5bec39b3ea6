"""What is wrong with a format that has the right shape: each complaint with the key it is about."""

import json
import re
from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo

from jobs.common.currencies import minor_units
from jobs.common.formats.model import EPOCH_MILLIS, EPOCH_SECONDS, ISO, Amount, Format, Number, Source, Time, Word
from reco_rules.vocabulary import ActivityType, Status

Complaint = tuple[tuple[str, ...], str]

#: What Spark reads as a path into a variant, one step or more.
_PATH = re.compile(r"\$(\.[^.\[\]'\"$]+|\['[^'\]?]+'\]|\[\d{1,6}\])+")
_FIRST = re.compile(r"\$(?:\.([^.\[]+)|\['([^']+)'\])")
_OFFSET = re.compile(r"[+-](0\d|1[0-8]):[0-5]\d")
#: A part of a pattern that a text may lack.
_OPTIONAL = re.compile(r"\[[^\[\]]*\]")
_QUOTED = re.compile(r"'[^']*'")
#: The letters of a time's pattern and how often each may stand in a row; all that Spark reads without surprises.
_LETTERS = {"y": (2, 4), "M": (1, 2, 3, 4), "a": (1,), "S": tuple(range(1, 10)), "X": (1, 2, 3), "x": (1, 2, 3)}
_LETTERS |= dict.fromkeys("dHhms", (1, 2))
_MOST = {"amountMinor": 10**15, "version": 2**63 - 1}


def complaints_about(format_: Format) -> list[Complaint]:
    """Everything that makes no sense, in the order of the fields; empty where the format can be used."""
    found = [*_about_payload(format_)]
    for name, source in format_.sources():
        found += [(("fields", name, *key), what) for key, what in _about_source(name, source)]
        found += [(("fields", name), what) for path in source.paths for what in _about_path(format_, path)]
    return found


def _about_payload(format_: Format) -> Iterator[Complaint]:
    for kind, part in (("csv", format_.csv), ("avro", format_.avro)):
        if (format_.payload == kind) != (part is not None):
            yield (kind,), f"is {'missing' if part is None else 'only for'} payload: {kind}"
    if format_.csv:
        columns = format_.csv.columns
        if not columns or not all(columns) or len(set(columns)) < len(columns):
            yield ("csv", "columns"), "must be at least one name, none empty and none twice"
        if format_.csv.delimiter in '"\r\n\\':
            yield ("csv", "delimiter"), "must not be a quote, a backslash or a line break"
    if format_.avro and not _avro_fields(format_.avro.definition):
        yield ("avro", "schema"), 'must be an Avro schema of a record: {"type": "record", "name": …, "fields": […]}'


def _about_path(format_: Format, path: str) -> Iterator[str]:
    if not _PATH.fullmatch(path):
        yield f"{path} is no path; write it like $.booking.ref, $.rooms[0].rate or $['a name']"
        return
    step = _FIRST.match(path)
    first = (step.group(1) or step.group(2)) if step else None
    if format_.csv and (first not in format_.csv.columns or not step or step.end() < len(path)):
        yield f"{path} is no column of csv.columns; a column is read as $.name"
    if format_.avro and (names := _avro_fields(format_.avro.definition)) and first not in names:
        yield f"{path} begins with no field of avro.schema"


def _avro_fields(definition: str) -> list[str]:
    """The names of a record schema's fields; none where it is no record schema."""
    try:
        schema = json.loads(definition)
        return [field["name"] for field in schema["fields"]] if schema["type"] == "record" else []
    except (ValueError, KeyError, TypeError):
        return []


def _about_source(name: str, source: Source) -> Iterator[Complaint]:
    if [source.path, source.compose, source.constant].count(None) != 2:
        yield (), "must have exactly one of path, compose and constant"
    if source.compose is not None and not source.paths:
        yield ("compose",), "must have a path, which begins with $; a text that never varies is a constant"
    if source.separator and source.compose is None:
        yield ("separator",), "is only for compose"
    if source.default is not None and (source.constant is not None or source.required):
        yield ("default",), "never comes to pass: the field is a constant, or required"
    if source.required is False and source.default is None and name != "eventId":
        yield ("required",), "cannot be false: every event has this field; give a default instead"
    yield from _about_fixed(name, source)
    if isinstance(source, Word):
        yield from _about_map(name, source)
    if isinstance(source, Amount) and source.grouping == source.decimal:
        yield ("grouping",), "must differ from decimal"
    if isinstance(source, Time | Number):
        yield from _about_time(source)


def _about_fixed(name: str, source: Source) -> Iterator[Complaint]:
    for key, value in (("constant", source.constant), ("default", source.default)):
        if value is not None and (what := _invalid(name, value)):
            yield (key,), what


def _about_map(name: str, source: Word) -> Iterator[Complaint]:
    if source.map is None:
        return
    if not source.map or source.constant is not None:
        yield ("map",), "must have entries, and a field that is no constant"
    for theirs, ours in source.map.items():
        if what := _invalid(name, ours):
            yield ("map", theirs), what


def _invalid(name: str, value: str) -> str | None:
    """What is wrong with a value that the file itself gives for this field."""
    words: dict[str, Any] = {"activityType": ActivityType, "status": Status}
    if name == "eventTime":
        return "a time cannot stand in the file; each event has its own"
    if name in words:
        known = [word.value for word in words[name]]
        return None if value in known else f"must be one of {', '.join(known)}, not {value}"
    if name == "currency":
        return None if value in minor_units() else f"{value} is no ISO 4217 currency in force"
    if name in _MOST:
        least = 0 if name == "amountMinor" else 1
        is_number = re.fullmatch(r"[0-9]{1,19}", value) is not None
        ok = is_number and least <= int(value) <= _MOST[name]
        return None if ok else f"must be a whole number from {least} to {_MOST[name]}, not {value}"
    return None if 1 <= len(value) <= 128 else "must have 1 to 128 characters"


def _about_time(source: Time | Number) -> Iterator[Complaint]:
    pattern, zone = source.pattern, source.zone
    if pattern is not None and source.constant is not None:
        yield ("pattern",), "is not for a constant"
    shows_zone = pattern in (None, ISO, EPOCH_SECONDS, EPOCH_MILLIS)
    if pattern is not None and not shows_zone:
        if what := _bad_pattern(pattern):
            yield ("pattern",), what
        letters = _QUOTED.sub("", pattern)
        shows_zone = bool(re.search("[Xx]", letters))
        if shows_zone and not re.search("[Xx]", _OPTIONAL.sub("", letters)):
            yield ("pattern",), "has an offset that may be left out: whose clock would it be then? Write it without [ ]"
    if zone is None and not shows_zone:
        yield ("pattern",), "shows a clock on a wall: say whose, like zone: Europe/Paris"
    if zone is not None and shows_zone:
        yield ("zone",), "has no use: the value says by itself which moment it means"
    if zone is not None and not _is_zone(zone):
        yield ("zone",), f"{zone} is no time zone; write one like Europe/Paris, UTC or +02:00"


def _bad_pattern(pattern: str) -> str | None:
    letters = _QUOTED.sub("", pattern)
    if "'" in letters or re.sub(r"[^\[\]]", "", letters).replace("[]", ""):
        return "has a quote or a bracket that is not closed"
    for found in re.finditer(r"([A-Za-z])\1*", letters):
        if len(found.group()) not in _LETTERS.get(found.group(1), ()):
            return f"{found.group()} is not supported; use yyyy MM dd HH mm ss SSS XXX, or hh with a"
    if any(sign in letters for sign in "#{}"):
        return "has one of # { }, which a pattern cannot have"
    if not {"y", "M", "d"} <= set(letters):
        return "must have year, month and day; or be iso, epoch_seconds or epoch_millis"
    if ("h" in letters) != ("a" in letters) or ("h" in letters and "H" in letters):
        return "must have HH, or hh with a"
    return None


def _is_zone(zone: str) -> bool:
    if _OFFSET.fullmatch(zone):
        return True
    try:
        ZoneInfo(zone)
    except (OSError, ValueError, LookupError):
        return False
    return bool(re.fullmatch(r"UTC|[A-Za-z_]+(/[A-Za-z0-9_+-]+)+", zone))
