"""Held rows stay what they were."""

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.common.engines.spark import SparkEngine
from jobs.common.kept import Kept


@pytest.mark.parametrize("is_alone", [True, False], ids=["one machine", "cluster"])
def test_fixed_rows_outlast_what_is_written_to_their_table(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_alone: bool
) -> None:
    monkeypatch.setattr(SparkEngine, "_is_alone", lambda _: is_alone)
    path = str(tmp_path / "given")
    spark.range(3).write.format("delta").save(path)
    with Kept() as kept:
        new = kept.fixed(spark.range(5).join(spark.read.format("delta").load(path), on="id", how="left_anti"))
        assert not new.isEmpty()
        new.write.format("delta").mode("append").save(path)
        assert sorted(row.id for row in new.collect()) == [3, 4]
    assert spark.read.format("delta").load(path).count() == 5


def test_what_is_fixed_is_held_as_it_is(spark: SparkSession) -> None:
    with Kept() as kept:
        level = kept.fixed(spark.range(5))._jdf.queryExecution().logical().rdd().getStorageLevel()
        assert level.deserialized(), "else each reading puts every row through Java's serialization"
        assert level.useDisk()
