"""The whole filtered set as a file: CSV or Excel, with nothing in it that a spreadsheet would run."""

import csv
import io
import re
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from typing import IO, Any

import polars as pl
import xlsxwriter

from jobs.console.text import moment

COLUMNS = ("exception_id", "supplier_id", "activity_id", "anomaly_type", "state", "verdict", "severity",
           "amount_at_risk_usd", "since", "last_seen_date", "changed_at", "held", "acknowledged", "assignee",
           "resolved_by", "came_back")  # fmt: skip
_SLICE = 20_000
#: Rows of one sheet below its heading: Excel has 1,048,576.
SHEET_ROWS = 1_048_575
#: What a spreadsheet takes for a formula at the start of a text, also after what it does not show and may cut off.
_FORMULA = re.compile(r"[\t\r\n]|[\s\x00-\x1f\x7f\u200b-\u200f\u2060\ufeff]*[=+\-@＝＋－＠]")


def as_csv(rows: pl.DataFrame) -> Iterator[bytes]:
    """CSV in UTF-8, piece by piece; a text that a spreadsheet would run starts with an apostrophe."""
    yield _lines([COLUMNS])
    for part in rows.select(COLUMNS).iter_slices(_SLICE):
        yield _lines([_plain(value) for value in row] for row in part.iter_rows())


def as_excel(rows: pl.DataFrame) -> IO[bytes]:
    """A workbook in a temporary file that goes with its closing; texts stay texts, money a number of cents."""
    # The response reads it after this function has ended, and closes it.
    target = tempfile.TemporaryFile()  # noqa: SIM115
    options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "in_memory": False}
    with xlsxwriter.Workbook(target, options) as book:
        bold, money = book.add_format({"bold": True}), book.add_format({"num_format": "#,##0.00"})
        for start in range(0, max(rows.height, 1), SHEET_ROWS):
            sheet = book.add_worksheet(f"exceptions {start // SHEET_ROWS + 1}")
            sheet.freeze_panes(1, 0)
            sheet.write_row(0, 0, COLUMNS, bold)
            part = rows.slice(start, SHEET_ROWS).select(COLUMNS)
            for number, row in enumerate(part.iter_rows(), 1):
                for place, value in enumerate(row):
                    _write(sheet, number, place, value, money)
    target.seek(0)
    return target


def _write(sheet: Any, row: int, place: int, value: Any, money: Any) -> None:
    if value is None:
        return
    if isinstance(value, bool):
        sheet.write_boolean(row, place, value)
    elif isinstance(value, Decimal) and abs(value) < 10**9:
        sheet.write_number(row, place, value.normalize(), money)
    else:  # Excel keeps 15 digits of a number: what is longer stays exact as text
        sheet.write_string(row, place, _text(value)[:32_767])


def _lines(rows: Any) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(rows)
    return out.getvalue().encode()


def _plain(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value:f}"
    text = _text(value)
    return f"'{text}" if isinstance(value, str) and _FORMULA.match(text) else text


def _text(value: Any) -> str:
    return value if isinstance(value, str) else moment(value)
