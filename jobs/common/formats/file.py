"""Reading format files: errors name file, line and key, everything that is wrong at once."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from jobs.common.errors import UserError
from jobs.common.formats.checks import complaints_about
from jobs.common.formats.model import Amount, Avro, Csv, Fields, Format, Number, Source, Time, Word
from jobs.common.yaml_file import Document, Key, complaints, read_yaml

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_KINDS: dict[str, type[Source]] = {"activityType": Word, "currency": Word, "status": Word, "amountMinor": Amount}
_KINDS |= {"version": Number, "eventTime": Time}


def read_format(path: Path) -> tuple[Format, str]:
    """The format that a file describes, and the SHA-256 of the file.

    Raises UserError that names file, line and key of everything that is wrong.
    """
    if not _NAME.fullmatch(path.stem):
        raise UserError(f"The format file {path} must be called like name.yaml: letters, digits, '.', '_' and '-'.")
    document = read_yaml(path, "format file")
    try:
        found = Format.model_validate(document.data)
    except ValidationError as error:
        raise _all_wrong(document, complaints(error, _known())) from error
    wrong = complaints_about(found)
    if not wrong and found.avro and (what := _bad_avro(found.avro)):
        wrong = [(("avro", "schema"), what)]
    if wrong:
        raise _all_wrong(document, wrong)
    return found, document.file_hash


def parse_definition(text: str) -> Format:
    """The format that `Format.resolved` wrote. Raises ValueError where this version cannot read it."""
    found = Format.model_validate_json(text)
    if wrong := complaints_about(found):
        key, what = wrong[0]
        raise ValueError(f"{'.'.join(key)}: {what}")
    return found


def _all_wrong(document: Document, found: Iterable[tuple[Key, str]]) -> UserError:
    """Everything at once, in the order of the file, so that a file is mended in one go."""
    in_order = sorted(found, key=lambda item: document.line(item[0]))
    return UserError("\n".join(document.sentence(*item) for item in in_order))


def _known() -> list[str]:
    """Every key that may stand in a format's file."""
    known = [name for name in Format.model_fields if name not in ("csv", "avro", "fields")]
    known += ["csv", *(f"csv.{name}" for name in Csv.model_fields)]
    known += ["avro", *(f"avro.{field.alias or name}" for name, field in Avro.model_fields.items()), "fields"]
    for name, field in Fields.model_fields.items():
        key = field.alias or name
        kind = _KINDS.get(key, Source)
        known += [f"fields.{key}", *(f"fields.{key}.{part}" for part in kind.model_fields)]
    return known


def _bad_avro(avro: Avro) -> str | None:
    """What Avro itself says against a schema. Raises UserError where the package that knows is not installed."""
    try:
        from fastavro import parse_schema
    except ModuleNotFoundError as error:
        raise UserError("An Avro schema is checked by the package fastavro: pip install 'reco[ingest]'.") from error
    try:
        parse_schema(json.loads(avro.definition))
    except Exception as error:
        return f"is no Avro schema: {type(error).__name__}: {str(error)[:200]}"
    return None
