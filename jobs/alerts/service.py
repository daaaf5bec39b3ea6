"""The service: whoever leads reads, thinks, writes what it decided down, and only then sends."""

import time
from collections.abc import Callable
from threading import Event

from confluent_kafka import KafkaException

from jobs.alerts.desk import Desk
from jobs.alerts.incidents import refresh
from jobs.alerts.intake import let_orphans_go, take
from jobs.alerts.plan import Delivery, acknowledge, delivered, plan, trying
from jobs.alerts.results import Results
from jobs.alerts.routes import Routes
from jobs.alerts.state import State
from jobs.alerts.store import NotLeaderError, Store
from jobs.alerts.tell import tell
from jobs.alerts.watch import Watch
from jobs.alerts.wording import worded
from jobs.common import log
from jobs.common.errors import DONE, FAILED, UserError
from jobs.common.metrics import REGISTRY
from jobs.common.settings import Settings

_TICK_SECONDS = 0.5
_SENDING_SECONDS = 0.05
_TELL_SECONDS = 2.0
#: With --once, a sink that failed so often is left.
_TRIES = 3
_log = log.get_logger("alerts")


class Leader:
    """One turn of leading. `tick`: how long a step waits for messages, seconds."""

    def __init__(
        self, settings: Settings, routes: Routes, store: Store, clock: Callable[[], float] = time.time
    ) -> None:
        self.settings, self.routes, self._store, self._clock = settings, routes, store, clock
        self.state: State = store.load()
        self.results = Results(settings, self.state)
        self.desk = Desk(routes, clock)
        self.left: list[Delivery] = []
        self.watch = Watch(settings, routes, self.state)
        self._told_at = float("-inf")

    def step(self, tick: float = _TICK_SECONDS) -> None:
        """Read, decide, note, send. Raises NotLeaderError where another instance leads."""
        self._take_results()
        now, release = self._clock(), self.routes.group.release
        # While there is more to send, nobody waits for a message that may not come.
        for change in self.results.read(min(tick, _SENDING_SECONDS) if self.desk.busy else tick):
            take(self.state, change, now, release)
            self.watch.heard(change)
        self._store.heard(self.state)
        self._acknowledge()
        if self.results.is_caught_up:
            now = self._clock()
            self.watch.look(now)
            let_orphans_go(self.state, now, release)
            refresh(self.state, self.routes, now)
            self.left = plan(self.state, self.routes, self.desk.is_down, now)
        ready = self._ready()
        self._store.save(self.state.records(), is_sending=bool(ready))
        noted = time.monotonic()
        for delivery in ready:
            self.desk.give(delivery, worded(delivery, self.routes.link), noted)
        self._tell(now)

    @property
    def is_done(self) -> bool:
        """Whether all that is due was told, or its sink does not take it."""
        if not self.results.is_caught_up or self.desk.busy:
            return False
        troubles = self.desk.troubles
        return all(one.sink in troubles and troubles[one.sink].failures >= _TRIES for one in self.left)

    def close(self) -> None:
        """End, with what is under way noted where it ends soon."""
        end = time.monotonic() + 5.0
        while self.desk.busy and time.monotonic() < end:
            self._take_results(0.2)
        self._told_at = float("-inf")
        self._tell(self._clock())
        self.drop()

    def drop(self) -> None:
        """End at once: another instance leads, or the broker does not answer."""
        self.desk.close()
        self.results.close()

    def _ready(self) -> list[Delivery]:
        """A message for each sink that is free, noted as tried."""
        ready = self.desk.choose(self.left) if self.results.is_caught_up else []
        for delivery in ready:
            trying(self.state, delivery)
        return ready

    def _take_results(self, wait: float = 0.0) -> None:
        for result in self.desk.results(wait):
            if result.why is None:
                delivered(self.state, result.delivery, result.handle, self._clock())
        # At once: what is not noted here would be sent again after a crash.
        self._store.save(self.state.records())

    def _acknowledge(self) -> None:
        for incident, by in self.state.asked.items():
            if not acknowledge(self.state, incident, by):
                _log.warning("no such incident", incident=incident, by=by)
            self.state.dirty.add(("ack", incident))
        self.state.asked.clear()

    def _tell(self, now: float) -> None:
        REGISTRY.put("reco_alerts_leader", 1)
        REGISTRY.put("reco_alerts_incidents", len(self.state.incidents))
        if now - self._told_at >= _TELL_SECONDS:
            self._told_at = now
            for name in filter(self.desk.stuck, self.routes.sinks):
                REGISTRY.put("reco_alerts_sink_failing", 1, sink=name)
            open_ = sum(one.is_open for one in self.state.breaks.values())
            REGISTRY.put("reco_alerts_breaks", open_)
            tell(self.settings, self.state, self.desk, self.routes, self.results, self.watch.trouble, now)


def run(settings: Settings, routes: Routes, stop: Event) -> int:
    """Lead, or stand by to lead, until `stop` is set."""
    while not stop.is_set():
        try:
            _serve(settings, routes, stop)
        except NotLeaderError:
            _log.warning("another instance leads")
        except KafkaException as error:
            _log.warning("broker", why=error.args[0].str())
            stop.wait(2.0)
    return DONE


def _serve(settings: Settings, routes: Routes, stop: Event) -> None:
    store = Store(settings)
    leader: Leader | None = None
    REGISTRY.put("reco_alerts_leader", 0)
    try:
        while not store.wait(1.0):
            if stop.is_set():
                return
        leader = Leader(settings, routes, store)
        _log.info("leads", breaks=len(leader.state.breaks), incidents=len(leader.state.incidents))
        while not stop.is_set():
            leader.step()
        leader.close()
    except (NotLeaderError, KafkaException):
        if leader is not None:
            leader.drop()
        raise
    finally:
        store.close()


def run_once(settings: Settings, routes: Routes, stop: Event, seconds: float = 120.0) -> Leader:
    """Read what is there, tell what is due without a group's wait, and end; `seconds` at most.

    UserError where another instance leads. What was not told is in the leader's `left`.
    """
    store = Store(settings)
    end = time.monotonic() + seconds
    try:
        if not store.wait(30.0):
            raise UserError(
                f"Another `reco alerts` leads the group {settings.alerts.group} and tells what there is: stop it, "
                "or let it do so.",
                FAILED,
            )
        leader = Leader(settings, hurried(routes), store)
        while not stop.is_set() and time.monotonic() < end:
            leader.step(0.1)
            if leader.is_done:
                break
        leader.close()
    except NotLeaderError:
        raise UserError("Another `reco alerts` took over; it tells what is left.", FAILED) from None
    else:
        return leader
    finally:
        store.close()


def hurried(routes: Routes) -> Routes:
    """The routes without waiting: for one look at what there is."""
    sinks = {name: sink.model_copy(update={"give_up_after": 0}) for name, sink in routes.sinks.items()}
    return routes.model_copy(update={"group": routes.group.model_copy(update={"wait": 0}), "sinks": sinks})
