"""How a workload's records get to Kafka: pushed by their side itself, or by the ways in that the project brings."""

from collections.abc import Iterator

from jobs.ingest.events import Event, Record

PUSH, OUTBOX, POLL = "push", "outbox", "poll"


class Ways:
    """All of it is pushed."""

    def record_of(self, event: Event) -> Record:
        """What of an event is sent, and by which way."""
        return event.record()

    def to_push(self, records: Iterator[Record]) -> Iterator[Record]:
        """Those to be pushed, in their order; the others have arrived too once there are no more."""
        return records


#: As producers do that know Kafka.
PUSHED = Ways()
