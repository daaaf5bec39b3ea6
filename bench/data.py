"""Synthetic days of activities, the same for every contender."""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.common import tables
from jobs.common.settings import Settings

DAY = date(2026, 3, 10)
_MIDNIGHT_MS = int(datetime(2026, 3, 10, tzinfo=UTC).timestamp() * 1000)
_RATES = {"EUR": "1.08", "JPY": "0.0067", "THB": "0.029"}


def make_lake(spark: SparkSession, settings: Settings, activities: int) -> None:
    """One day of so many activities a side, 1% missing on either, 2% priced differently, in silver; and rates."""
    path = tables.ensure_table(spark, settings, "activity")
    events = _side(spark, activities, "AGODA").unionByName(_side(spark, activities, "SUPPLIER"))
    shuffled = events.repartition(8, F.xxhash64("event_id", F.lit("publication")))
    tables.conformed(shuffled, "activity").write.format("delta").mode("append").save(path)
    rates = [(DAY, currency, Decimal(rate), 1, datetime(2026, 3, 10, tzinfo=UTC)) for currency, rate in _RATES.items()]
    fx = tables.ensure_table(spark, settings, "fx_rates")
    spark.createDataFrame(rates, tables.read(spark, fx).schema).write.format("delta").mode("append").save(fx)


def _side(spark: SparkSession, activities: int, side: str) -> DataFrame:
    number = F.col("id")

    def drawn(salt: str, below: int) -> Column:
        return F.pmod(F.xxhash64(number, F.lit(salt)), F.lit(below))

    event_time = F.timestamp_millis(F.lit(_MIDNIGHT_MS) + drawn("time", 86_000_000) + drawn(f"{side}-skew", 1000))
    currency = F.get(F.array(*[F.lit(code) for code in ("USD", *_RATES)]), drawn("currency", 4).cast("int"))
    off = F.when(drawn(f"{side}-price", 100) == 0, F.lit(5000)).otherwise(F.lit(0))
    return (
        spark.range(activities)
        .where(drawn(f"{side}-missing", 100) != 0)
        .select(
            F.concat(F.lit(side[0]), number).alias("event_id"),
            F.lit(side).alias("source"),
            F.format_string("SUP-%03d", drawn("supplier", 30)).alias("supplier_id"),
            F.concat(F.lit("BK-"), F.lpad(F.hex(F.xxhash64(number)), 16, "0")).alias("activity_id"),
            F.lit("BOOKING").alias("activity_type"),
            (drawn("amount", 100_000) + off).alias("amount_minor"),
            currency.alias("currency"),
            F.lit("BOOKED").alias("status"),
            F.lit(1).alias("version"),
            event_time.alias("event_time"),
            (event_time + F.expr("interval 5 seconds")).alias("kafka_time"),
            F.lit("NRT_HOURLY").alias("mode"),
            F.lit(3600).alias("grace_seconds"),
            F.lit(0).alias("policy_version"),
            F.lit(f"{side.lower()}.raw.activity").alias("topic"),
            F.lit(0).alias("partition"),
            number.alias("offset"),
            F.timestamp_millis(F.lit(_MIDNIGHT_MS + 90_000_000)).alias("ingested_at"),
            F.to_date(event_time).alias("event_date"),
            F.hour(event_time).alias("event_hour"),
        )
    )


def sides(spark: SparkSession, settings: Settings) -> tuple[DataFrame, DataFrame]:
    """Both sides as the other tools take them: key and compared columns."""
    columns = ["supplier_id", "activity_id", "amount_minor", "currency", "status", "event_time"]

    def of(side: str) -> DataFrame:
        # Read for each side, and named anew: spark-extension's diff cannot tell columns of one read apart.
        silver = tables.read(spark, settings.table_path("activity")).where(F.col("source") == side)
        return silver.select(*[F.col(name).alias(name) for name in columns])

    return of("AGODA"), of("SUPPLIER")


def folder(root: Path, activities: int) -> Path:
    """Where the lake of so many activities is."""
    return root / f"lake-{activities}"
