"""What is told of an exception, taken into the state: by the stream's messages, by a close, by the lake."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from jobs.alerts.model import Break, Life
from jobs.alerts.signature import from_explanation
from jobs.alerts.state import State
from reco_rules.vocabulary import FEED_SILENT


@dataclass(frozen=True, slots=True)
class Change:
    """One exception as it is told. `state`: PENDING, OPEN or RESOLVED. `by`: the message's id, or the close's."""

    id: str
    supplier: str
    activity: str | None
    kind: str
    state: str
    severity: str
    amount: Decimal | None
    by: str
    held_by: str | None = None
    explanation: str | None = None
    is_final: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the lake says of a break: its signature, and the activity's type where known."""

    signature: str
    activity_type: str


def read_change(value: bytes | None) -> Change | None:
    """The change that a message on the topic of results tells; None for a verdict. ValueError where it is neither."""
    said = json.loads(value or b"null", parse_float=Decimal)
    if not isinstance(said, dict) or said.get("kind") not in ("VERDICT", "EXCEPTION"):
        raise ValueError("neither a verdict nor an exception")
    if said["kind"] == "VERDICT":
        return None
    texts = [said.get(name) for name in ("exceptionId", "supplierId", "anomalyType", "state", "resultId")]
    if not all(isinstance(text, str) and text for text in texts) or said["state"] not in (*Life, "RESOLVED"):
        raise ValueError("an exception without id, supplier, type or state")
    amount = said.get("amountAtRiskUsd")
    return Change(
        id=said["exceptionId"],
        supplier=said["supplierId"],
        activity=said.get("activityId"),
        kind=said["anomalyType"],
        state=said["state"],
        severity=said.get("severity") or "HIGH",
        amount=None if amount is None else Decimal(amount),
        by=said["resultId"],
        held_by=said.get("heldBy"),
        explanation=said.get("explanation"),
    )


def take(state: State, change: Change, now: float, release: int) -> None:
    """Take up a change; one that was taken up before changes nothing. `release` in seconds: Group.release.

    A close does not open what the stream still waits for, or what it knows to be held by a silent feed.
    """
    known = state.breaks.get(change.id)
    if change.state == "RESOLVED":
        state.remove(change.id)
        if change.kind == FEED_SILENT:
            let_go(state, change.id, now, release)
        return
    life = Life.PENDING if change.state == "PENDING" else Life.HELD if change.held_by else Life.OPEN
    held_by = change.held_by if life is Life.HELD else None
    if change.is_final and known is not None:
        life, held_by = known.life, known.held_by
    if known is not None and known.told_by == change.by and known.life is life:
        return
    since = known.since if known is not None and known.life is life else now
    signature = from_explanation(change.kind, change.explanation)
    if known is not None and (known.is_looked_up or change.explanation is None):
        signature = known.signature  # until both sides are looked up again
    state.put(
        Break(
            id=change.id,
            supplier=change.supplier,
            activity=change.activity,
            kind=change.kind,
            life=life,
            severity=change.severity,
            amount=change.amount,
            since=since,
            signature=signature,
            activity_type=known.activity_type if known is not None else "",
            held_by=held_by,
            told_by=change.by,
            settled_by=known.settled_by if known is not None else None,
            acknowledged_by=known.acknowledged_by if known is not None else None,
            came_back=known is not None and known.came_back,
        )
    )


def hold(state: State, silence: str, break_ids: Iterable[str], now: float) -> None:
    """A silent feed's exception explains these breaks: they do not alert."""
    for break_id in break_ids:
        known = state.breaks.get(break_id)
        if known is not None and known.life is Life.OPEN:
            state.put(replace(known, life=Life.HELD, held_by=silence, since=now))


def let_go(state: State, silence: str, now: float, release: int) -> None:
    """A feed spoke again: what it held and is not answered in `release` seconds alerts."""
    for break_id in sorted(state.held.get(silence, ())):
        known = state.breaks[break_id]
        state.put(replace(known, life=Life.OPEN, held_by=None, since=now + release))
        state.wake(known.supplier, now + release)


def let_orphans_go(state: State, now: float, release: int) -> None:
    """What is held by a silence that nobody tells of any more would never alert: after `release` seconds it does.

    Messages of one feed and of its activities lie in several partitions, so that their order is not certain.
    """
    for silence in [name for name in state.held if name not in state.breaks]:
        if all(state.breaks[name].since + release <= now for name in state.held[silence]):
            let_go(state, silence, now, 0)


def prove(state: State, asked: Iterable[str], found: Mapping[str, Evidence]) -> None:
    """Note what the lake says of the breaks it was asked for; of what it does not know the sentence counts."""
    for break_id in asked:
        known = state.breaks.get(break_id)
        if known is None:
            continue
        proof = found.get(break_id)
        told: dict[str, Any] = {"is_looked_up": True}
        if proof is not None:
            told |= {"signature": proof.signature, "activity_type": proof.activity_type}
        state.put(replace(known, **told))
