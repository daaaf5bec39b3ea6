"""The store of FX rates: ref/fx_rates, one more version each time a file is loaded."""

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import polars as pl

from jobs.common.currencies import minor_units
from jobs.common.errors import UserError
from jobs.common.lake import append_version, open_table, read
from jobs.common.settings import Settings

HEADER = ["rate_date", "currency", "usd_per_unit"]
#: The contract carries a rate at most this many days; a file must not leave a longer way between two rates.
CARRIED_DAYS = 7

_TABLE = "fx_rates"
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_RATE = re.compile(r"\d{1,12}(?:\.(\d+))?", re.ASCII)
_LIMIT = 100_000


@dataclass(frozen=True)
class Rate:
    """US dollars for one whole unit of a currency on a date, and the line of the file that says so."""

    rate_date: date
    currency: str
    usd_per_unit: Decimal
    line: int


def load(settings: Settings, csv_path: Path, now: datetime) -> int:
    """Checks the file and appends its rates as a new FX version, whose number it returns.

    Another value for a (date, currency) known before is a correction: the highest version holds. A file all of whose
    rates hold already appends nothing and returns the current number.
    Raises UserError, with nothing loaded, where the file is wrong or somebody else loads one at that moment.
    """
    rates = parse_rates(csv_path)
    table = open_table(settings, _TABLE)
    stored = read(table, _TABLE)
    current = int(stored["fx_version"].max() or 0)  # type: ignore[arg-type]
    known = {(row["rate_date"], row["currency"]): row["usd_per_unit"] for row in _in_force(stored).to_dicts()}
    if all(known.get((rate.rate_date, rate.currency)) == rate.usd_per_unit for rate in rates):
        return current
    rows = [
        {
            "rate_date": rate.rate_date,
            "currency": rate.currency,
            "usd_per_unit": rate.usd_per_unit,
            "fx_version": current + 1,
            "loaded_at": now,
        }
        for rate in rates
    ]
    append_version(settings, _TABLE, rows, current + 1, table)
    return current + 1


def current_rates(settings: Settings) -> pl.DataFrame:
    """The rates in force, one row a date and currency, with the version and time of the load that gave it."""
    return _in_force(read(open_table(settings, _TABLE), _TABLE))


def parse_rates(path: Path) -> list[Rate]:
    """Reads and checks a whole rates file; UserError names file, line and column of the first thing wrong."""
    units = minor_units()
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            if header != HEADER:
                raise UserError(f"{path}:1: the header must be {','.join(HEADER)}, not {','.join(header) or 'empty'}.")
            rates = [_rate(path, reader.line_num, row, units) for row in reader if row]
    except FileNotFoundError:
        raise UserError(f"There is no FX file {path}; give the path of one that exists.") from None
    except UnicodeDecodeError as error:
        raise UserError(f"The FX file {path} cannot be read: it is not UTF-8 text.") from error
    except OSError as error:
        raise UserError(f"The FX file {path} cannot be read: {error.strerror}.") from error
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num}: this is not CSV: {error}.") from error
    if not rates:
        raise UserError(f"{path}:1: the file has no rates under its header.")
    _check_together(path, rates)
    return rates


def _rate(path: Path, line: int, row: list[str], units: dict[str, int]) -> Rate:
    def wrong(column: str, what: str) -> UserError:
        return UserError(f"{path}:{line}: {column}: {what}.")

    if len(row) != len(HEADER):
        raise UserError(f"{path}:{line}: the line must have {len(HEADER)} columns, not {len(row)}.")
    day, currency, rate = (part.strip() for part in row)
    try:
        rate_date = date.fromisoformat(day if _DATE.fullmatch(day) else "")
    except ValueError:
        raise wrong("rate_date", f"must be a date like 2026-03-09, not {day!r}") from None
    if currency not in units:
        raise wrong("currency", f"{currency!r} is no ISO 4217 currency in force with a minor unit")
    found = _RATE.fullmatch(rate)
    value = Decimal(rate) if found else Decimal(0)
    if found is None or not 0 < value < _LIMIT:
        raise wrong("usd_per_unit", f"must be a number over 0 and under {_LIMIT:,}, like 1.0852, not {rate!r}")
    if len(found.group(1) or "") > 12:
        raise wrong("usd_per_unit", f"must have at most 12 decimals, not {len(found.group(1))}")
    if currency == "USD" and value != 1:
        raise wrong("usd_per_unit", f"one USD is 1 USD, not {rate}")
    return Rate(rate_date, currency, value, line)


def _check_together(path: Path, rates: Iterable[Rate]) -> None:
    """One rate a day and currency, and never a longer way to the next than a rate is carried."""
    ordered = sorted(rates, key=lambda rate: (rate.currency, rate.rate_date, rate.line))
    for earlier, later in pairwise(ordered):
        if earlier.currency != later.currency:
            continue
        days = (later.rate_date - earlier.rate_date).days
        if days == 0:
            what = f"a second rate of {later.currency} for {later.rate_date}, the first is on line {earlier.line}"
            raise UserError(f"{path}:{later.line}: rate_date: {what}.")
        if days > CARRIED_DAYS + 1:
            what = (
                f"no rate of {later.currency} between {earlier.rate_date} (line {earlier.line}) and {later.rate_date}"
            )
            raise UserError(
                f"{path}:{later.line}: rate_date: {what}, {days} days on; "
                f"a rate is carried {CARRIED_DAYS} days, so days between would have none."
            )


def _in_force(stored: pl.DataFrame) -> pl.DataFrame:
    ordered = stored.sort("currency", "rate_date", "fx_version")
    return ordered.unique(["currency", "rate_date"], keep="last", maintain_order=True)
