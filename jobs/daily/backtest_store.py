"""A backtest kept for the console, in the one table that backtests write."""

from dataclasses import asdict
from typing import Any

from jobs.common.errors import FAILED, UserError
from jobs.common.lake import append_version, open_table
from jobs.common.output import shown
from jobs.common.policy_file import written, written_value
from jobs.common.settings import Settings
from jobs.daily import inputs
from jobs.daily.backtest_result import Backtest, SupplierResult
from jobs.daily.backtest_text import margin
from jobs.daily.whatif_edges import Edge

_TABLE = "policy_backtests"


def save(settings: Settings, found: Backtest) -> None:
    """Append one row a supplier in one commit. UserError where there is nothing to keep, or somebody else writes."""
    if not found.suppliers:
        raise UserError(f"Nothing was saved: no key was closed on {found.first_date} to {found.last_date}.", FAILED)
    table = open_table(settings, _TABLE)
    number = 1 if table is None else table.version() + 1
    append_version(settings, _TABLE, [_row(found, supplier) for supplier in found.suppliers], number, table)


def _row(found: Backtest, supplier: SupplierResult) -> dict[str, Any]:
    whole = ("backtest_id", "ran_at", "file", "file_hash", "first_date", "last_date", "closes")
    return {
        **{name: getattr(found, name) for name in whole},
        "ran_date": found.ran_at.date(),
        **{name: getattr(supplier, name) for name in ("supplier_id", "keys", "flips")},
        "policy_changes": [
            f"{written(c.key)}: {shown(written_value(c.key, c.before))} → {shown(written_value(c.key, c.after))}"
            for c in supplier.changes
        ],
        "tallies": [
            {name: value for name, value in asdict(tally).items() if name != "supplier_id"}
            for tally in supplier.tallies
        ],
        "examples": [_example(edge) for edge in supplier.edges],
        "code_version": inputs.code_version(),
    }


def _example(edge: Edge) -> dict[str, Any]:
    told = {name: value for name, value in asdict(edge).items() if name not in ("supplier_id", "unit")}
    margins = {name: margin(edge, told[name]) for name in ("margin_before", "margin_after")}
    return {**told, **margins}
