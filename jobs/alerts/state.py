"""The state of the alerting service, as one value that changes in place; what changed is noted for the store."""

import heapq
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from jobs.alerts.model import Break, Digest, Incident, Life, Slot, break_from, incident_from, to_json

Key = tuple[str, str]


@dataclass
class State:
    """Everything that must outlive the process.

    `offsets`: where the topic of results is read on, by partition. `closes`: closes that were seen, with their end in
    seconds since 1970. `dirty`: records to be written. `stale`: suppliers whose incidents must be looked at again.
    `asked`: incidents that somebody acknowledged, and who, until that was done.
    """

    breaks: dict[str, Break] = field(default_factory=dict)
    incidents: dict[str, Incident] = field(default_factory=dict)
    digests: dict[str, Digest] = field(default_factory=dict)
    offsets: dict[int, int] = field(default_factory=dict)
    closes: dict[str, float] = field(default_factory=dict)
    dirty: set[Key] = field(default_factory=set)
    stale: set[str] = field(default_factory=set)
    of_supplier: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    held: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    slots: dict[str, dict[Slot, str]] = field(default_factory=lambda: defaultdict(dict))
    asked: dict[str, str] = field(default_factory=dict)
    later: list[tuple[float, str]] = field(default_factory=list)

    def put(self, one: Break) -> None:
        """Note how a break stands now."""
        self._unlink(one.id)
        self.breaks[one.id] = one
        self.of_supplier[one.supplier].add(one.id)
        if one.life is Life.HELD and one.held_by:
            self.held[one.held_by].add(one.id)
        self.stale.add(one.supplier)
        self.dirty.add(("break", one.id))

    def remove(self, break_id: str) -> None:
        """A break is over."""
        if break_id in self.breaks:
            self.stale.add(self.breaks[break_id].supplier)
            self._unlink(break_id)
            del self.breaks[break_id]
            self.dirty.add(("break", break_id))

    def wake(self, supplier: str, at: float) -> None:
        """Look at the supplier again at that moment."""
        heapq.heappush(self.later, (at, supplier))

    def add(self, incident: Incident) -> None:
        """A new incident, or one that changed."""
        self.incidents[incident.id] = incident
        self.slots[incident.slot.supplier][incident.slot] = incident.id
        self.dirty.add(("incident", incident.id))

    def close(self, incident_id: str) -> None:
        """An incident is over and everybody knows."""
        gone = self.incidents.pop(incident_id)
        mine = self.slots[gone.slot.supplier]
        if mine.get(gone.slot) == incident_id:
            del mine[gone.slot]
        if gone.flood in self.incidents:
            flood = self.incidents[gone.flood]
            flood.children = [child for child in flood.children if child != incident_id]
            self.dirty.add(("incident", flood.id))
        self.dirty.add(("incident", incident_id))

    def put_digest(self, digest: Digest) -> None:
        """A digest to be sent, or one that was told to somebody more."""
        self.digests[digest.id] = digest
        self.dirty.add(("digest", digest.id))

    def remove_digest(self, digest_id: str) -> None:
        """A digest that everybody has."""
        self.digests.pop(digest_id, None)
        self.dirty.add(("digest", digest_id))

    def see_close(self, close_id: str, ended: float) -> None:
        """Note that a close was taken up."""
        self.closes[close_id] = ended
        self.dirty.add(("close", close_id))

    def forget_closes(self, before: float) -> None:
        """Closes that ended before that are not asked for any more; the last one is always kept."""
        last = max(self.closes.values(), default=0.0)
        for close_id in [name for name, ended in self.closes.items() if ended < min(before, last)]:
            del self.closes[close_id]
            self.dirty.add(("close", close_id))

    def read_up_to(self, partition: int, offset: int) -> None:
        """Note where a partition is read on."""
        if self.offsets.get(partition) != offset:
            self.offsets[partition] = offset
            self.dirty.add(("offset", str(partition)))

    def records(self) -> Iterator[tuple[bytes, bytes | None]]:
        """What changed since the last call, as records of the compacted topic; null for what is no more."""
        for kind, name in sorted(self.dirty):
            yield f"{kind}/{name}".encode(), self._value(kind, name)
        self.dirty.clear()

    def load(self, key: bytes, value: bytes | None) -> None:
        """Take up a record, in the order of the topic."""
        kind, _, name = key.decode().partition("/")
        if value is None:
            self._forget(kind, name)
            return
        data: Any = json.loads(value)
        match kind:
            case "break":
                self.put(break_from(data))
            case "incident":
                self.add(incident_from(data))
            case "digest":
                self.digests[name] = Digest(**data)
            case "close":
                self.closes[name] = float(data)
            case "offset":
                self.offsets[int(name)] = int(data)
            case "ack":
                self.asked[name] = str(data)

    def _forget(self, kind: str, name: str) -> None:
        if kind == "break":
            self.remove(name)
        elif kind == "incident" and name in self.incidents:
            self.close(name)
        elif kind == "digest":
            self.digests.pop(name, None)
        elif kind == "close":
            self.closes.pop(name, None)
        elif kind == "ack":
            self.asked.pop(name, None)

    def loaded(self) -> None:
        """All records were taken up: look at every supplier, and at those to come when their time has come."""
        self.dirty.clear()
        self.stale = {*self.of_supplier, *self.slots}
        for one in self.breaks.values():
            if one.life is Life.OPEN:
                self.wake(one.supplier, one.since)

    def _value(self, kind: str, name: str) -> bytes | None:
        found: Any
        match kind:
            case "break":
                found = self.breaks.get(name)
            case "incident":
                found = self.incidents.get(name)
            case "digest":
                found = self.digests.get(name)
            case "close":
                return json.dumps(self.closes[name]).encode() if name in self.closes else None
            case "ack":
                return None  # it was done, and stands in the incident
            case _:
                return str(self.offsets[int(name)]).encode()
        return None if found is None else to_json(found)

    def _unlink(self, break_id: str) -> None:
        known = self.breaks.get(break_id)
        if known is None:
            return
        if known.held_by in self.held:
            self.held[known.held_by].discard(break_id)
            if not self.held[known.held_by]:
                del self.held[known.held_by]
        mine = self.of_supplier[known.supplier]
        mine.discard(break_id)
        if not mine:
            del self.of_supplier[known.supplier]
