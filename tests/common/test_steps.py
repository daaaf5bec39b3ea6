"""Selections that were made over one frame do the same over another, and anything else is refused."""

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.common.local_rows import local_rows
from jobs.common.steps import Steps


def _make(frame: DataFrame) -> DataFrame:
    first = frame.columns
    doubled = frame.withColumn("b", F.col("a") * 2).withColumns({"c": F.col("a") + 1})
    kept = doubled.where(F.col("b") > 2).withColumnRenamed("c", "d")
    return kept.select(*first, F.concat_ws("-", "b", "d").alias("told"), "d").drop("d")


def test_the_same_is_done_to_each_frame_and_made_once(spark: SparkSession) -> None:
    made = 0

    def make(frame: DataFrame) -> DataFrame:
        nonlocal made
        made += 1
        return _make(frame)

    steps = Steps(make)
    for numbers, wanted in (([1, 2], [(2, "4-3")]), ([5, 0], [(5, "10-6")]), ([], [])):
        found = steps(local_rows(spark, [(n,) for n in numbers], "a int"))
        assert [tuple(row) for row in found.collect()] == wanted
        assert found.columns == ["a", "told"]
    assert made == 1


def test_what_is_no_selection_is_refused(spark: SparkSession) -> None:
    with pytest.raises(AttributeError, match="groupBy is no selection"):
        Steps(lambda frame: frame.groupBy("a").count())(local_rows(spark, [(1,)], "a int"))
