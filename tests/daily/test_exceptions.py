"""The life of each break follows from the facts that stand, whatever the order in which days were closed."""

import re
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
from pyspark.sql import DataFrame

from jobs.common.engines import Session, engine_of
from jobs.common.engines.duckdb import duckdb_session
from jobs.common.kept import Kept
from jobs.common.settings import Settings
from jobs.daily.close import close_day
from jobs.daily.exceptions import changed_exceptions, touched_lives
from schemas.tables import TABLES
from tests.daily import small_lake
from tests.daily.small_lake import DAY, NOON, event

Key = tuple[str, str]
_TYPES = ("DELAYED_AGODA", "MISSING_SUPPLIER", "STATUS_MISMATCH")
_RISKS = (("HIGH", None), ("LOW", Decimal("0.000000")), ("CRITICAL", Decimal("5000.250000")))
Risk = tuple[str, Decimal | None]
#: The facts of a day: of each key its breaks.
Facts = dict[Key, dict[str, Risk]]


class Life(NamedTuple):
    """An exception without its ids."""

    state: str
    severity: str
    amount_at_risk_usd: Decimal | None
    first_seen_date: date
    last_seen_date: date
    resolved_date: date | None


def expected(standing: dict[date, Facts]) -> dict[tuple[Key, str], Life]:
    """The life of each break that any day has, by the contract's words."""
    lives = {}
    for key in {key for facts in standing.values() for key in facts}:
        days = sorted(day for day, facts in standing.items() if key in facts)
        for kind in _TYPES:
            seen = [day for day in days if kind in standing[day][key]]
            if seen:
                after = next((day for day in days if day > seen[-1]), None)
                risk = standing[seen[-1]][key][kind]
                lives[key, kind] = Life("RESOLVED" if after else "OPEN", *risk, seen[0], seen[-1], after)
    return lives


@dataclass
class Lake:
    """What the tables say, and a close that brings the exceptions up to it."""

    session: Session
    standing: dict[date, Facts] = field(default_factory=dict)
    lives: dict[tuple[Key, str], Life] = field(default_factory=dict)

    def close(self, day: date, facts: Facts) -> None:
        """Replace the facts of a day and derive the exceptions."""
        self.standing[day] = facts
        existing = [(None, *key, kind, *life, None) for (key, kind), life in self.lives.items()]
        judged, found = self._tables(lambda other: other == day)
        with Kept() as kept:
            touched = kept(touched_lives(self._rows("exceptions", existing), found, judged, day))
            changed = changed_exceptions(
                touched, day, lambda first: self._tables(lambda other: other >= first and other != day), kept
            )
            for row in changed.collect():
                key, life = (row["supplier_id"], row["activity_id"]), Life(*[row[name] for name in Life._fields])
                assert life != self.lives.get((key, row["anomaly_type"]))
                self.lives[key, row["anomaly_type"]] = life

    def _tables(self, wanted: Any) -> tuple[DataFrame, DataFrame]:
        facts = [(d, *key) for d, of in self.standing.items() if wanted(d) for key in of]
        breaks = [
            (None, d, *key, kind, None, *risk, None, None)
            for d, of in self.standing.items()
            if wanted(d)
            for key, kinds in of.items()
            for kind, risk in kinds.items()
        ]
        names = ("reco_date", "supplier_id", "activity_id")
        schema = TABLES["reconciliation_facts"].schema
        only = type(schema)([schema[name] for name in names])
        return engine_of(self.session).local_rows(facts, only), self._rows("anomalies", breaks)

    def _rows(self, name: str, rows: list[Any]) -> DataFrame:
        return engine_of(self.session).local_rows(rows, TABLES[name].schema)


def drawn(rng: Random, keys: list[Key]) -> Facts:
    """Some keys have a fact, and some of these breaks."""
    return {
        key: {kind: rng.choice(_RISKS) for kind in _TYPES if rng.random() < 0.4} for key in keys if rng.random() < 0.7
    }


@pytest.mark.parametrize("seed", [*range(2), *[pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 30)]])
def test_lives_follow_from_the_facts_that_stand(session: Session, seed: int) -> None:
    rng = Random(seed)
    keys = [("SUP-1", f"BK-{number}") for number in range(rng.choice((1, 1, 4)))]
    days = [DAY + timedelta(days=number) for number in range(rng.choice((2, 3, 5)))]
    lake = Lake(session)
    for day in [*rng.choices(days, k=rng.randrange(8)), *rng.sample(days, len(days))]:
        lake.close(day, drawn(rng, keys))
        wanted = expected(lake.standing)
        assert {name: life for name, life in lake.lives.items() if name in wanted} == wanted
        assert {life.state for name, life in lake.lives.items() if name not in wanted} <= {"RESOLVED"}


def test_days_closed_at_once_and_a_late_event_over_midnight(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after_midnight = NOON - timedelta(days=1), NOON.replace(hour=0, minute=30)
    rows = [event("AGODA", "BK-BOTH", event_time=before), event("AGODA", "BK-BOTH", event_id="A2", version=2)]
    settings = small_lake.make(tmp_path, [*rows, event("AGODA", "BK-DRAWN", version=2, event_time=after_midnight)])
    engine, path = engine_of(session), settings.table_path("exceptions")
    upsert = type(engine).upsert

    def exceptions() -> list[tuple[Any, ...]]:
        names = ("activity_id", "state", "first_seen_date", "last_seen_date", "resolved_date")
        return sorted(tuple(row) for row in engine.read(path).select(*names).collect())

    def close(day: date) -> None:
        close_day(session, settings, day, NOON)

    def meanwhile(*args: Any) -> None:
        monkeypatch.undo()
        close(DAY)
        upsert(*args)

    # The other close writes the table when what it said before is read and not yet written again.
    monkeypatch.setattr(type(engine), "upsert", meanwhile)
    close(before.date())
    both = ("BK-BOTH", "OPEN", before.date(), DAY, None)
    assert exceptions() == [both, ("BK-DRAWN", "OPEN", DAY, DAY, None)]

    # As an earlier build left it where two closes added to an empty table at once.
    engine.append(engine.read(path), "exceptions", path)
    late = event("AGODA", "BK-DRAWN", event_id="A1", event_time=after_midnight - timedelta(minutes=40))
    small_lake.append(settings, [late], 1000)
    close(before.date())
    assert exceptions() == [both, ("BK-DRAWN", "OPEN", before.date(), DAY, None)]
    close(DAY)
    assert exceptions() == [both, ("BK-DRAWN", "OPEN", before.date(), before.date(), None)]


def test_of_a_long_life_the_facts_since_it_was_last_seen_are_read() -> None:
    """By the text of what is asked: DuckDB's joins find out by themselves which days are needed, Spark's do not."""
    days = [DAY - timedelta(days=number) for number in (40, 30, 20, 10, 1)]
    key: Key = ("SUP-1", "BK-1")
    broken: dict[str, Risk] = {"MISSING_SUPPLIER": _RISKS[0]}
    with duckdb_session(Settings()) as session:
        lake = Lake(session)
        for day in [*days, DAY]:
            lake.close(day, {key: broken})
        lake.close(DAY, {key: {}})
        life = lake.lives[key, "MISSING_SUPPLIER"]
        views = session.engine._connection.execute("SELECT sql FROM duckdb_views()").fetchall()
    assert life == Life("RESOLVED", *_RISKS[0], days[0], days[-1], DAY)
    assert any(re.search(rf"reco_date > .{{0,9}}'{days[-1]}'", text.replace('"', "")) for (text,) in views if text)
