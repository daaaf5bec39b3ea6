"""What the leader looks up in the lake: closes, what people did, what a silence holds, both sides of breaks."""

from collections.abc import Callable

from jobs.alerts import digests, lake
from jobs.alerts.incidents import lacking_evidence
from jobs.alerts.intake import Change, hold, prove, take
from jobs.alerts.people import People
from jobs.alerts.routes import Routes
from jobs.alerts.state import State
from jobs.common import log
from jobs.common.command import one_line
from jobs.common.metrics import REGISTRY
from jobs.common.settings import Settings
from reco_rules.vocabulary import FEED_SILENT, AnomalyType

_DAY = 86_400.0
_MISSING = (AnomalyType.MISSING_AGODA, AnomalyType.MISSING_SUPPLIER)
_log = log.get_logger("alerts")


class Watch:
    """One leader's view of the lake. `trouble`: why it could not be read last; alerts go on without it."""

    def __init__(self, settings: Settings, routes: Routes, state: State) -> None:
        self._settings, self._routes, self._state = settings, routes, state
        self._people = People(settings, state)
        self.trouble: str | None = None
        self._silences = {(one.supplier, one.id) for one in state.breaks.values() if one.kind == FEED_SILENT}
        self._unproven: set[str] = set()
        self._proved_at = self._asked_at = float("-inf")
        REGISTRY.put("reco_alerts_lake_failing", 0)

    @property
    def _quiet(self) -> float:
        """Closes of one run are some looks at the lake apart; a group that does not wait has none to wait for."""
        wait = self._routes.group.wait
        return wait + 2.0 * self._settings.alerts.close_seconds if wait else 0.0

    def heard(self, change: Change) -> None:
        """A change that was taken up: what it makes worth looking up."""
        self._people.changed([change.id])
        if change.kind == FEED_SILENT and change.state == "OPEN":
            self._silences.add((change.supplier, change.id))
        elif change.kind in _MISSING and change.state == "OPEN" and change.held_by is None:
            # It may have been told before the silence, and come after it from another partition.
            self._silences |= {(change.supplier, name) for name in self._silent(change.supplier)}

    def look(self, now: float) -> None:
        """Take up what is new; seconds since 1970."""
        is_due = now - self._asked_at >= self._settings.alerts.close_seconds
        asked = [lambda: self._take_closes(now), self._people.look] if is_due else []
        if is_due:
            self._asked_at = now
        # One table that cannot be read keeps nothing from the others.
        parts = [*asked, self._people.fold, lambda: self._hold(now), lambda: self._prove(now)]
        wrong = [why for part in parts if (why := _tried(part)) is not None]
        if wrong:
            if self.trouble is None:
                _log.warning("lake", why=wrong[0])
            self.trouble = wrong[0]
        elif is_due:  # else what failed was not tried again
            self.trouble = None
        REGISTRY.put("reco_alerts_lake_failing", int(self.trouble is not None))

    def _hold(self, now: float) -> None:
        for supplier, silence in list(self._silences):
            hold(self._state, silence, lake.held_by(self._settings, supplier, silence), now)
            self._silences.discard((supplier, silence))

    def _silent(self, supplier: str) -> list[str]:
        breaks = (self._state.breaks[name] for name in self._state.of_supplier.get(supplier, ()))
        return [one.id for one in breaks if one.kind == FEED_SILENT]

    def _take_closes(self, now: float) -> None:
        state, is_first = self._state, not self._state.closes
        closes = lake.new_closes(self._settings, state.closes)
        if not closes:
            return
        for change in lake.exceptions_of(self._settings, None if is_first else [one.id for one in closes]):
            take(state, change, now, self._routes.group.release)
            self._people.changed([change.id])
        for one in closes:
            state.see_close(one.id, one.ended)
            if self._routes.digest and not one.is_provisional and one.ended > now - _DAY:
                digests.add(state, one, now, self._quiet)
        state.forget_closes(now - 7 * _DAY)

    def _prove(self, now: float) -> None:
        """Look both sides of new breaks up, before their incident is first told, and not at each tick of a flood."""
        self._unproven |= self._state.stale
        if not self._unproven or now - self._proved_at < self._routes.group.wait / 2:
            return
        self._proved_at = now
        ids = lacking_evidence(self._state, self._unproven, self._routes.causes)
        if ids:
            prove(self._state, ids, lake.evidence(self._settings, [self._state.breaks[name] for name in ids]))
        self._unproven.clear()


def _tried(part: Callable[[], None]) -> str | None:
    """Why it failed: whatever is wrong with a table, what the stream tells must reach people."""
    try:
        part()
    except Exception as error:  # deltalake, Polars and the storage have exceptions of their own each
        return one_line(error)
    return None
