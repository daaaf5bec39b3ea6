"""What is read again, from a new checkpoint or one put back, is in no table twice, whatever maintenance took."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.common.lake import open_table, read
from jobs.common.sections import Maintenance
from jobs.common.settings import Lake, Settings
from jobs.maintain.main import maintain
from jobs.streaming.normalise import Normaliser
from jobs.streaming.taken_in import TakenIn, note_of
from tests.oracle.normalise import Raw
from tests.streaming.feed import batch_of
from tests.workloads.values import CLOCK

_TABLES = ("activity_raw", "quarantine")
_DAYS = 30
Process = Callable[..., None]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A lake that keeps what came in for 30 days."""
    days = dict.fromkeys(("activity_raw", "activity", "quarantine"), _DAYS)
    return Settings(lake=Lake(root=str(tmp_path / "lake")), maintenance=Maintenance(keep_days=days))


@pytest.fixture
def process(spark: SparkSession, settings: Settings) -> Iterator[Process]:
    """Takes batches in a process of its own, `day` days after the first: lists of records, from `number` on."""

    def run(checkpoint: str, *batches: list[Raw], day: int = 0, number: int = 0) -> None:
        spark.sparkContext.setLocalProperty("sql.streaming.queryId", checkpoint)
        normaliser = Normaliser(spark, settings, {}, lambda: CLOCK + timedelta(days=day))
        for at, batch in enumerate(batches):
            normaliser(batch_of(spark, batch), number + at)

    yield run
    spark.sparkContext.setLocalProperty("sql.streaming.queryId", None)  # type: ignore[arg-type]


def _record(offset: int, day: int = 0, partition: int = 0) -> Raw:
    """One that becomes quarantine, published `day` days after the first."""
    return Raw("agoda.raw.activity", partition, offset, b"", b"", CLOCK + timedelta(days=day))


def _places(settings: Settings, name: str) -> list[tuple[int, int]]:
    return sorted(read(open_table(settings, name), name).select("partition", "offset").iter_rows())


def _assert_has(settings: Settings, *offsets: int, partition: int = 0) -> None:
    for name in _TABLES:
        of_partition = [offset for number, offset in _places(settings, name) if number == partition]
        assert of_partition == list(offsets), name


@pytest.mark.long
def test_a_process_that_goes_on_with_a_replay_doubles_nothing(
    settings: Settings, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = ([_record(offset)] for offset in range(3))
    process("first", first + second)
    process("second", first)
    process("second", [], second, third, number=1)  # it was killed between two batches of its replay
    append = Normaliser._append
    with monkeypatch.context() as patch:
        patch.setattr(Normaliser, "_append", lambda self, name, *a: name == "activity_raw" and append(self, name, *a))
        process("third", first)
    process("third", first, second)  # it was killed between two tables of its first batch
    process("first", third, number=1)  # an old checkpoint was put back
    _assert_has(settings, 0, 1, 2)


@pytest.mark.parametrize("tells", [True, pytest.param(False, marks=pytest.mark.long)])
def test_what_maintenance_removed_neither_comes_back_nor_ends_the_look(
    settings: Settings, process: Process, monkeypatch: pytest.MonkeyPatch, tells: bool
) -> None:
    """`tells`: whether commits note what was taken in; those of builds before do not."""
    old, kept = [_record(0), _record(1), _record(0, partition=1)], [_record(2, 40), _record(3, 40)]
    process("first", old)
    process("first", kept, day=40, number=1)
    maintain(settings, CLOCK + timedelta(days=45), ["activity_raw", "activity", "quarantine"])
    _assert_has(settings, 2, 3)
    if not tells:
        monkeypatch.setattr("jobs.streaming.taken_in.note_of", lambda _text: {})
    process("second", old, kept, [_record(4, 46)], day=46)
    _assert_has(settings, 2, 3, 4)
    # Of builds before, nothing tells that a partition was read of which bronze has nothing.
    _assert_has(settings, *([] if tells else [0]), partition=1)


@pytest.mark.long
def test_a_partition_that_is_read_on_ends_no_look_at_another(settings: Settings, process: Process) -> None:
    process("first", [_record(n, partition=p) for p in (0, 1) for n in range(3)])
    process("second", [_record(3), _record(0, partition=1)], [_record(4)], [_record(n, partition=1) for n in (1, 2, 3)])
    _assert_has(settings, 0, 1, 2, 3, 4)
    _assert_has(settings, 0, 1, 2, 3, partition=1)


@pytest.mark.long
def test_what_was_lost_or_is_of_a_new_topic_is_taken_in(settings: Settings, process: Process) -> None:
    process("first", [_record(0), _record(5)])
    process("second", [_record(0), _record(1, 2), _record(3, 1), _record(6, 2)], day=2)
    _assert_has(settings, 0, 1, 3, 5, 6)


def test_a_copy_of_a_checkpoint_that_is_put_back_loses_nothing(settings: Settings, process: Process) -> None:
    """Its next batches have numbers that were used, for other records, and long ago by the clock that they noted."""
    zero, one, two, three, four, five = (_record(offset, day) for offset, day in enumerate((0, 0, 1, 1, 2, 3)))
    process("first", [zero], [one])
    process("first", [one, two], [three], day=1, number=1)
    process("first", [three, four], day=2, number=2)
    process("first", [three, four], [five], day=3, number=2)  # killed, so as the same writer
    _assert_has(settings, *range(6))
    reasons = read(open_table(settings, "quarantine"), "quarantine")["reasons"].explode().unique()
    assert reasons.to_list() == ["MALFORMED_JSON"]


@pytest.mark.long
def test_tables_that_were_emptied_are_filled_again(spark: SparkSession, settings: Settings, process: Process) -> None:
    first, second = [_record(0)], [_record(1)]
    process("first", first + second)
    for name in _TABLES:
        spark.sql(f"DELETE FROM delta.`{settings.table_path(name)}`")
    process("second", first, day=40)
    process("second", second, day=40, number=1)
    _assert_has(settings, 0, 1)


def test_a_process_that_goes_on_looks_at_no_table(
    settings: Settings, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    process("first", [_record(0), _record(1), _record(0, partition=1)])
    looks: list[str] = []
    monkeypatch.setattr(Normaliser, "_known", lambda _self, name, _rows: looks.append(name))
    monkeypatch.setattr(TakenIn, "without_removed", lambda *_: looks.append("removed"))
    process("first", [_record(2), _record(1, partition=1), _record(0, partition=2)], [], number=1)
    assert looks == []


@pytest.mark.parametrize(
    ("text", "told"), [('{"query": "q"}', {"query": "q"}), ("OPTIMIZE by hand", {}), ("[7]", {}), ("", {})]
)
def test_a_commit_of_anothers_tells_nothing(text: str, told: dict[str, str]) -> None:
    assert note_of(text) == told


def test_records_of_a_topic_made_anew_are_others_whatever_their_offsets(settings: Settings, process: Process) -> None:
    # Of a mirror that keeps times, or a producer whose clock is slow: between the times of the old ones, and before
    # the lake's first day, from which nothing was removed.
    process("first", [_record(0, 2), _record(1, 4), _record(2, 6)], day=6)
    process("second", [_record(0), _record(1, 3), _record(2, 5)], day=6)
    _assert_has(settings, 0, 0, 1, 1, 2, 2)
