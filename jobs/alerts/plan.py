"""What is to be told now, to whom: group wait, interval, repeat, floods, fallbacks, planned work."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum

from jobs.alerts.floods import gather_floods, is_silenced, sinks_of
from jobs.alerts.model import Digest, Incident, Summary, Told, rank
from jobs.alerts.routes import Routes
from jobs.alerts.sink_config import AlertmanagerSink, EmailSink
from jobs.alerts.state import State

#: How long a digest, or the end of what it was never seen to take, is offered to a sink that fails, seconds.
GIVE_UP_SECONDS = 86_400


class Action(StrEnum):
    """TRIGGER: the first message. UPDATE: it has changed, quietly. REMIND: aloud, since it lasts or got worse."""

    TRIGGER = "trigger"
    UPDATE = "update"
    REMIND = "remind"
    ACKNOWLEDGE = "acknowledge"
    RESOLVE = "resolve"
    DIGEST = "digest"


@dataclass(frozen=True)
class Delivery:
    """One message to one sink. `handle`: what the sink called its message; `instead_of`: the sink that does not answer.

    `summary`: the incident as it stood when this was planned. `elsewhere`: open breaks of its supplier in other ones.
    """

    sink: str
    action: Action
    incident: Incident | None = None
    digest: Digest | None = None
    summary: Summary = field(default_factory=Summary)
    handle: dict[str, str] = field(default_factory=dict)
    instead_of: str | None = None
    elsewhere: int = 0

    @property
    def item(self) -> str:
        """The id of what is told."""
        return self.incident.id if self.incident is not None else self.digest.id if self.digest is not None else ""


#: Whether a sink has been failing, with all or with that item, for so long that its fallback takes over.
IsDown = Callable[[str, str], bool]


def plan(state: State, routes: Routes, is_down: IsDown, now: float) -> list[Delivery]:
    """Everything that is due at that moment (seconds since 1970), the most urgent first.

    Incidents that are over and of which everybody knows are let go.
    """
    _let_go(state, routes, now)
    gather_floods(state, routes, now)
    found: list[Delivery] = []
    for incident in state.incidents.values():
        if incident.is_alone or incident.is_flood:
            for delivery in _due(incident, routes, is_down, now):
                is_over = delivery.action is Action.RESOLVE
                found.append(replace(delivery, elsewhere=_elsewhere(state, incident)) if is_over else delivery)
    for digest in list(state.digests.values()):
        wanted = [name for name in routes.digest if name not in digest.told]
        if not wanted or now - digest.began > GIVE_UP_SECONDS:
            state.remove_digest(digest.id)
            continue
        if now < digest.due:
            continue
        for name, instead_of in _with_fallbacks(wanted, digest.id, routes, is_down).items():
            if name not in digest.told:
                found.append(Delivery(name, Action.DIGEST, digest=digest, instead_of=instead_of))
    return sorted(found, key=_urgency)


def delivered(state: State, delivery: Delivery, handle: dict[str, str], now: float) -> None:
    """The sink took the message; `handle` is what it calls it."""
    if delivery.digest is not None:
        if (digest := state.digests.get(delivery.digest.id)) is not None:
            digest.told += [delivery.sink]
            state.put_digest(digest)
        return
    assert delivery.incident is not None
    incident = state.incidents.get(delivery.incident.id)
    if incident is None:
        return
    before = incident.told.get(delivery.sink)
    is_loud = delivery.action in (Action.TRIGGER, Action.REMIND) or before is None
    incident.told[delivery.sink] = Told(
        at=now,
        loud=now if is_loud or before is None else before.loud,
        summary=delivery.summary,
        is_resolved=delivery.action is Action.RESOLVE,
        is_acknowledged=delivery.action is Action.ACKNOWLEDGE
        or (before is not None and before.is_acknowledged and incident.cared_for_by is not None),
        handle=handle or (before.handle if before is not None else {}),
    )
    state.add(incident)


def trying(state: State, delivery: Delivery) -> None:
    """A message is about to be given to its sink; to be noted before it is."""
    incident = delivery.incident
    if incident is not None and delivery.sink not in (*incident.tried, *incident.told):
        incident.tried.append(delivery.sink)
        state.add(incident)


def acknowledge(state: State, incident_id: str, by: str) -> bool:
    """Somebody is at it: it is not repeated. False where there is no such incident."""
    incident = state.incidents.get(incident_id)
    if incident is None:
        return False
    incident.acknowledged_by = by
    state.add(incident)
    return True


def is_over(incident: Incident, routes: Routes, now: float) -> bool:
    """Whether nothing of it has been open for as long as a group waits; breaks that flutter do not end it."""
    return incident.empty_since is not None and now >= incident.empty_since + routes.group.wait


def _let_go(state: State, routes: Routes, now: float) -> None:
    for incident in list(state.incidents.values()):
        if not is_over(incident, routes, now):
            continue
        if not any(_must_hear(incident, name, now) for name in routes.sinks):  # also where nobody was ever told
            state.close(incident.id)
            if incident.flood in state.incidents:
                state.stale.add("")


def _must_hear(incident: Incident, name: str, now: float) -> bool:
    """Whether a sink may show an incident as going on that is over. One that never said it took it is left at last."""
    told = incident.told.get(name)
    if told is None:
        return name in incident.tried and now < (incident.empty_since or now) + GIVE_UP_SECONDS
    return not told.is_resolved


def _due(incident: Incident, routes: Routes, is_down: IsDown, now: float) -> Iterator[Delivery]:
    over, quiet = is_over(incident, routes, now), is_silenced(incident, routes, now)
    wanted = [] if over or quiet else sinks_of(incident, routes, now)
    heard = [*incident.told, *incident.tried]
    sinks: dict[str, str | None] = {name: None for name in heard if name in routes.sinks}
    sinks |= _with_fallbacks(wanted, incident.id, routes, is_down)
    for name, instead_of in sinks.items():
        told = incident.told.get(name)
        action = _action(incident, told, routes, name, over=over, quiet=quiet, now=now)
        if action is not None:
            handle = told.handle if told is not None else {}
            yield Delivery(name, action, incident, None, incident.summary, handle, instead_of)


def _elsewhere(state: State, incident: Incident) -> int:
    """A break may go over into another incident, of a cause or a severity: then it is not over."""
    others = state.slots.get(incident.slot.supplier, {}).values() if incident.slot.supplier else ()
    return sum(state.incidents[name].summary.count for name in others if name != incident.id)


def _action(
    incident: Incident, told: Told | None, routes: Routes, name: str, *, over: bool, quiet: bool, now: float
) -> Action | None:
    sink, group, summary = routes.sinks[name], routes.group, incident.summary
    if over:
        return Action.RESOLVE if _must_hear(incident, name, now) else None
    if quiet or incident.empty_since is not None:
        return None
    if told is None or told.is_resolved:
        return Action.TRIGGER if now >= incident.due else None
    if incident.cared_for_by and not told.is_acknowledged:
        return Action.ACKNOWLEDGE
    if now >= told.loud + group.repeat and not incident.cared_for_by:
        return Action.REMIND
    if now >= told.at + group.interval and summary != told.summary:
        if rank(summary.severity) > rank(told.summary.severity):
            return Action.REMIND
        # A mail cannot be changed: another one is only sent when it has become twice as many.
        if not isinstance(sink, EmailSink) or summary.count >= 2 * told.summary.count:
            return Action.UPDATE
    if isinstance(sink, AlertmanagerSink) and now >= told.at + sink.refresh:
        return Action.UPDATE
    return None


def _with_fallbacks(names: list[str], item: str, routes: Routes, is_down: IsDown) -> dict[str, str | None]:
    """The sinks, and after each that is down what stands in for it, and for which."""
    found: dict[str, str | None] = dict.fromkeys(names)
    for name in names:
        stand_in, before = name, {name}
        while is_down(stand_in, item) and (following := routes.sinks[stand_in].fallback) and following not in before:
            before.add(following)
            stand_in = following
            found.setdefault(stand_in, name)
    return found


def _urgency(delivery: Delivery) -> tuple[int, int, float, str, str]:
    first = (Action.TRIGGER, Action.REMIND, Action.RESOLVE, Action.ACKNOWLEDGE, Action.DIGEST, Action.UPDATE)
    began = delivery.incident.began if delivery.incident is not None else delivery.digest.began  # type: ignore[union-attr]
    return -rank(delivery.summary.severity), first.index(delivery.action), began, delivery.item, delivery.sink
