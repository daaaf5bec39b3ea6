"""The stream's verdicts as they come, from its tables and its checkpoint, without a JVM."""

import json
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Self

import polars as pl
from deltalake.exceptions import DeltaError
from rich.console import Console
from rich.live import Live
from rich.table import Table

from jobs.common.lake import open_table, scan
from jobs.common.settings import Settings

_EVERY = 1.0
#: Time between two lines where there is no terminal.
_LINE_SECONDS = 15.0
_STATES = ("OPEN", "PENDING", "RESOLVED")
_OUTCOMES = ("MATCHED", "MISMATCHED", "MISSING_AGODA", "MISSING_SUPPLIER")


@dataclass(frozen=True)
class Seen:
    """What the stream has said so far.

    Verdicts by outcome; exceptions by state and anomaly type; `money` at risk in the open ones, US dollars, by anomaly
    type; `reached` as of `reached`.
    """

    verdicts: Mapping[str, int]
    states: Mapping[str, Mapping[str, int]]
    money: Mapping[str, Decimal]
    reached: datetime | None


def look(settings: Settings) -> Seen:
    """Read both tables as they are now."""
    table, told = open_table(settings, "nrt_results"), open_table(settings, "nrt_exceptions")
    outcomes = [] if table is None else scan(table).group_by("outcome").len().collect().rows()
    columns = ("anomaly_type", "state", "amount_at_risk_usd")
    exceptions = pl.DataFrame(schema=columns) if told is None else scan(told).select(columns).collect()
    states = Counter(exceptions.select("anomaly_type", "state").rows())
    by_state = {
        state: {k: n for (k, s), n in states.items() if s == state} for state in ("OPEN", "PENDING", "RESOLVED")
    }
    money: dict[str, Decimal] = {}
    for kind, _, amount in exceptions.filter(pl.col("state") == "OPEN").drop_nulls("amount_at_risk_usd").iter_rows():
        money[kind] = money.get(kind, Decimal(0)) + amount
    return Seen(dict(outcomes), by_state, money, reached(settings))


def reached(settings: Settings) -> datetime | None:
    """The watermark of the newest micro-batch of `match` that is done: all that was published up to it is judged."""
    root = Path(settings.stream.checkpoint_root) / "match"
    done = max((int(file.name) for file in root.glob("commits/[0-9]*")), default=None)
    if done is None:
        return None
    told = json.loads((root / "offsets" / str(done)).read_text().splitlines()[1])
    return datetime.fromtimestamp(told["batchWatermarkMs"] / 1000, UTC)


class Verdicts:
    """Shows them: a table that is drawn anew on a terminal, a line now and then elsewhere."""

    def __init__(self, settings: Settings, console: Console) -> None:
        self._settings, self._console = settings, console
        self._live = Live(console=console, transient=True, auto_refresh=False) if console.is_terminal else None
        self._looked = self._told = time.monotonic()
        self._line = _line(Seen({}, {state: {} for state in _STATES}, {}, None))

    def __enter__(self) -> Self:
        """Begins to draw."""
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def show(self) -> None:
        """Show how it is now; does nothing when called again within a second."""
        now = time.monotonic()
        if now - self._looked < _EVERY:
            return
        if self._live:
            # A table whose first commit is under way is seen a second later.
            with suppress(DeltaError, OSError):
                self._live.update(_drawn(look(self._settings)), refresh=True)
        elif now - self._told >= _LINE_SECONDS:
            with suppress(DeltaError, OSError):
                if (line := _line(look(self._settings))) != self._line:
                    self._console.print(f"  … {line}", highlight=False)
                self._line = line
            self._told = now
        self._looked = time.monotonic()


def _line(seen: Seen) -> str:
    verdicts, open_ = sum(seen.verdicts.values()), sum(seen.states["OPEN"].values())
    return f"{verdicts:,} verdicts, {open_:,} open exceptions; all is known up to {_time(seen.reached)}"


def _drawn(seen: Seen) -> Table:
    caption = ", ".join(f"{seen.verdicts.get(name, 0):,} {name}" for name in _OUTCOMES)
    table = Table(
        title=f"The stream's verdicts; all is known up to {_time(seen.reached)}",
        caption=caption,
        title_justify="left",
        caption_justify="left",
        show_edge=False,
    )
    table.add_column("anomaly type")
    for name in ("open", "pending", "resolved", "at risk, USD"):
        table.add_column(name, justify="right")
    for kind in sorted(set().union(*seen.states.values())):
        counts = [f"{kinds.get(kind, 0):,}" for kinds in seen.states.values()]
        table.add_row(kind, *counts, f"{seen.money.get(kind, Decimal(0)):,.2f}")
    return table


def _time(when: datetime | None) -> str:
    return "–" if when is None or when.year < 1971 else f"{when:%Y-%m-%d %H:%M}"
