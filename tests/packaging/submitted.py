"""Submitted by test_pyfiles: says where our packages came from on driver and executors, then exits with 3."""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from pyspark.sql import SparkSession

import jobs.common.errors
import reco_rules
import schemas.tables


def places(_rows: Iterable[int]) -> Iterator[tuple[str, str, str, int]]:
    """Where an executor found them; and that a module of ours works there."""
    import os

    import reco_rules
    import schemas.tables

    yield os.environ["SPARK_EXECUTOR_DIRS"], str(schemas.__file__), str(reco_rules.__file__), len(schemas.tables.TABLES)


if __name__ == "__main__":
    spark = SparkSession.builder.config("spark.ui.enabled", "false").getOrCreate()
    found = spark.sparkContext.parallelize(range(8), 8).mapPartitions(places).collect()
    driver = [str(schemas.__file__), str(reco_rules.__file__), str(jobs.common.errors.__file__)]
    told = {"driver": driver, "executors": found, "tables": len(schemas.tables.TABLES)}
    Path(sys.argv[1]).write_text(json.dumps(told))
    spark.stop()
    sys.exit(jobs.common.errors.BREAKS_FOUND)
