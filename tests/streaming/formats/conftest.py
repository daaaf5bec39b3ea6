"""The formats of the truth tables, made once."""

import pytest
from pyspark.sql import SparkSession

from jobs.common.formats.mapping import Formats
from jobs.streaming.formats_in_force import usable
from tests.streaming.formats.cases import FORMATS
from tests.streaming.formats.reading import definitions


@pytest.fixture(scope="session")
def formats(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Formats:
    """Each format, and a supplier named like it that has it."""
    known = definitions(tmp_path_factory.mktemp("formats"), FORMATS)
    found = usable(spark, known, {f"S{name}": name for name in FORMATS})
    assert found.broken == {}
    return found
