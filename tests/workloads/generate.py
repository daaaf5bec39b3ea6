"""Workloads: a supplier, its policy and its deliveries; made one at a time, packed by the hundred."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from random import Random

from tests.oracle.model import Event, Policy, stamped
from tests.workloads.activity import activity
from tests.workloads.values import policy, some_id


@dataclass(frozen=True)
class Workload:
    """Every delivery of one supplier, each stamped with the grace that held when it was published."""

    supplier_id: str
    policy: Policy
    events: tuple[Event, ...]
    seed: str = "drawn"

    def named(self, supplier_id: str) -> "Workload":
        """The same for another supplier."""
        events = tuple(replace(event, supplier_id=supplier_id) for event in self.events)
        return replace(self, supplier_id=supplier_id, events=events)


def make_workload(rng: Random, supplier_id: str = "SUP", seed: str = "drawn") -> Workload:
    """One workload; the same for the same state of `rng`."""
    agreed = policy(rng)
    ids = {some_id(rng, f"BK-{n}") for n in range(rng.choice((1, 1, 2, 3)))}
    events = [event for id_ in sorted(ids) for event in activity(rng, supplier_id, id_, agreed)]
    events = _stamp(rng, events, agreed)
    rng.shuffle(events)
    return Workload(supplier_id, agreed, tuple(events), seed)


def generate_workloads(n: int, seed: int) -> list[Workload]:
    """`n` workloads, each with a supplier of its own, the same for the same seed."""
    made = (make_workload(Random(f"{seed}/{i}"), seed=f"{seed}/{i}") for i in range(n))
    return distinct(made)


def distinct(workloads: Iterable[Workload]) -> list[Workload]:
    """The same workloads, each with its own supplier id; every seventh id is an odd one."""
    tails = ("é", "|x", " ", "😀", "/y", "\\", "'")
    return [
        workload.named(f"W{i:05d}{tails[i // 7 % len(tails)] if i % 7 == 0 else ''}")
        for i, workload in enumerate(workloads)
    ]


def pack(workloads: Sequence[Workload]) -> list[Event]:
    """The deliveries of all of them, for one run; suppliers must differ."""
    assert len({workload.supplier_id for workload in workloads}) == len(workloads), "call distinct() first"
    return [event for workload in workloads for event in workload.events]


def _stamp(rng: Random, events: list[Event], agreed: Policy) -> list[Event]:
    """Each delivery with the policy's grace, or, for some suppliers, with another before some moment."""
    if not events or rng.random() < 0.85:
        return [stamped(event, agreed) for event in events]
    changed_at: datetime = rng.choice(events).kafka_time
    before = rng.choice((60, 3600, 21_600))
    return [replace(e, grace_seconds=before if e.kafka_time < changed_at else agreed.grace) for e in events]
