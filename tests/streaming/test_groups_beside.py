"""Two match applications as processes side by side; one is killed, which the other does not notice."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from jobs.cli.broker import Broker
from jobs.common.groups import group_of, of_group
from jobs.common.lake import open_table, read
from jobs.common.progress_file import missing, read_all, read_watermark
from jobs.common.settings import Settings
from tests.oracle.normalise import normalise
from tests.oracle.stream import OpenBreaks, open_breaks
from tests.oracle.summary import summary, told
from tests.streaming.feed import new_settings, produce, wait_for
from tests.streaming.nrt import beats_at, open_of
from tests.streaming.test_kills import _environment, _stream, _version
from tests.workloads.generate import generate_workloads, pack
from tests.workloads.records import numbered, raw_records
from tests.workloads.values import CLOCK

_WAIT = 1200


@pytest.mark.long
def test_a_group_that_is_killed_holds_no_other_back(tmp_path: Path, broker: Broker) -> None:
    settings = new_settings(str(tmp_path / "lake"), broker.bootstrap_servers, "beside", match_groups=2)
    records = raw_records(pack(generate_workloads(60, 5)), Random(5), poisoned=50)
    judged = [normalise(record, datetime.now(UTC)) for record in records]
    expected = open_breaks([said[1] for said in judged if said[0] == "event"], {}, {})
    half = len(records) // 2
    produce(settings, records[:half])
    with ExitStack() as running:
        running.enter_context(_application(settings, tmp_path))
        parts = [of_group(settings, group) for group in (0, 1)]
        wait_for(lambda: all(_version(part, "nrt_exceptions") >= 1 for part in parts), _WAIT, "tables of both groups")
        running.enter_context(_application(settings, tmp_path, 0))
        with _application(settings, tmp_path, 1):
            wait_for(lambda: all(_version(part, "nrt_results") > 1 for part in parts), _WAIT, "verdicts of both")
        # Killed with `kill -9` here. The other goes on, and status and Prometheus miss this one.
        before = [_version(part, "nrt_results") for part in parts]
        produce(settings, numbered(records)[half:])
        beats = numbered([*records, *beats_at(CLOCK + timedelta(hours=12))])[len(records) :]
        produce(settings, beats)
        wait_for(lambda: _version(parts[0], "nrt_results") > before[0], _WAIT, "verdicts of the group that lives")
        wait_for(lambda: set(missing(read_all(settings), datetime.now(UTC))) == {1}, _WAIT, "miss of the killed group")
        assert _version(parts[1], "nrt_results") == before[1]
        running.enter_context(_application(settings, tmp_path, 1))
        last = CLOCK + timedelta(hours=12)
        wait_for(lambda: (read_watermark(settings) or CLOCK) >= last, _WAIT, "watermark of both groups")
        # What came too late for the join is judged by the batch after the one that let go of it.
        wait_for(lambda: _open_ones(settings) == expected, _WAIT, "breaks that the rules give")
        wait_for(lambda: _gathered(settings), _WAIT, "gold with all that both gave")
        wait_for(lambda: _is_summed_up(settings), _WAIT, "hours that are those of the verdicts")
    results = read(open_table(settings, "nrt_results"), "nrt_results")
    assert results["result_id"].is_unique().all()
    assert {group_of(settings, supplier) for supplier in results["supplier_id"]} == {0, 1}
    assert _open_ones(settings) == expected


@contextmanager
def _application(settings: Settings, folder: Path, group: int | None = None) -> Iterator[None]:
    """One application of the stream; killed at the end."""
    env = _environment(settings, 200) | {"RECO_STREAM__MATCH_GROUPS": "2", "RECO_STREAM__SUMMARY_MINUTES": "1"}
    env |= {} if group is None else {"RECO_STREAM__MATCH_GROUP": str(group)}
    child = _stream(env, folder / f"stream-{group}.log")
    try:
        yield
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _open_ones(settings: Settings) -> OpenBreaks | None:
    """Gold's open exceptions; None while one is pending."""
    states = read(open_table(settings, "nrt_exceptions"), "nrt_exceptions")["state"]
    return None if "PENDING" in states else open_of(settings)


def _gathered(settings: Settings) -> bool:
    def rows(of: Settings, name: str, *columns: str) -> set[Any]:
        return set(read(open_table(of, name), name).select(columns).iter_rows())

    parts = [of_group(settings, group) for group in (0, 1)]
    kinds = {"nrt_results": ("result_id",), "nrt_exceptions": ("exception_id", "result_id", "state")}
    return all(
        rows(settings, name, *columns) == set().union(*(rows(part, name, *columns) for part in parts))
        for name, columns in kinds.items()
    )


def _is_summed_up(settings: Settings) -> bool:
    hours, results = (read(open_table(settings, name), name).to_dicts() for name in ("hourly_summary", "nrt_results"))
    return told(hours) == summary(results)
