"""Rows of the driver as a constant of the plan: the same values and types as `createDataFrame` gives."""

from datetime import UTC, date, datetime
from decimal import Decimal

from chispa import assert_df_equality
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.common.local_rows import held, local_rows
from schemas.tables import TABLES

_COLUMNS = (
    "number bigint, text string, amount decimal(38,16), day date, at timestamp, yes boolean, "
    "lines array<struct<seconds:decimal(18,3),name:string>>, counts map<string,bigint>"
)
_ROWS = [
    (
        *(2**62, 'é "quoted" \\ 😀\n\t', Decimal("12345678901234567890.1234567890123456"), date(2026, 3, 1)),
        *(datetime(2026, 3, 1, 23, 59, 59, 999_999, tzinfo=UTC), True),
        *([(Decimal("1.500"), None), (None, "")], {"MATCHED": 2}),
    ),
    (-1, "", Decimal("0E-16"), date(1, 1, 1), datetime(1970, 1, 1, tzinfo=UTC), False, [], {}),
    (None,) * 8,
]


def test_values_and_types_stay(spark: SparkSession) -> None:
    wanted = spark.createDataFrame(_ROWS, _COLUMNS)
    # Rows with maps cannot be sorted, and few rows in one partition keep their order.
    assert_df_equality(local_rows(spark, _ROWS, _COLUMNS), wanted.coalesce(1), ignore_nullable=True)
    assert_df_equality(held(wanted.coalesce(1)), wanted.coalesce(1), ignore_nullable=True)


def test_comments_stay_and_no_rows_are_none(spark: SparkSession) -> None:
    schema = TABLES["policies"].schema
    empty = local_rows(spark, [], schema)
    assert empty.collect() == []
    assert [field.metadata for field in empty.schema.fields] == [field.metadata for field in schema.fields]


def test_it_is_a_snapshot(spark: SparkSession) -> None:
    """What is held does not change when its source does: a random column gives the same numbers each time."""
    drawn = held(spark.range(5).select(F.uuid().alias("drawn")))
    assert drawn.collect() == drawn.collect()
