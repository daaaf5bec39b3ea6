"""What the alerting service knows: open breaks, incidents made of them, and what each sink was told."""

import json
from dataclasses import asdict, dataclass, field, fields
from decimal import Decimal
from enum import StrEnum
from hashlib import sha256
from typing import Any

SEVERITIES = ("LOW", "MEDIUM", "HIGH", "CRITICAL")


class Life(StrEnum):
    """A break's state here. HELD: open, and explained by a feed that is silent. PENDING and HELD never alert."""

    OPEN = "OPEN"
    PENDING = "PENDING"
    HELD = "HELD"


def rank(severity: str) -> int:
    """0 for LOW up to 3 for CRITICAL; what is unknown counts as HIGH, as what cannot be priced does."""
    return SEVERITIES.index(severity) if severity in SEVERITIES else SEVERITIES.index("HIGH")


def digest(*parts: str | None) -> str:
    """SHA-256 of the parts, which cannot run into each other, and where null is not the empty text."""
    return sha256("\x1f".join("\x00" if part is None else f"={part}" for part in parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Break:
    """One exception as it was told last. `since`: seconds since 1970, UTC, from when it may alert.

    `signature`: how it is broken, in a word that all breaks of one cause share; empty where nothing is known.
    `activity_type`: BOOKING, … where known. `is_looked_up`: both sides were looked for in the lake.
    `told_by`: the message or close that told it last, by which a repeat is known. `settled_by`: who resolved it in the
    console, while it has not come back; it does not alert. `came_back`: it did after somebody resolved it.
    """

    id: str
    supplier: str
    activity: str | None
    kind: str
    life: Life
    severity: str
    amount: Decimal | None
    since: float
    signature: str = ""
    activity_type: str = ""
    held_by: str | None = None
    is_looked_up: bool = False
    told_by: str = ""
    settled_by: str | None = None
    acknowledged_by: str | None = None
    came_back: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it alerts, from `since` on."""
        return self.life is Life.OPEN and self.settled_by is None


@dataclass(frozen=True, slots=True)
class Slot:
    """What makes breaks one incident: a supplier's cause (`kind` and `signature`), or else its `severity`."""

    supplier: str
    kind: str | None = None
    signature: str | None = None
    severity: str | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """An incident as it stands. `amount`: US dollars, without the `unpriced` breaks; `examples`: activity ids.

    `came_back`: breaks that somebody had resolved. `acknowledged_by`: who is at it, where somebody is at each break.
    """

    count: int = 0
    amount: Decimal = Decimal(0)
    unpriced: int = 0
    severity: str = "LOW"
    kinds: tuple[tuple[str, int], ...] = ()
    noun: str = ""
    suppliers: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    came_back: int = 0
    acknowledged_by: str | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What a sink was told last of an incident: when, how it stood, and what the sink calls its message.

    `loud`: when it last called for somebody's attention; what changes quietly after that is not counted.
    """

    at: float
    loud: float
    summary: Summary
    is_resolved: bool = False
    is_acknowledged: bool = False
    handle: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Incident:
    """Breaks of one slot. `due`: when it is first told. `empty_since`: from when nothing of it has been open.

    `children` are the incidents that a flood's message stands for, `flood` the incident that stands for this one.
    `peak`: the summary when it was largest, told when it is over. `is_alone`: it has a message of its own.
    `tried`: sinks that a first message was given to; noted before it is sent, since a crash leaves open whether it was.
    `acknowledged_by`: who said so of the whole incident.
    """

    id: str
    slot: Slot
    began: float
    due: float
    summary: Summary
    peak: Summary
    empty_since: float | None = None
    acknowledged_by: str | None = None
    is_alone: bool = False
    flood: str | None = None
    children: list[str] = field(default_factory=list)
    joined: float = 0.0
    tried: list[str] = field(default_factory=list)
    told: dict[str, Told] = field(default_factory=dict)

    @property
    def cared_for_by(self) -> str | None:
        """Who acknowledged it, as a whole or each of its breaks."""
        return self.acknowledged_by or self.summary.acknowledged_by

    @property
    def is_flood(self) -> bool:
        """Whether it stands for others."""
        return self.slot.supplier == ""


@dataclass(slots=True)
class Digest:
    """The message after a close, or after several that came one upon another.

    `lines`: its text; `told`: the sinks that have it; `due`: when it is sent, seconds since 1970; `closes`: those that
    it is of, each as `jobs.alerts.digests` sums it up.
    """

    id: str
    title: str
    lines: list[str]
    began: float
    told: list[str] = field(default_factory=list)
    due: float = 0.0
    closes: list[dict[str, Any]] = field(default_factory=list)


_OF_BREAK = [one.name for one in fields(Break)]


def to_json(item: Any) -> bytes:
    """A record of the state."""
    # A break holds nothing deep, and there may be a hundred thousand of them.
    data = {name: getattr(item, name) for name in _OF_BREAK} if isinstance(item, Break) else asdict(item)
    return json.dumps(data, default=str, ensure_ascii=False, separators=(",", ":")).encode()


def break_from(data: dict[str, Any]) -> Break:
    """The break of a record."""
    return Break(**{**data, "life": Life(data["life"]), "amount": _decimal(data["amount"])})


def incident_from(data: dict[str, Any]) -> Incident:
    """The incident of a record."""
    told = {name: Told(**{**value, "summary": _summary(value["summary"])}) for name, value in data["told"].items()}
    parts = {"slot": Slot(**data["slot"]), "summary": _summary(data["summary"]), "peak": _summary(data["peak"])}
    return Incident(**{**data, **parts, "told": told})


def _summary(data: dict[str, Any]) -> Summary:
    lists = {name: tuple(data[name]) for name in ("suppliers", "examples")}
    kinds = tuple((str(kind), int(count)) for kind, count in data["kinds"])
    return Summary(**{**data, **lists, "amount": Decimal(data["amount"]), "kinds": kinds})


def _decimal(text: str | None) -> Decimal | None:
    amount = None if text is None else Decimal(text)
    if amount is not None and not amount.is_finite():
        raise ValueError(f"the amount {text} is no number")
    return amount
