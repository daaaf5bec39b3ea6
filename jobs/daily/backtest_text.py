"""A backtest as a person reads it."""

from collections.abc import Sequence
from decimal import Decimal

from jobs.common.margins import duration
from jobs.common.output import plain_decimal, print_table, printable, say, shown
from jobs.common.policy_file import written, written_value
from jobs.daily.backtest_result import Backtest, cents
from jobs.daily.whatif_edges import Edge

#: Examples and changes, and rows of the breaks, that are printed; --json has them all.
_PRINTED, _ROWS = 20, 40
MEANING = (
    "Lost: a break that a close's own policies report and this file would not; gained: one that this file would report "
    "and they do not; reweighed: reported by both, with another severity. Money is what is at risk, US dollars."
)


def show(found: Backtest, over: Sequence[str], saved: bool, gated: bool) -> None:
    """Print the whole result, and what the gate says of it."""
    say(headline(found), MEANING, "")
    _show_changes(found)
    _show_tallies(found)
    _show_edges(found)
    say(*sums(found), *found.notes)
    if saved:
        say(f"Saved in gold/policy_backtests as {found.backtest_id}; the console shows it under Suppliers.")
    if over:
        say(*over, "Over the limits: exit code 3.")
    elif gated:
        say("Within the limits.")


def headline(found: Backtest) -> str:
    """What was tested on what."""
    keys = sum(supplier.keys for supplier in found.suppliers)
    versions = ", ".join(map(str, found.policy_versions))
    plural = "s" if len(found.closes) > 1 else ""
    return (
        f"{printable(found.file)} against {len(found.closes)} close{plural} of {found.first_date} to "
        f"{found.last_date}, {keys:,} keys, closed under policy version {versions}; nothing was applied."
    )


def sums(found: Backtest) -> list[str]:
    """All suppliers and kinds in a sentence."""
    lost, gained = sum(tally.lost for tally in found.tallies), sum(tally.gained for tally in found.tallies)
    gained_usd = sum((tally.gained_usd for tally in found.tallies), Decimal(0))
    moved = sum((tally.after_usd - tally.before_usd for tally in found.tallies), Decimal(0))
    if not (lost or gained):
        return ["No break is lost or gained."]
    sign = "+" if moved > 0 else ""
    told = (
        f"{found.flips:,} keys gain or lose a break: {lost:,} breaks with {cents(found.lost_usd)} USD are lost, "
        f"{gained:,} with {cents(gained_usd)} USD gained; money at risk moves by {sign}{cents(moved)} USD."
    )
    return [told]


def _show_changes(found: Backtest) -> None:
    rows = [
        [s.supplier_id, written(c.key), written_value(c.key, c.before), written_value(c.key, c.after)]
        for s in found.suppliers
        for c in s.changes
    ]
    if not rows:
        say("The file says of these suppliers what the last of the closes went by.", "")
        return
    print_table(
        f"What the file changes for them (first {_PRINTED})", ["supplier", "key", "now", "proposed"], rows[:_PRINTED]
    )
    say("")


def _show_tallies(found: Backtest) -> None:
    changed = [t for t in found.tallies if t.lost or t.gained or t.reweighed or t.before_usd != t.after_usd]
    in_order = sorted(changed, key=lambda t: (-t.lost_usd - t.gained_usd, -t.lost - t.gained, t.supplier_id))
    rows = [
        [
            *(t.supplier_id, t.anomaly_type, t.lost, cents(t.lost_usd), t.gained, cents(t.gained_usd), t.reweighed),
            *(cents(t.before_usd), cents(t.after_usd), cents(t.after_usd - t.before_usd)),
        ]
        for t in in_order[:_ROWS]
    ]
    if rows:
        columns = ["supplier", "kind", "lost", "lost USD", "gained", "gained USD", "reweighed"]
        print_table("Breaks by supplier and kind", [*columns, "at risk now", "proposed", "moved USD"], rows)
        more = len(in_order) - len(rows)
        say(f"{more:,} more, with less money, with --json." if more else "")


def _show_edges(found: Backtest) -> None:
    edges = [edge for supplier in found.suppliers for edge in supplier.edges]
    if not edges:
        return
    columns = ["day", "supplier", "activity", "kind", "", "values", "limit now", "margin", "proposed", "margin", "USD"]
    rows = [
        [
            *(str(e.reco_date), e.supplier_id, e.activity_id, e.anomaly_type, e.change.lower(), e.measured),
            *(e.limit_before, margin(e, e.margin_before), e.limit_after, margin(e, e.margin_after)),
            shown(None) if e.amount_at_risk_usd is None else cents(e.amount_at_risk_usd),
        ]
        for e in edges[:_PRINTED]
    ]
    print_table("Examples at the edge: the changed breaks that are nearest to the proposed limit", columns, rows)
    if len(edges) > _PRINTED:
        say(f"{len(edges) - _PRINTED} more with --json.")
    say("")


def margin(edge: Edge, value: Decimal | None) -> str | None:
    """How far from the limit, on which side of it; None where nothing is measured."""
    if value is None:
        return None
    distance = duration(abs(value)) if edge.unit == "s" else f"{plain_decimal(abs(value))} {edge.unit}"
    if not value:
        return "at the limit"
    return f"{distance} over" if value < 0 else f"{distance} to spare"
