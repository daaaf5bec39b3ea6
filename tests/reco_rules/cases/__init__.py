"""Truth tables of the rules: values worked out by hand from the contract, free of any engine.

A `Table` is for a rule that looks at one row; a `Scenario` for one that looks at all events of a key. Column types are
written as Spark and DuckDB both read them. Times are aware and in UTC.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.oracle.model import Event, Policy

USD = "decimal(28,6)"
TOLERANCE = "decimal(18,6)"
SECONDS = "decimal(18,3)"
RATE = "decimal(17,12)"


@dataclass(frozen=True)
class Table:
    """Rows of (case, inputs..., expected...), in the order of `columns`; `case` comes first and is unique."""

    name: str
    columns: Mapping[str, str]
    rows: tuple[tuple[Any, ...], ...]

    def __post_init__(self) -> None:
        """Refuse a row of the wrong width and a case told twice."""
        for row in self.rows:
            assert len(row) == 1 + len(self.columns), f"{self.name}: {row[0]}: {len(row) - 1} values"
        cases = [row[0] for row in self.rows]
        assert len(set(cases)) == len(cases), f"{self.name}: a case is there twice"

    @property
    def schema(self) -> str:
        """The columns as one DDL string, `case_name` first."""
        return ", ".join(f"{name} {kind}" for name, kind in [("case_name", "string"), *self.columns.items()])

    @property
    def records(self) -> list[dict[str, Any]]:
        """Each row by column name."""
        return [dict(zip(["case_name", *self.columns], row, strict=True)) for row in self.rows]


@dataclass(frozen=True)
class Scenario:
    """The deliveries of one key, the policy of its supplier, and what a rule makes of them."""

    name: str
    events: tuple[Event, ...]
    expected: Mapping[str, Any]
    policy: Policy = field(default_factory=Policy)
