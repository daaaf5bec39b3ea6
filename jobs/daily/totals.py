"""Control totals and content hash: what came in is what went out, and what went out has a name."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType, DateType, StringType, TimestampType

from jobs.common.errors import FAILED, UserError
from jobs.daily.flaws import flaws_in, flaws_of
from reco_rules.clock import millis
from reco_rules.identity import NULL_MARK, SEPARATOR
from reco_rules.money import usd
from reco_rules.vocabulary import KEY, Side
from schemas.tables import TABLES

_ZERO = Decimal("0.000000")


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
    newest_event: dict[str, datetime] = field(default_factory=dict)


def row_digest(name: str) -> Column:
    """SHA-256 over every column of a table's row but `close_id`: times in milliseconds, null and lengths marked."""
    fields = [f for f in TABLES[name].schema.fields if f.name != "close_id"]
    return F.sha2(F.concat_ws(SEPARATOR, *[_canonical(F.col(f.name), f.dataType) for f in fields]), 256)


def _canonical(value: Column, kind: DataType) -> Column:
    if isinstance(kind, ArrayType):
        text = F.to_json(value)
    elif isinstance(kind, TimestampType):
        text = millis(value).cast("string")
    elif isinstance(kind, DateType):
        text = F.date_format(value, "yyyy-MM-dd")
    else:
        text = value.cast("string")
    if isinstance(kind, StringType):
        text = F.concat(F.length(text).cast("string"), F.lit(":"), text)
    return F.coalesce(text, F.lit(NULL_MARK))


def hash_sums(digest: Column) -> list[Column]:
    """Aggregates whose values do not depend on the rows' order: two sums of 60 bits of every row's digest."""
    parts = [F.conv(F.substring(digest, start, 15), 16, 10).cast("decimal(20,0)") for start in (1, 16)]
    return [F.sum(part).alias(f"hash_{number}") for number, part in enumerate(parts, start=1)]


def key_sum(counts: Column) -> Column:
    """Aggregate over the keys where `counts` holds: two multisets of keys that have the same sum are the same.

    32 bits of every key's hash: the sum of two billion of them still fits.
    """
    return F.coalesce(F.sum(F.when(counts, F.shiftrightunsigned(F.xxhash64(*KEY), 32))), F.lit(0))


def content_hash(counted: Iterable[Sequence[object]]) -> str:
    """SHA-256 over counts and sums of digests."""
    return hashlib.sha256("|".join(":".join(map(str, part)) for part in counted).encode()).hexdigest()


def input_totals(sides: DataFrame, rates: DataFrame) -> DataFrame:
    """Keys and dollars counted before any verdict: `supplier_id, side, keys_in, amount_in_usd, key_sum`."""
    fx_date = F.to_date(F.coalesce(F.col("agoda_latest")["event_time"], F.col("supplier_latest")["event_time"]))
    long = None
    for side in Side:
        latest = F.col(f"{side.prefix}_latest")
        rows = sides.where(latest.isNotNull()).select(
            *KEY,
            F.lit(side.value).alias("side"),
            fx_date.alias("fx_date"),
            latest["currency"].alias("fx_currency"),
            latest["amount_minor"].alias("amount_minor"),
        )
        long = rows if long is None else long.unionByName(rows)
    assert long is not None
    amount = usd(F.col("amount_minor"), F.col("usd_per_minor"))
    return (
        long.join(rates, on=["fx_date", "fx_currency"], how="left")
        .groupBy("supplier_id", "side")
        .agg(
            F.count(F.lit(1)).alias("keys_in"),
            F.coalesce(F.sum(amount), F.lit(0)).alias("amount_in_usd"),
            key_sum(F.lit(True)).alias("key_sum"),
        )
    )


def fact_totals(facts: DataFrame) -> DataFrame:
    """One row a supplier, outcome and combination of flaws: facts, and a side's keys, dollars, newest event; hash."""
    sides = [
        column
        for side in Side
        for column in (
            F.count(F.col(f"{side.prefix}_version")).alias(f"{side.prefix}_keys"),
            F.coalesce(F.sum(f"{side.prefix}_amount_usd"), F.lit(0)).alias(f"{side.prefix}_usd"),
            key_sum(F.col(f"{side.prefix}_version").isNotNull()).alias(f"{side.prefix}_key_sum"),
            F.max(f"{side.prefix}_event_time").alias(f"{side.prefix}_newest"),
        )
    ]
    return (
        facts.withColumn("digest", row_digest("reconciliation_facts"))
        .withColumn("flaws", flaws_of())
        .groupBy("supplier_id", "outcome", "flaws")
        .agg(
            F.count(F.lit(1)).alias("facts"),
            *sides,
            *hash_sums(F.col("digest")),
        )
    )


def profile(sides: DataFrame, facts: DataFrame, rates: DataFrame) -> Profile:
    """Run both counts and put them beside each other."""
    return assemble(input_totals(sides, rates).collect(), fact_totals(facts).collect())


def assemble(came_in: Sequence[Row], went_out: Sequence[Row]) -> Profile:
    """Both counts as one profile, sorted by supplier and side."""
    totals: dict[tuple[str, str], ControlTotal] = {}
    found = Profile()

    def total(supplier_id: str, side: Side) -> ControlTotal:
        return totals.setdefault((supplier_id, side.value), ControlTotal(supplier_id, side.value))

    for row in came_in:
        entry = total(row["supplier_id"], Side(row["side"]))
        entry.keys_in, entry.amount_in_usd = row["keys_in"], _dollars(row["amount_in_usd"])
        entry.key_sum_in = row["key_sum"]
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
    found.totals = [totals[key] for key in sorted(totals)]
    sums = [sum((int(row[name]) for row in went_out), 0) for name in ("hash_1", "hash_2")]
    found.facts_hash = content_hash([("facts", found.facts, *sums)])
    return found


def _note_flaws(found: Profile, row: Row) -> None:
    group = (row["supplier_id"], row["outcome"])
    found.by_supplier[group] = found.by_supplier.get(group, 0) + row["facts"]
    counts = found.flaws.setdefault(group, {})
    for flaw in flaws_in(row["flaws"]):
        counts[flaw] = counts.get(flaw, 0) + row["facts"]


def require_balance(day: object, totals: Iterable[ControlTotal]) -> None:
    """UserError that names the first supplier and side whose totals differ."""
    for entry in totals:
        keys, dollars = entry.differences()
        if keys or dollars:
            raise UserError(
                f"The close of {day} does not balance: {entry.supplier_id}, side {entry.side}, has {keys} keys and "
                f"{dollars} USD that came in and are in no verdict; nothing was written. Please report this with "
                "the output of `reco daily --dry-run`.",
                FAILED,
            )


def _dollars(value: Decimal | None) -> Decimal:
    return _ZERO if value is None else Decimal(value).quantize(_ZERO)
