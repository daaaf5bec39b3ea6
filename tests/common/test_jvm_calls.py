"""What every Column is made of, asked of the JVM once: it is what PySpark would have made."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from pyspark.errors import PySparkException
from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F


@pytest.mark.parametrize("count", [1, 2, 9, 10, 11, 20, 21, 35])
def test_lists_of_any_length_keep_their_order(spark: SparkSession, count: int) -> None:
    names = [f"c{n}" for n in range(count)]
    frame = spark.range(1).select(*[F.lit(n).alias(name) for n, name in enumerate(names)])
    row = frame.select(F.array(*names).alias("columns"), *names).collect()[0]
    assert list(row) == [list(range(count)), *range(count)]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        *[(True, "boolean"), (1, "int"), (2**40, "bigint"), ("1", "string"), ("", "string"), (None, "void")],
        *[(1.0, "double"), (Decimal("1.10"), "decimal(3,2)"), (date(2026, 3, 10), "date"), (b"1", "binary")],
    ],
)
def test_a_literal_is_of_its_own_type_whatever_it_equals(spark: SparkSession, value: Any, kind: str) -> None:
    for _ in range(2):
        frame = spark.range(1).select(F.lit(value).alias("one"))
        assert frame.schema["one"].dataType.simpleString() == kind
        assert frame.collect()[0]["one"] == value


@pytest.mark.parametrize("day", [date.min, date(999, 12, 31), date(1582, 10, 15), date(2026, 3, 10), date.max])
def test_a_date_of_any_year_is_itself(spark: SparkSession, day: date) -> None:
    frame = spark.range(1).select(F.lit(day).alias("day"), F.lit(f"{day.isoformat()}").alias("text"))
    found = frame.where(F.col("day").isin([day]) & F.col("day").between(day, day))
    assert [tuple(row) for row in found.select("day", F.col("day").cast("string"), "text").collect()] == [
        (day, day.isoformat(), day.isoformat())
    ]


def test_a_name_is_asked_for_once_and_a_list_in_tens(spark: SparkSession) -> None:
    one, other = F.col("a name"), F.col("a name")
    assert one._jc is other._jc
    assert F.lit("a name")._jc is not one._jc
    assert isinstance(F.col("*"), Column)


def test_a_wrong_list_is_refused_as_pyspark_does(spark: SparkSession) -> None:
    with pytest.raises(PySparkException, match="nowhere"):
        spark.range(1).select("id", "nowhere")
