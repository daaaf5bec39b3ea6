"""Incidents, made of open breaks: one a cause, and for the rest one a supplier and severity."""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from decimal import Decimal

from jobs.alerts.model import Break, Incident, Slot, Summary, digest, rank
from jobs.alerts.routes import Causes, Routes
from jobs.alerts.state import State
from reco_rules.vocabulary import FEED_SILENT

_EXAMPLES = 5
#: More causes of one kind than this at one supplier are no pattern.
_MOST_CAUSES = 10
#: Something is always missing of each activity type: one is a cause where it is nearly all that is missing, and stays
#: one while it is most of it.
_TYPE_PERCENT, _STILL_TYPE_PERCENT = 80, 50


def refresh(state: State, routes: Routes, now: float) -> None:
    """Bring the incidents up to the breaks as they are at that moment (seconds since 1970)."""
    while state.later and state.later[0][0] <= now:
        state.stale.add(heapq.heappop(state.later)[1])
    for supplier in sorted(state.stale - {""}):
        _refresh_one(state, routes, supplier, now)
    if state.stale:
        _refresh_floods(state, now)
    state.stale.clear()


def lacking_evidence(state: State, suppliers: Iterable[str], causes: Causes) -> list[str]:
    """The open breaks of these suppliers whose sides should be looked up, where they are enough for a cause."""
    found: list[str] = []
    for supplier in suppliers:
        breaks = [state.breaks[name] for name in state.of_supplier.get(supplier, ())]
        ids = [one.id for one in breaks if one.is_open and not one.is_looked_up and one.activity]
        if len(ids) >= causes.min_count or any(slot.kind for slot in state.slots.get(supplier, ())):
            found += ids
    return sorted(found)


def slots_of(breaks: Iterable[Break], known: Iterable[Slot], causes: Causes) -> dict[Slot, list[Break]]:
    """The breaks of one supplier by the incident that they belong to. `known`: the incidents that there are already."""
    alike: dict[tuple[str, str], list[Break]] = {}
    of_kind: Counter[str] = Counter()
    for one in breaks:
        alike.setdefault((one.kind, one.signature), []).append(one)
        of_kind[one.kind] += 1
    is_known, made = set(known), Counter[str]()
    found: dict[Slot, list[Break]] = {}
    for (kind, signature), mine in sorted(alike.items(), key=lambda item: (-len(item[1]), item[0])):
        slot = Slot(mine[0].supplier, kind, signature)
        is_type, share = signature.startswith("type:"), len(mine) * 100 / of_kind[kind]
        is_many = len(mine) >= causes.min_count and share >= max(causes.min_percent, _TYPE_PERCENT if is_type else 0)
        is_still = slot in is_known and (not is_type or share >= _STILL_TYPE_PERCENT)
        is_cause = signature != "" and (is_still or is_many) and made[kind] < _MOST_CAUSES
        if is_cause or kind == FEED_SILENT:
            made[kind] += 1
            found[slot] = mine
            continue
        for one in mine:
            found.setdefault(Slot(one.supplier, severity=one.severity), []).append(one)
    return found


def summary_of(breaks: list[Break]) -> Summary:
    """What an incident of these breaks comes to."""
    types = Counter(one.activity_type for one in breaks)
    top, count = types.most_common(1)[0] if types else ("", 0)
    largest = heapq.nsmallest(_EXAMPLES, breaks, key=lambda one: (-(one.amount or 0), one.id))
    return Summary(
        count=len(breaks),
        amount=sum((one.amount for one in breaks if one.amount is not None), Decimal(0)),
        unpriced=sum(one.amount is None for one in breaks),
        severity=max((one.severity for one in breaks), key=rank, default="LOW"),
        kinds=tuple(sorted(Counter(one.kind for one in breaks).items())),
        noun=top if count == len(breaks) else "",
        suppliers=tuple(sorted({one.supplier for one in breaks})),
        examples=tuple(one.activity for one in largest if one.activity),
        came_back=sum(one.came_back for one in breaks),
        acknowledged_by=_all_of(one.acknowledged_by for one in breaks),
    )


def merged(summaries: list[Summary]) -> Summary:
    """What a flood of these incidents comes to; its suppliers come by the money at risk, the most first."""
    kinds: Counter[str] = Counter()
    by_supplier: dict[str, tuple[Decimal, int]] = {}
    for one in summaries:
        kinds.update(dict(one.kinds))
        for supplier in one.suppliers:
            amount, count = by_supplier.get(supplier, (Decimal(0), 0))
            by_supplier[supplier] = (amount + one.amount, count + one.count)
    worst = max(summaries, key=lambda one: (one.amount, one.count), default=Summary())
    return Summary(
        count=sum(one.count for one in summaries),
        amount=sum((one.amount for one in summaries), Decimal(0)),
        unpriced=sum(one.unpriced for one in summaries),
        severity=max((one.severity for one in summaries), key=rank, default="LOW"),
        kinds=tuple(sorted(kinds.items())),
        suppliers=tuple(sorted(by_supplier, key=lambda name: (*(-n for n in by_supplier[name]), name))),
        examples=worst.examples,
        came_back=sum(one.came_back for one in summaries),
        acknowledged_by=_all_of(one.acknowledged_by for one in summaries if one.count),
    )


def _all_of(names: Iterable[str | None]) -> str | None:
    """Who is at it; None where nobody is at some of it."""
    found = set(names)
    return None if None in found or not found else ", ".join(sorted(name for name in found if name))


def begin(state: State, slot: Slot, summary: Summary, now: float, due: float) -> Incident:
    """A new incident; its id is the same for the same slot and beginning."""
    parts = (slot.supplier, slot.kind, slot.signature, slot.severity, f"{now:.3f}")
    incident = Incident(digest(*parts)[:16], slot, now, due, summary, summary)
    state.add(incident)
    return incident


def restate(state: State, incident: Incident, summary: Summary, now: float) -> None:
    """Note how an incident stands now; one of no breaks is over once it has been so for a while."""
    empty_since = None if summary.count else incident.empty_since or now
    if (incident.summary, incident.empty_since) == (summary, empty_since):
        return
    incident.summary, incident.empty_since = summary, empty_since
    if (summary.count, summary.amount) > (incident.peak.count, incident.peak.amount):
        incident.peak = summary
    state.add(incident)


def _refresh_one(state: State, routes: Routes, supplier: str, now: float) -> None:
    known = state.slots.get(supplier, {})
    standing = [slot for slot, name in known.items() if state.incidents[name].empty_since is None]
    slots = slots_of(_alerting(state, supplier, now), standing, routes.causes)
    for slot, breaks in slots.items():
        summary = summary_of(breaks)
        if slot in known:
            restate(state, state.incidents[known[slot]], summary, now)
        else:
            begin(state, slot, summary, now, now + routes.group.wait)
    for slot, name in known.items():
        if slot not in slots:
            incident = state.incidents[name]
            restate(state, incident, replace(Summary(), severity=incident.summary.severity), now)


def _alerting(state: State, supplier: str, now: float) -> Iterator[Break]:
    for name in state.of_supplier.get(supplier, ()):
        one = state.breaks[name]
        if one.is_open and one.since <= now:
            yield one


def _refresh_floods(state: State, now: float) -> None:
    for name in list(state.slots.get("", {}).values()):
        flood = state.incidents[name]
        restate(state, flood, merged([state.incidents[child].summary for child in flood.children]), now)
