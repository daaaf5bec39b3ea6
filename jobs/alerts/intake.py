"""What is told of an exception, taken into the state: by the stream's messages, by a close, by the lake."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from jobs.alerts.model import SEVERITIES, Break, Life
from jobs.alerts.signature import from_explanation
from jobs.alerts.state import State
from reco_rules.vocabulary import FEED_SILENT

_Id = Annotated[str, Field(strict=True, min_length=1, max_length=256)]
_Name = Annotated[str, Field(strict=True, min_length=1, max_length=128)]
_MOST_USD = Decimal(10) ** 18


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


class _Said(BaseModel):
    """An exception's message (schemas/messages.py): what is taken from it, and how long it may be."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    exceptionId: _Id  # noqa: N815
    resultId: _Id  # noqa: N815
    supplierId: _Name  # noqa: N815
    activityId: _Name | None = None  # noqa: N815
    anomalyType: Annotated[str, Field(strict=True, pattern=r"^[A-Z][A-Z_]{0,63}\z")]  # noqa: N815
    state: Literal["OPEN", "PENDING", "RESOLVED"]
    heldBy: _Id | None = None  # noqa: N815
    severity: Annotated[str, Field(strict=True)] | None = None
    amountAtRiskUsd: Annotated[Decimal, Field(ge=-_MOST_USD, le=_MOST_USD)] | None = None  # noqa: N815
    explanation: Annotated[str, Field(strict=True)] | None = None

    @field_validator("amountAtRiskUsd", mode="before")
    @classmethod
    def _no_boolean(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError("must be a number")  # noqa: TRY004 what pydantic takes for a refusal
        return value


def read_change(value: bytes | None) -> Change | None:
    """The change that a message on the topic of results tells; None for a verdict.

    ValueError, RecursionError where it is neither: anybody may write to a topic, and what is taken is shown to people
    and read again at each start.
    """
    said = json.loads(value or b"null", parse_float=Decimal)
    if not isinstance(said, dict) or said.get("kind") not in ("VERDICT", "EXCEPTION"):
        raise ValueError("neither a verdict nor an exception")
    if said["kind"] == "VERDICT":
        return None
    try:
        told = _Said.model_validate(said)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ValueError(f"an exception with a wrong {first['loc'][0]}: {first['msg']}") from None
    return Change(
        id=told.exceptionId,
        supplier=told.supplierId,
        activity=told.activityId,
        kind=told.anomalyType,
        state=told.state,
        severity=told.severity if told.severity in SEVERITIES else "HIGH",
        amount=told.amountAtRiskUsd,
        by=told.resultId,
        held_by=told.heldBy,
        explanation=told.explanation,
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
