"""What the groups gave comes once into gold, in whatever order a new checkpoint gives it again."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.common import tables
from jobs.common.lake import open_table, read
from jobs.common.settings import Lake, Settings, Stream
from jobs.streaming.gather import Gatherer

_AT = datetime(2026, 3, 9, 23, 58, tzinfo=UTC)
Gather = Callable[..., None]


@pytest.fixture
def settings(spark: SparkSession, tmp_path: Path) -> Settings:
    chosen = Settings(lake=Lake(root=str(tmp_path / "lake")), stream=Stream(summary_minutes=0))
    tables.ensure_table(spark, chosen, "nrt_results")
    return chosen


@pytest.fixture
def gather(spark: SparkSession, settings: Settings, tmp_path: Path) -> Gather:
    """Gathers batches in a process of its own; each is the minutes at which its verdicts were given."""
    kind = tables.row_type("nrt_results")

    def verdict(minute: int) -> str:
        at = _AT + timedelta(minutes=minute)
        told = {"result_id": f"'{minute}'", "verdict_at": f"timestamp '{at.isoformat()}'"}
        told |= {"verdict_date": f"date '{at.date()}'", "verdict_hour": f"{at.hour}"}
        fields = [f"'{f.name}', cast({told.get(f.name, 'null')} as {f.dataType.simpleString()})" for f in kind]
        return f"named_struct({', '.join(fields)})"

    def run(checkpoint: str, *batches: list[int], first: int = 0) -> None:
        offsets = tmp_path / checkpoint / "offsets"
        offsets.mkdir(parents=True, exist_ok=True)
        spark.sparkContext.setLocalProperty("sql.streaming.queryId", checkpoint)
        gatherer = Gatherer(spark, settings, str(tmp_path / checkpoint))
        for number, minutes in enumerate(batches, first):
            (offsets / str(number)).write_text('v1\n{"batchWatermarkMs": 0, "batchTimestampMs": 0}\n')
            rows = spark.range(1).select(F.explode(F.array(*[F.expr(verdict(minute)) for minute in minutes or [0]])))
            nothing = F.lit(None).cast(tables.row_type("nrt_exceptions")).alias("exception")
            batch = rows.select(F.col("col").alias("verdict"), nothing, F.lit(0).alias("changed_in"))
            gatherer(batch.where(F.lit(bool(minutes))), number)
        spark.sparkContext.setLocalProperty("sql.streaming.queryId", None)  # type: ignore[arg-type]

    return run


def test_what_gold_has_comes_once_whatever_came_before_it(settings: Settings, gather: Gather) -> None:
    gather("first", [1, 2], [3, 4])
    # The first batch has nothing that gold has: the newest file may come first, and the oldest rows be removed in gold.
    gather("second", [], [5], [0], [1, 2], [3, 6], [4])
    _assert_has(settings, range(7))


@pytest.mark.long
def test_a_copy_of_a_checkpoint_that_is_put_back_loses_nothing(settings: Settings, gather: Gather) -> None:
    gather("one", [0], [1], [2])
    gather("one", [1, 2, 3], [4], first=1)
    gather("one", [4, 5], [6], first=2)
    _assert_has(settings, range(7))


def test_a_process_that_goes_on_compares_nothing(
    settings: Settings, gather: Gather, monkeypatch: pytest.MonkeyPatch
) -> None:
    gather("first", [1])
    monkeypatch.setattr(Gatherer, "_unknown", lambda *_: pytest.fail("gold cannot have these"))
    gather("second", [2, 3], [4])
    _assert_has(settings, range(1, 5))


def _assert_has(settings: Settings, minutes: range) -> None:
    there = read(open_table(settings, "nrt_results"), "nrt_results")["result_id"]
    assert sorted(there) == [str(minute) for minute in minutes]
