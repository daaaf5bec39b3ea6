"""Hypothesis strategies for workloads, and what tests need to make and pack them.

`generate_workloads(n, seed)` is deterministic and quick (thousands in seconds): for runs that pack hundreds of
suppliers into one Spark job, where the report names the failing supplier with its whole workload. `workloads()` draws
through hypothesis, which shrinks: for what is cheap to run again.
"""

from hypothesis import strategies as st

from tests.workloads.generate import Workload, distinct, generate_workloads, make_workload, pack
from tests.workloads.records import poison, raw_records

__all__ = ["Workload", "distinct", "generate_workloads", "pack", "packed", "poison", "raw_records", "workloads"]


def workloads() -> st.SearchStrategy[Workload]:
    """One supplier's workload."""
    return st.randoms(use_true_random=False).map(make_workload)


def packed(min_size: int = 1, max_size: int = 20) -> st.SearchStrategy[list[Workload]]:
    """Several workloads, each with a supplier of its own, to be run together."""
    return st.lists(workloads(), min_size=min_size, max_size=max_size).map(distinct)
