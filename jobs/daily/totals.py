"""Control totals and content hash: what came in is what went out, and what went out has a name."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal

from pyspark.sql import Column, DataFrame, Row

from jobs.common.engines import engine_of
from jobs.common.engines.digest import HASH_SUMS
from jobs.common.errors import FAILED, UserError
from jobs.daily.flaws import flaws_in, flaws_of
from reco_rules.clock import millis
from reco_rules.engine import F
from reco_rules.vocabulary import KEY, Side
from schemas.types import USD

_ZERO = Decimal("0.000000")
_ROOM = Decimal(10) ** (USD.precision - USD.scale)
#: Both engines sum up in 38 digits, of which Python's own context would refuse the last ten.
_AS_SUMMED = Context(prec=38)


@dataclass
class ControlTotal:
    """One supplier's side: what came in against what the verdicts hold, keys and US dollars."""

    supplier_id: str
    side: str
    keys_in: int = 0
    matched: int = 0
    mismatched: int = 0
    missing: int = 0
    amount_in_usd: Decimal = _ZERO
    matched_usd: Decimal = _ZERO
    mismatched_usd: Decimal = _ZERO
    missing_usd: Decimal = _ZERO
    key_sum_in: int = 0
    key_sum_out: int = 0

    def differences(self) -> tuple[int, Decimal]:
        """Keys and dollars that came in and are in no verdict; zero where it balances."""
        keys = self.keys_in - self.matched - self.mismatched - self.missing
        return keys, self.amount_in_usd - self.matched_usd - self.mismatched_usd - self.missing_usd


@dataclass
class Profile:
    """What one pass over a day's facts says of them."""

    facts: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    totals: list[ControlTotal] = field(default_factory=list)
    facts_hash: str = ""
    by_supplier: dict[tuple[str, str], int] = field(default_factory=dict)
    flaws: dict[tuple[str, str], dict[str, int]] = field(default_factory=dict)
    #: By side, in milliseconds since 1970: PySpark makes no time of the first day of all.
    newest_event: dict[str, int] = field(default_factory=dict)


def hash_sums(digest: Column) -> list[Column]:
    """Aggregates whose values do not depend on the rows' order: four sums of 32 bits of every row's digest.

    The sum of two billion of them still fits.
    """
    return [F.sum(digest[name]).alias(name) for name in HASH_SUMS]


def key_sum(counts: Column) -> Column:
    """Aggregate over the keys where `counts` holds: two multisets of keys that have the same sum are the same.

    32 bits of every key's hash: the sum of two billion of them still fits.
    """
    return F.coalesce(F.sum(F.when(counts, F.shiftrightunsigned(F.xxhash64(*KEY), 32))), F.lit(0))


def content_hash(counted: Iterable[Sequence[object]]) -> str:
    """SHA-256 over counts and sums of digests."""
    return hashlib.sha256("|".join(":".join(map(str, part)) for part in counted).encode()).hexdigest()


def input_totals(came_in: DataFrame) -> DataFrame:
    """Counted before any verdict, one row a supplier; for each side `_keys`, `_usd` and `_key_sum`.

    `came_in`: what `verdicts.priced` gives.
    """
    return came_in.groupBy("supplier_id").agg(*[column for side in Side for column in _side_sums(side)])


def _side_sums(side: Side) -> list[Column]:
    version = F.col(f"{side.prefix}_version")
    return [
        F.count(version).alias(f"{side.prefix}_keys"),
        F.sum(f"{side.prefix}_amount_usd").alias(f"{side.prefix}_usd"),
        key_sum(version.isNotNull()).alias(f"{side.prefix}_key_sum"),
    ]


def fact_totals(facts: DataFrame) -> DataFrame:
    """One row a supplier, outcome and combination of flaws: facts, and a side's keys, dollars, newest event; hash."""
    newest = [millis(F.max(f"{side.prefix}_event_time")).alias(f"{side.prefix}_newest") for side in Side]
    return (
        engine_of(facts.sparkSession)
        .with_digest(facts, "reconciliation_facts")
        .withColumn("flaws", flaws_of())
        .groupBy("supplier_id", "outcome", "flaws")
        .agg(
            F.count(F.lit(1)).alias("facts"),
            *[column for side in Side for column in _side_sums(side)],
            *newest,
            *hash_sums(F.col("digest")),
        )
    )


def profile(came_in: DataFrame, facts: DataFrame) -> Profile:
    """Run both counts and put them beside each other."""
    return assemble(input_totals(came_in).collect(), fact_totals(facts).collect())


def assemble(came_in: Sequence[Row], went_out: Sequence[Row]) -> Profile:
    """Both counts as one profile, sorted by supplier and side."""
    totals: dict[tuple[str, str], ControlTotal] = {}
    found = Profile()

    def total(supplier_id: str, side: Side) -> ControlTotal:
        return totals.setdefault((supplier_id, side.value), ControlTotal(supplier_id, side.value))

    for row in came_in:
        for side in Side:
            if row[f"{side.prefix}_keys"]:
                entry = total(row["supplier_id"], side)
                entry.keys_in, entry.amount_in_usd = row[f"{side.prefix}_keys"], _dollars(row[f"{side.prefix}_usd"])
                entry.key_sum_in = row[f"{side.prefix}_key_sum"]
    for row in went_out:
        found.facts += row["facts"]
        _note_flaws(found, row)
        found.outcomes[row["outcome"]] = found.outcomes.get(row["outcome"], 0) + row["facts"]
        kind = {"MATCHED": "matched", "MISMATCHED": "mismatched"}.get(row["outcome"], "missing")
        for side in Side:
            if row[f"{side.prefix}_keys"]:
                entry = total(row["supplier_id"], side)
                setattr(entry, kind, getattr(entry, kind) + row[f"{side.prefix}_keys"])
                setattr(entry, f"{kind}_usd", getattr(entry, f"{kind}_usd") + _dollars(row[f"{side.prefix}_usd"]))
                entry.key_sum_out += row[f"{side.prefix}_key_sum"]
                newest = found.newest_event.get(side.value, row[f"{side.prefix}_newest"])
                found.newest_event[side.value] = max(newest, row[f"{side.prefix}_newest"])
    found.totals = [totals[key] for key in sorted(totals, key=lambda key: (key[0] or "", key[1]))]
    sums = [sum((int(row[name]) for row in went_out), 0) for name in HASH_SUMS]
    found.facts_hash = content_hash([("facts", found.facts, *sums)])
    return found


def _note_flaws(found: Profile, row: Row) -> None:
    group = (row["supplier_id"], row["outcome"])
    found.by_supplier[group] = found.by_supplier.get(group, 0) + row["facts"]
    counts = found.flaws.setdefault(group, {})
    for flaw in flaws_in(row["flaws"]):
        counts[flaw] = counts.get(flaw, 0) + row["facts"]


def require_balance(day: object, totals: Iterable[ControlTotal]) -> None:
    """UserError that names the first supplier and side whose totals differ, or are more than the tables hold."""
    for entry in totals:
        require_room(day, f"{entry.supplier_id}, side {entry.side},", entry.amount_in_usd)
        keys, dollars = entry.differences()
        if keys or dollars:
            raise UserError(
                f"The close of {day} does not balance: {entry.supplier_id}, side {entry.side}, has {keys} keys and "
                f"{dollars} USD that came in and are in no verdict; nothing was written. Please report this with "
                "the output of `reco daily --dry-run`.",
                FAILED,
            )


def require_room(day: object, whose: str, dollars: Decimal) -> None:
    """UserError where a sum of a day is more than a column of US dollars holds."""
    if abs(dollars) >= _ROOM:
        raise UserError(
            f"The close of {day} cannot be written: the amounts of {whose} add up to {dollars:.3E} USD, and the tables "
            f"hold sums under {_ROOM:.0E} USD; nothing was written. Look for a wrong rate (`reco fx show`) or wrong "
            "amounts.",
            FAILED,
        )


def _dollars(value: Decimal | None) -> Decimal:
    return _ZERO if value is None else Decimal(value).quantize(_ZERO, context=_AS_SUMMED)
