"""Floods: where too many incidents begin at once, one message stands for all of them."""

from jobs.alerts.incidents import begin, merged
from jobs.alerts.model import Incident, Slot
from jobs.alerts.routes import Routes
from jobs.alerts.state import State


def gather_floods(state: State, routes: Routes, now: float) -> None:
    """Where too many incidents begin at once, one message stands for all of them."""
    waiting: dict[tuple[str, ...], list[Incident]] = {}
    recent: dict[tuple[str, ...], int] = {}
    for incident in state.incidents.values():
        if incident.is_flood or incident.flood in state.incidents:
            continue
        if incident.is_alone:
            if incident.joined > now - routes.group.interval:
                sinks = tuple(sinks_of(incident, routes, now))
                recent[sinks] = recent.get(sinks, 0) + 1
        elif now >= incident.due and incident.empty_since is None and not is_silenced(incident, routes, now):
            waiting.setdefault(tuple(sinks_of(incident, routes, now)), []).append(incident)
    for sinks, incidents in sorted(waiting.items()):
        flood = _running_flood(state, routes, sinks, now)
        if flood is None and recent.get(sinks, 0) + len(incidents) <= routes.flood:
            for incident in incidents:
                incident.is_alone, incident.joined = True, now
                state.add(incident)
        else:
            _join(state, flood, sinks, incidents, now)


def _running_flood(state: State, routes: Routes, sinks: tuple[str, ...], now: float) -> Incident | None:
    for slot, name in state.slots.get("", {}).items():
        flood = state.incidents[name]
        is_growing = flood.joined > now - routes.group.interval
        if slot.signature == "+".join(sinks) and is_growing and flood.empty_since is None:
            return flood
    return None


def _join(state: State, flood: Incident | None, sinks: tuple[str, ...], incidents: list[Incident], now: float) -> None:
    if flood is None:
        # Its slot is of this moment: an older flood of the same sinks goes on by itself.
        slot = Slot("", "FLOOD", "+".join(sinks), f"{now:.3f}")
        flood = begin(state, slot, merged([one.summary for one in incidents]), now, now)
    for incident in incidents:
        incident.flood = flood.id
        flood.children.append(incident.id)
        state.add(incident)
    flood.joined = now
    flood.summary = merged([state.incidents[child].summary for child in flood.children])
    flood.peak = max(flood.peak, flood.summary, key=lambda one: (one.count, one.amount))
    state.add(flood)


def sinks_of(incident: Incident, routes: Routes, now: float) -> list[str]:
    """Whom the routes tell of it at that moment; of a flood, those that it was made for."""
    summary = incident.summary
    if incident.is_flood:
        names = (incident.slot.signature or "").split("+")
        found = [name for name in names if name in routes.sinks]
        if found or names == [""]:
            return found
        # All of them are gone from the file: the flood goes where one of any supplier would.
    return routes.sinks_for(incident.slot.supplier, [kind for kind, _ in summary.kinds], summary.severity, now)


def is_silenced(incident: Incident, routes: Routes, now: float) -> bool:
    """Whether planned work is going on at all of its suppliers."""
    suppliers = incident.summary.suppliers or (incident.slot.supplier,)
    return all(routes.is_silenced(supplier, now) for supplier in suppliers)
