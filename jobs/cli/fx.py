"""`reco fx`: load a file of FX rates, look at the rates in force."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from jobs.common import fx as store
from jobs.common.currencies import minor_units
from jobs.common.errors import UserError
from jobs.common.options import AsJson, Debug, SettingsFile
from jobs.common.output import print_json, print_table, say
from jobs.common.settings import load_settings

app = typer.Typer(
    no_args_is_help=True,
    help="FX rates: versioned, checked before anything is loaded.",
    epilog="Example: reco fx load conf/fx.csv",
)


@app.command(epilog="Example: reco fx load conf/fx.csv")
def load(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="CSV rate_date,currency,usd_per_unit; fx_file.")
    ] = None,
    settings_file: SettingsFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Check FILE and load its rates; another rate for a known date and currency corrects it."""
    settings = load_settings(settings_file)
    path = file or settings.fx_file
    if path is None:
        raise UserError("No FX file is given and fx_file is not set in the settings; say: reco fx load FILE")
    before = _version(store.current_rates(settings))
    version = store.load(settings, path, datetime.now(UTC))
    rates = store.parse_rates(path)
    status = "unchanged" if version == before else "loaded"
    if as_json:
        print_json({"status": status, "fx_version": version, "file": str(path), "rates": len(rates)})
    elif status == "unchanged":
        say(f"Unchanged: every rate of {path} holds already, as of FX version {version}.")
    else:
        currencies = len({rate.currency for rate in rates})
        first, last = min(rate.rate_date for rate in rates), max(rate.rate_date for rate in rates)
        say(f"Loaded {path} as FX version {version}: {len(rates)} rates, {currencies} currencies, {first} to {last}.")


@app.command(epilog="Example: reco fx show --currency EUR")
def show(
    currency: Annotated[
        str | None, typer.Option(help="Every rate of this currency; the newest of each unless given.")
    ] = None,
    settings_file: SettingsFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show the rates in force: the newest of each currency, or all of one."""
    if currency is not None and currency not in minor_units():
        raise UserError(f"{currency!r} is no ISO 4217 currency in force with a minor unit; write it like EUR.")
    rates = store.current_rates(load_settings(settings_file))
    if currency is not None:
        found = rates.filter(pl.col("currency") == currency)
    else:
        found = rates.unique("currency", keep="last", maintain_order=True)
    if as_json:
        print_json({"fx_version": _version(rates), "rates": found.to_dicts()})
    elif found.is_empty():
        say(f"There are no rates{f' of {currency}' if currency else ''} yet; load some with: reco fx load FILE")
    else:
        title = f"Rates of {currency}" if currency else "Newest rate of each currency"
        print_table(title, ["date", "currency", "USD per unit", "FX version", "loaded at"], found.rows())


def _version(rates: pl.DataFrame) -> int:
    return max(rates["fx_version"].to_list(), default=0)
