"""Sample files of a format: the records in them, byte for byte."""

import json
from codecs import BOM_UTF8
from pathlib import Path
from typing import NamedTuple

from jobs.common.errors import UserError
from jobs.common.formats.model import Csv, Format

#: A sample is looked at record by record; more than this nobody does.
MOST = 10_000


class Sample(NamedTuple):
    """One record: where it stands, and its value."""

    place: str
    value: bytes


def read_samples(format_: Format, path: Path) -> list[Sample]:
    """The records of a file, or of every file of a folder, in the order of their names.

    JSON: one document a line, one array of documents, or one document; CSV: one row a line, after a header line or
    not; Avro: one datum a file. Raises UserError where there is nothing to read, or too much.
    """
    try:
        files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
        found = [sample for file in files for sample in _records(format_, file)]
    except OSError as error:
        raise UserError(f"The sample {path} cannot be read: {error.strerror}.") from error
    if not 1 <= len(found) <= MOST:
        count = "no record" if not found else f"{len(found)} records"
        raise UserError(f"The sample {path} has {count}; give one of 1 to {MOST} records.")
    return found


def _records(format_: Format, file: Path) -> list[Sample]:
    content = file.read_bytes()
    if format_.payload == "avro":
        return [Sample(file.name, content)]
    # Editors put it before a text; it is the file's, no record's.
    content = content.removeprefix(BOM_UTF8)
    if format_.payload == "json" and (documents := _documents(content)):
        return [Sample(f"{file.name}[{number}]", value) for number, value in enumerate(documents)]
    lines = [(number, line.removesuffix(b"\r")) for number, line in enumerate(content.split(b"\n"), 1)]
    if format_.csv and lines and _is_header(format_.csv, lines[0][1]):
        lines = lines[1:]
    return [Sample(f"{file.name}:{number}", line) for number, line in lines if line.strip()]


def _documents(content: bytes) -> list[bytes]:
    """The elements of a JSON array, or the one object over several lines, as they are written; none where it is not."""
    try:
        text = content.decode("utf-8").strip()
        if text.startswith("{"):
            json.loads(text)
            return [text.encode()]
        if not text.startswith("["):
            return []
        json.loads(text)
    except (ValueError, RecursionError):
        return []
    # Read again element by element: what a parser gives back has lost how numbers were written.
    found: list[bytes] = []
    at, decoder = 1, json.JSONDecoder()
    while True:
        at += len(text[at:]) - len(text[at:].lstrip(" \t\r\n,"))
        if text[at] == "]":
            return found
        _, end = decoder.raw_decode(text, at)
        found.append(text[at:end].encode())
        at = end


def _is_header(csv: Csv, line: bytes) -> bool:
    names = [name.strip().strip('"') for name in line.decode("utf-8", "replace").split(csv.delimiter)]
    return names == list(csv.columns)
