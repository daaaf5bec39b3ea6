"""One thread a sink, one message at a time in each: a slow sink holds nobody else, and a crash repeats little."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Thread

from jobs.alerts.plan import Delivery
from jobs.alerts.routes import Routes
from jobs.alerts.sink_config import AlertmanagerSink, EmailSink, PagerDutySink, Sink, SlackSink, WebhookSink
from jobs.alerts.sink_email import Email
from jobs.alerts.sink_slack import Slack
from jobs.alerts.sinks import Alertmanager, Handle, PagerDuty, Sender, SinkFailedError, Webhook
from jobs.alerts.wording import Message
from jobs.common import log
from jobs.common.command import one_line
from jobs.common.metrics import REGISTRY

_FIRST, _LONGEST = 1.0, 60.0
#: A message that failed so often in a row lets others go first: it may be what the sink will never take.
_TRIES = 3
#: Less than it takes until another instance leads.
_STALE_SECONDS = 5.0
_log = log.get_logger("alerts")


def sender_of(name: str, config: Sink) -> Sender:
    """What sends to a sink of the file."""
    match config:
        case SlackSink():
            return Slack(name, config)
        case EmailSink():
            return Email(name, config)
        case PagerDutySink():
            return PagerDuty(name, config)
        case WebhookSink():
            return Webhook(name, config)
        case AlertmanagerSink():
            return Alertmanager(config)
    raise TypeError(f"no sender for {type(config).__name__}")


@dataclass(frozen=True, slots=True)
class Result:
    """How a delivery went: what the sink calls the message, or `why` it did not take it.

    `is_stale`: it was not sent, since this process stood still meanwhile and another one may lead.
    """

    delivery: Delivery
    handle: Handle = field(default_factory=dict)
    why: str | None = None
    retry_after: float | None = None
    is_stale: bool = False


@dataclass
class Trouble:
    """Failures in a row, the first one's time, and when it is tried again; seconds since 1970."""

    since: float
    failures: int = 0
    next_try: float = 0.0
    why: str = ""

    def failed(self, now: float, why: str, retry_after: float | None) -> None:
        """Once more; the next try is twice as far away, or as far as it asked for."""
        self.failures += 1
        pause = min(_FIRST * 2.0 ** min(self.failures - 1, 10), _LONGEST)
        self.next_try, self.why = now + max(pause, retry_after or 0.0), why


class Desk:
    """Gives messages to the sinks' threads and takes what became of them. `clock`: seconds since 1970."""

    def __init__(self, routes: Routes, clock: Callable[[], float] = time.time) -> None:
        self._routes, self._clock = routes, clock
        self._inbox: dict[str, SimpleQueue[tuple[Delivery, Message, float] | None]] = {}
        self._results: SimpleQueue[Result] = SimpleQueue()
        self.busy: dict[str, float] = {}
        self.sent: dict[str, int] = dict.fromkeys(routes.sinks, 0)
        self.troubles: dict[str, Trouble] = {}
        self._of_item: dict[tuple[str, str], Trouble] = {}
        for name, config in routes.sinks.items():
            self._inbox[name] = SimpleQueue()
            Thread(target=self._work, args=(name, config), name=f"sink {name}", daemon=True).start()
            for outcome in ("SENT", "FAILED"):
                REGISTRY.add("reco_alerts_messages_total", sink=name, outcome=outcome)
            REGISTRY.put("reco_alerts_sink_failing", 0, sink=name)

    def can_take(self, sink: str, item: str) -> bool:
        """Whether the sink is free, and neither it nor this item is to be left alone for a while."""
        now, quiet = self._clock(), Trouble(0)
        waits = (self.troubles.get(sink, quiet), self._of_item.get((sink, item), quiet))
        return sink not in self.busy and all(trouble.next_try <= now for trouble in waits)

    def choose(self, deliveries: Iterable[Delivery]) -> list[Delivery]:
        """One message for each sink that can take one, the first of those that failed least, by threes."""
        chosen: dict[str, tuple[int, Delivery]] = {}
        for delivery in deliveries:
            sink, item = delivery.sink, delivery.item
            if self.can_take(sink, item):
                trouble = self._of_item.get((sink, item))
                failed = trouble.failures // _TRIES if trouble is not None else 0
                if sink not in chosen or failed < chosen[sink][0]:
                    chosen[sink] = failed, delivery
        return [delivery for _, delivery in chosen.values()]

    def is_down(self, sink: str, item: str) -> bool:
        """Whether its fallback takes over."""
        limit, now = self._routes.sinks[sink].give_up_after, self._clock()
        found = (self.troubles.get(sink), self._of_item.get((sink, item)), self.stuck(sink))
        return any(trouble is not None and now - trouble.since >= limit for trouble in found)

    def stuck(self, sink: str) -> Trouble | None:
        """The trouble of a sink that neither takes nor refuses what it was given, for longer than its timeout twice."""
        since, now = self.busy.get(sink), self._clock()
        if since is None or now - since <= 2 * self._routes.sinks[sink].timeout:
            return None
        return Trouble(since, why=f"{sink}: it neither takes nor refuses a message")

    def give(self, delivery: Delivery, message: Message, noted: float | None = None) -> None:
        """Send; only where `can_take`. `noted`: when it was certain that this instance leads, by time.monotonic."""
        self.busy[delivery.sink] = self._clock()
        self._inbox[delivery.sink].put((delivery, message, time.monotonic() if noted is None else noted))

    def results(self, wait: float = 0.0) -> list[Result]:
        """What became of messages since the last call; waits so long for the first, seconds."""
        found: list[Result] = []
        while True:
            try:
                found.append(self._results.get(timeout=wait) if wait and not found else self._results.get_nowait())
            except Empty:
                break
        for result in found:
            self._note(result)
        return found

    def close(self) -> None:
        """Let the threads end after what they are at."""
        for inbox in self._inbox.values():
            inbox.put(None)

    def _note(self, result: Result) -> None:
        sink, item, now = result.delivery.sink, result.delivery.item, self._clock()
        self.busy.pop(sink, None)
        if result.is_stale:
            return
        outcome = "SENT" if result.why is None else "FAILED"
        REGISTRY.add("reco_alerts_messages_total", 1, sink=sink, outcome=outcome)
        REGISTRY.put("reco_alerts_sink_failing", 0 if result.why is None else 1, sink=sink)
        if result.why is None:
            self.sent[sink] += 1
            self.troubles.pop(sink, None)
            self._of_item.pop((sink, item), None)
            return
        for trouble in (
            self.troubles.setdefault(sink, Trouble(now)),
            self._of_item.setdefault((sink, item), Trouble(now)),
        ):
            trouble.failed(now, result.why, result.retry_after)
        _log.warning("not sent", sink=sink, item=item, action=result.delivery.action.value, why=result.why)

    def _work(self, name: str, config: Sink) -> None:
        sender = sender_of(name, config)
        while (job := self._inbox[name].get()) is not None:
            delivery, message, noted = job
            if time.monotonic() - noted > _STALE_SECONDS:
                self._results.put(Result(delivery, why="not sent: this process stood still", is_stale=True))
                continue
            try:
                result = Result(delivery, sender.send(message, delivery.handle))
            except SinkFailedError as error:
                result = Result(delivery, why=f"{name}: {error}", retry_after=error.retry_after)
            except Exception as error:  # a missing secret, or what nobody thought of: it must not end the thread
                result = Result(delivery, why=f"{name}: {one_line(error)}")
            self._results.put(result)
        sender.close()
