"""What a backtest found: summed over its closes, by supplier and kind, and whether it is within limits."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal

from jobs.common.policies import Change, Policies, changes_of
from jobs.daily.whatif import DayResult, Tally
from jobs.daily.whatif_edges import EXAMPLES, Edge, nearest_first

#: Keys of a policy that no close looks at: they decide what the stream does, or how a payload is read.
UNSEEN = ("mode", "versions", "format")
_COUNTS = tuple(name for name in Tally.__dataclass_fields__ if name not in ("supplier_id", "anomaly_type"))


@dataclass(frozen=True)
class SupplierResult:
    """One supplier over all closes: keys judged, keys whose breaks are others, tallies, examples, its changes."""

    supplier_id: str
    keys: int
    flips: int
    tallies: list[Tally] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)


@dataclass(frozen=True)
class Backtest:
    """A proposed file against the closes named, each judged anew by its own policies and by it."""

    backtest_id: str
    ran_at: datetime
    file: str
    file_hash: str
    closes: list[str]
    first_date: date
    last_date: date
    policy_versions: list[int]
    suppliers: list[SupplierResult]
    notes: list[str]

    @property
    def tallies(self) -> list[Tally]:
        """Of all suppliers."""
        return [tally for supplier in self.suppliers for tally in supplier.tallies]

    @property
    def flips(self) -> int:
        """Keys of a day that gain or lose a break."""
        return sum(supplier.flips for supplier in self.suppliers)

    @property
    def lost_usd(self) -> Decimal:
        """Money at risk of the lost breaks that have a price, US dollars."""
        return sum((tally.lost_usd for tally in self.tallies), Decimal(0))

    @property
    def lost_unpriced(self) -> int:
        """Lost breaks without a price."""
        return sum(tally.lost_unpriced for tally in self.tallies)


def by_supplier(results: list[DayResult], before: Policies, after: Policies) -> list[SupplierResult]:
    """The results of all days added up; `before`, `after`: the policies whose differences are told."""
    keys, flips = _summed(r.keys for r in results), _summed(r.flips for r in results)
    tallies: dict[tuple[str, str], Tally] = {}
    for one in (tally for result in results for tally in result.tallies):
        place = one.supplier_id, one.anomaly_type
        tallies[place] = _sum(tallies[place], one) if place in tallies else one
    edges = _nearest(edge for result in results for edge in result.edges)
    names = sorted({*keys, *(place[0] for place in tallies)})
    found = {name: SupplierResult(name, keys.get(name, 0), flips.get(name, 0)) for name in names}
    for place in sorted(tallies):
        found[place[0]].tallies.append(tallies[place])
    for edge in edges:
        found[edge.supplier_id].edges.append(edge)
    for name in names:
        found[name].changes.extend(changes_of(before, after, name))
    return list(found.values())


def _summed(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in counts:
        for name, count in one.items():
            total[name] = total.get(name, 0) + count
    return total


def _sum(one: Tally, other: Tally) -> Tally:
    sums = {name: getattr(one, name) + getattr(other, name) for name in _COUNTS}
    return Tally(one.supplier_id, one.anomaly_type, **sums)


def _nearest(edges: Iterable[Edge]) -> list[Edge]:
    taken: dict[tuple[str, str, str], int] = {}
    kept = []
    for edge in sorted(edges, key=nearest_first):
        place = edge.supplier_id, edge.anomaly_type, edge.change
        taken[place] = taken.get(place, 0) + 1
        if taken[place] <= EXAMPLES:
            kept.append(edge)
    return kept


def unseen(suppliers: list[SupplierResult]) -> list[str]:
    """What the file changes without a close seeing it."""
    notes = []
    for key in UNSEEN:
        names = [one.supplier_id for one in suppliers if any(change.key == key for change in one.changes)]
        if names:
            some = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
            notes.append(
                f"{key} changes for {len(names):,} of the suppliers ({some}); no close looks at it, so nothing above "
                "shows what it does."
            )
    return notes


def passed_limits(found: Backtest, max_lost_usd: Decimal | None, max_flips: int | None) -> list[str]:
    """A sentence for every limit that the result is over; none where it may pass."""
    over = []
    if max_lost_usd is not None and found.lost_usd > max_lost_usd:
        over.append(
            f"The lost breaks have {cents(found.lost_usd)} USD at risk, more than --max-lost-usd {max_lost_usd:,f}."
        )
    if max_lost_usd is not None and found.lost_unpriced:
        over.append(
            f"{found.lost_unpriced:,} lost breaks have no price, so nobody can say that --max-lost-usd holds: load "
            "rates with `reco fx load FILE`, close the days again, and repeat."
        )
    if max_flips is not None and found.flips > max_flips:
        over.append(f"{found.flips:,} keys gain or lose a break, more than --max-flips {max_flips:,}.")
    return over


def as_dict(found: Backtest) -> dict[str, object]:
    """The result as plain values, with its sums."""
    sums = {"flips": found.flips, "lost_usd": found.lost_usd, "lost_unpriced": found.lost_unpriced}
    sums["gained_usd"] = sum((tally.gained_usd for tally in found.tallies), Decimal(0))
    sums["moved_usd"] = sum((tally.after_usd - tally.before_usd for tally in found.tallies), Decimal(0))
    return {**asdict(found), **sums}


def cents(value: Decimal) -> str:
    """Dollars as people read them, rounded half up to cents: `1,234.50`."""
    return f"{value.quantize(Decimal('0.01'), ROUND_HALF_UP):,f}"
