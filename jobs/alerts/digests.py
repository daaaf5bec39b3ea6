"""The message after a close; one for all where many come one upon another, as `reco daily --stale` makes them."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from jobs.alerts.lake import Close
from jobs.alerts.model import Digest
from jobs.alerts.state import State
from jobs.alerts.wording import money

#: A digest waits for further closes so long at most, seconds.
LONGEST = 3_600.0
#: Closes that one message names.
NAMED = 10


def add(state: State, close: Close, now: float, quiet: float) -> None:
    """Put the close into the digest that is not due yet, or begin one; it is due once no other came for `quiet` s.

    Those of one look at the lake, which have the same `now`, are of one digest.
    """
    waiting = [one for one in state.digests.values() if not one.told and (now < one.due or now == one.began)]
    digest = waiting[0] if waiting else Digest(close.id, "", [], now)
    digest.closes.append(
        {
            "title": close.title,
            "lines": list(close.lines),
            "facts": close.facts,
            "breaks": close.breaks,
            "amount": str(close.amount),
            "changed": close.changed,
            "moved": None if close.moved is None else str(close.moved),
        }
    )
    digest.due = min(now + quiet, digest.began + LONGEST)
    digest.title, digest.lines = _worded(digest.closes)
    state.put_digest(digest)


def _worded(closes: Sequence[dict[str, Any]]) -> tuple[str, list[str]]:
    """One close whole; of several the sums, and a line each of those that moved most money or have most at risk."""
    if len(closes) == 1:
        return closes[0]["title"], closes[0]["lines"]
    facts, breaks = (sum(one[name] for one in closes) for name in ("facts", "breaks"))
    lines = [f"{facts:,} activities: {breaks:,} breaks, {money(_sum(closes, 'amount'))} at risk"]
    again = [one for one in closes if one["moved"] is not None]
    if again:
        changed = sum(one["changed"] or 0 for one in again)
        lines.append(
            f"{len(again):,} closed again: {changed:,} facts changed since the revisions before, "
            f"{money(_sum(again, 'moved'))} moved"
        )
    weightiest = sorted(closes, key=lambda one: (-abs(Decimal(one["moved"] or 0)), -Decimal(one["amount"])))[:NAMED]
    lines += [_line(one) for one in closes if one in weightiest]
    if len(closes) > NAMED:
        lines.append(f"and {len(closes) - NAMED:,} more, which moved less")
    return f"{len(closes):,} closes", lines


def _line(close: dict[str, Any]) -> str:
    moved = "" if close["moved"] is None else f"; {money(Decimal(close['moved']))} moved"
    return f"{close['title']}: {close['breaks']:,} breaks, {money(Decimal(close['amount']))} at risk{moved}"


def _sum(closes: Sequence[dict[str, Any]], name: str) -> Decimal:
    return sum((Decimal(one[name]) for one in closes), Decimal(0))
