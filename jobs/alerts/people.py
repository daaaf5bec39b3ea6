"""What people did in the console (gold/exception_actions), folded into the breaks that alert."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import polars as pl

from jobs.alerts.state import State
from jobs.common.arrow import polars_schema
from jobs.common.lake import open_table, scan
from jobs.common.settings import Settings
from schemas.tables import TABLES

_SEEN = ("seen_last_seen_date", "seen_reopened", "seen_amount_at_risk_usd")


class People:
    """Looks at each break again when it has changed, and at all of them when somebody did something."""

    def __init__(self, settings: Settings, state: State) -> None:
        self._settings, self._state = settings, state
        self._version: int | None = None
        self._folded = pl.DataFrame()
        self._changed: set[str] = set()

    def changed(self, break_ids: Iterable[str]) -> None:
        """These breaks were told anew: they may have come back after somebody resolved them."""
        self._changed.update(break_ids)

    def look(self) -> None:
        """Read the table where it has a new version."""
        table = open_table(self._settings, "exception_actions")
        if table is not None and table.version() != self._version:
            self._folded = folded(scan(table))
            self._changed.update(self._state.breaks)
            self._version = table.version()

    def fold(self) -> None:
        """Note in the state who is at which break, and which ones somebody resolved that have not come back."""
        ids = self._changed & self._state.breaks.keys() if not self._folded.is_empty() else set[str]()
        if ids:
            said = self._folded.filter(pl.col("exception_id").is_in(sorted(ids))).to_dicts()
            lives = _lives(self._settings, [row["exception_id"] for row in said if row["resolved"]])
            for row in said:
                self._note(row, lives.get(row["exception_id"], {}))
        self._changed.clear()

    def _note(self, row: dict[str, Any], life: dict[str, Any]) -> None:
        known = self._state.breaks[row["exception_id"]]
        back = row["resolved"] and _came_back(row, {**life, "amount_at_risk_usd": known.amount})
        is_at_it = row["acknowledged"] and (back or not row["resolved"])
        new = replace(
            known,
            settled_by=row["decided_by"] if row["resolved"] and not back else None,
            acknowledged_by=row["acknowledged_by"] if is_at_it else None,
            came_back=back,
        )
        if new != known:
            self._state.put(new)


def folded(actions: pl.LazyFrame) -> pl.DataFrame:
    """One row an exception that somebody acted on, by the rules of the console: the last RESOLVE or REOPEN decides.

    Columns: `exception_id`, `resolved`, `decided_by`, `decided_at`, `acknowledged` (since the last decision),
    `acknowledged_by`, and what whoever decided had seen.
    """
    rows = actions.select(list(polars_schema(TABLES["exception_actions"].schema)))
    action, at = pl.col("action"), pl.col("acted_at")
    decides, acknowledges = action.is_in(["RESOLVE", "REOPEN"]), action == "ACKNOWLEDGE"

    def decided(name: str) -> pl.Expr:
        return pl.col(name).filter(decides).last()

    return (
        rows.sort("acted_at", "action_id")
        .group_by("exception_id")
        .agg(
            (decided("action") == "RESOLVE").fill_null(False).alias("resolved"),
            decided("acted_by").alias("decided_by"),
            decided("acted_at").alias("decided_at"),
            (at.filter(acknowledges).max() > at.filter(decides).max())
            .fill_null(acknowledges.any() & ~decides.any())
            .alias("acknowledged"),
            pl.col("acted_by").filter(acknowledges).last().alias("acknowledged_by"),
            *(decided(name) for name in _SEEN),
        )
        .collect()
    )


def _came_back(said: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether a break is more, or seen on a later day, or was opened again, than when somebody resolved it."""
    seen_date = said["seen_last_seen_date"] or said["decided_at"].date()
    date, reopened, amount = (now.get(name) for name in ("last_seen_date", "reopened", "amount_at_risk_usd"))
    seen_amount = said["seen_amount_at_risk_usd"]
    return (
        (date is not None and date > seen_date)
        or (reopened is not None and reopened > (said["seen_reopened"] or 0))
        or (amount is not None and seen_amount is not None and amount > seen_amount)
    )


def _lives(settings: Settings, break_ids: list[str]) -> dict[str, dict[str, Any]]:
    """The last day a close saw each of them, and how often the stream opened it again."""
    found: dict[str, dict[str, Any]] = {name: {} for name in break_ids}
    for name, column in (("exceptions", "last_seen_date"), ("nrt_exceptions", "reopened")):
        table = open_table(settings, name) if break_ids else None
        if table is not None:
            mine = scan(table).filter(pl.col("exception_id").is_in(break_ids)).select("exception_id", column)
            for break_id, value in mine.collect().iter_rows():
                found[break_id][column] = value
    return found
