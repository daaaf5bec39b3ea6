"""Publishes what was read and returns when the broker has confirmed it; what it refuses for good is kept in files."""

import time
from array import array
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, field
from pathlib import Path
from threading import Lock

from confluent_kafka import KafkaError, KafkaException

from jobs.common import log
from jobs.common.command import one_line
from jobs.common.metrics import REGISTRY
from jobs.common.settings import Settings
from jobs.ingest.outbox import ms
from jobs.ingest.polling.config import SupplierApi
from jobs.ingest.polling.failure import PollFailedError, StoppedError
from jobs.ingest.polling.records import Item, to_item
from jobs.ingest.polling.split import Page
from jobs.ingest.polling.state import keep_refused
from jobs.ingest.publisher import GivenUpError, Outgoing, Publisher, Refused

_BATCH = 1_000
_BATCH_BYTES = 2 * 1_048_576
#: What the record itself is to blame for; for any other reason the next record would be refused too.
_ITS_OWN_FAULT = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD)
_RECORDS = "reco_poll_records_total"


class Sink:
    """The producer of this process, for all suppliers' threads."""

    def __init__(self, settings: Settings, stop: Callable[[], bool]) -> None:
        self._settings, self._stop = settings, stop
        self._lock = Lock()
        self._publisher = self._new()

    def publish(self, records: Sequence[Outgoing]) -> list[Refused]:
        """Returns those that are refused once all the others are confirmed.

        Raises StoppedError where `stop` said so first, PollFailedError where the producer could go on no more; there
        is a new one for the next.
        """
        with self._lock:
            try:
                return self._publisher.publish(records)
            except GivenUpError:
                raise StoppedError from None
            except KafkaException as error:
                with suppress(Exception):
                    self._publisher = self._new()
                raise PollFailedError(f"The broker takes no more records: {one_line(error)}.") from error

    def _new(self) -> Publisher:
        return Publisher(self._settings, _say_waiting, self._stop)


def _say_waiting(seconds: float) -> None:
    log.get_logger(__name__).warning("the broker does not answer", seconds=round(seconds))


@dataclass
class Tally:
    """Records of one poll: published, seen before and left out, refused by the broker and kept; pages read."""

    pages: int = 0
    published: int = 0
    unchanged: int = 0
    refused: int = 0

    def plus(self, other: "Tally") -> "Tally":
        """Both together."""
        return Tally(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))


@dataclass
class Delivered:
    """One page that is safe now: a short digest of each item, and the times at which they were changed, UTC."""

    marks: "array[int]"
    times: list[float] = field(default_factory=list)


class Delivery:
    """Publishes one supplier's pages; with `is_backfill` each record's time is when its item was changed."""

    def __init__(self, settings: Settings, api: SupplierApi, sink: Sink, *, is_backfill: bool = False) -> None:
        self._api, self._sink, self._is_backfill = api, sink, is_backfill
        self._topic = settings.topics.supplier_raw
        self._folder = Path(settings.poll.state)
        # Only spares the topic what it has; forgotten, it is sent again, and counts as a redelivery.
        self._known: OrderedDict[bytes, None] = OrderedDict()
        self.tally = Tally()

    def deliver(self, page: Page) -> Delivered:
        """Publish the page's items that are new or changed; returns when each is confirmed or kept."""
        done = Delivered(array("Q"))
        batch: list[Item] = []
        size = 0
        for raw in page:
            item = to_item(self._api, self._topic, raw)
            done.marks.append(int.from_bytes(item.digest[:8]))
            if item.updated is not None:
                done.times.append(item.updated.timestamp())
            if item.digest in self._known:
                self._known.move_to_end(item.digest)
                self._count("UNCHANGED", 1)
                continue
            batch.append(item)
            size += len(raw)
            if len(batch) >= _BATCH or size >= _BATCH_BYTES:
                self._send(batch)
                batch, size = [], 0
        self._send(batch)
        self.tally.pages += 1
        return done

    def _send(self, batch: list[Item]) -> None:
        records = [_stamped(item) if self._is_backfill else item.record for item in batch]
        refused = self._sink.publish(records) if batch else []
        for no in refused:
            self._keep(batch[no.index], no)
        self._count("PUBLISHED", len(batch) - len(refused))
        self._count("REFUSED", len(refused))
        for item in batch:
            self._known[item.digest] = None
        while len(self._known) > self._api.remember:
            self._known.popitem(last=False)

    def _keep(self, item: Item, refused: Refused) -> None:
        reason = refused.reason
        if refused.code not in _ITS_OWN_FAULT:
            raise PollFailedError(
                f"The broker refuses records of {self._topic}: {reason.rstrip('.')}. They will be read again."
            )
        raw = item.record.value or b""
        file = keep_refused(self._folder, self._api.supplier, item.digest, raw, reason)
        log.get_logger(__name__).error(
            "refused by the broker", supplier=self._api.supplier, why=reason, bytes=len(raw), kept_in=str(file)
        )

    def _count(self, kind: str, number: int) -> None:
        name = kind.lower()
        setattr(self.tally, name, getattr(self.tally, name) + number)
        REGISTRY.add(_RECORDS, number, kind=kind)


def _stamped(item: Item) -> Outgoing:
    """The record with the time of its item's change.

    The time of a clock that is ahead of ours is not taken, nor one before 1970, which stands for none.
    """
    if item.updated is None:
        return item.record
    return item.record._replace(stamp=max(min(ms(item.updated), int(time.time() * 1000)), 0))
