"""What commands print: tables and sentences for people, JSON for machines."""

import csv
import io
import json
import sys
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_PLAIN_WIDTH = 200


def print_json(data: Any, *, is_line: bool = False) -> None:
    """One JSON document, on one line where more will follow: decimals as text, times as ISO 8601 in UTC."""
    sys.stdout.write(json.dumps(data, default=_plain, ensure_ascii=False, indent=None if is_line else 2) + "\n")
    if is_line:
        sys.stdout.flush()  # whoever reads a line at a time waits for it


def say(*lines: str) -> None:
    """Sentences for people, exactly as given."""
    console = _console()
    for line in lines:
        console.print(Text(printable(line)), soft_wrap=True)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table for people; numbers to the right, nothing as a dash."""
    cells = [list(row) for row in rows]
    table = Table(title=Text(title), title_justify="left", show_edge=False, header_style="bold")
    for index, name in enumerate(columns):
        number = any(isinstance(row[index], int | Decimal) and not isinstance(row[index], bool) for row in cells)
        table.add_column(Text(name), justify="right" if number else "left", overflow="fold")
    for row in cells:
        table.add_row(*(Text(shown(cell)) for cell in row))
    _console().print(table)


def shown(value: object) -> str:
    """A value as a person reads it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Decimal):
        return plain_decimal(value)
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%SZ")
    return printable(str(value))


def plain_decimal(value: Decimal) -> str:
    """Without needless zeros and never with an exponent: 0.500000 is 0.5, 100.000000 is 100."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def printable(text: str) -> str:
    """Ids come from outside; what would steer a terminal is shown escaped."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def listed(texts: Iterable[str]) -> str:
    """The texts with commas between them; one that has a comma or a quote in it is quoted, as in CSV."""
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(texts)
    return out.getvalue()


def unlisted(text: str) -> list[str]:
    """What `listed` was given, or somebody typed: without blanks around the texts, and without empty ones."""
    try:
        found = next(csv.reader([text], skipinitialspace=True), [])
    except csv.Error:  # a line's end in it: an id, and no list
        found = [text]
    return [one.strip() for one in found if one.strip()]


def _console() -> Console:
    console = Console(markup=False, highlight=False, emoji=False)
    return console if console.is_terminal else Console(markup=False, highlight=False, emoji=False, width=_PLAIN_WIDTH)


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return plain_decimal(value)
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"no JSON for {type(value).__name__}")
