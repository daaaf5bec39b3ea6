"""The close, and what it is measured against: a bare Spark job, two diff libraries, DuckDB, Polars."""

import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import polars as pl
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from bench.data import DAY, sides
from jobs.common import tables
from jobs.common.engines.duckdb import duckdb_session
from jobs.common.settings import Settings
from jobs.daily.close import close_day

Contender = Callable[[], None]
#: What `reco daily` takes for these sizes where nobody says otherwise (`--engine auto`).
CHOSEN = "reco close, engine duckdb"
NOW = datetime(2026, 3, 12, tzinfo=UTC)


def spark_contenders(spark: SparkSession, settings: Settings, scratch: Path) -> Mapping[str, Contender]:
    """Whole runs by name, each from Delta to its result."""
    return {
        CHOSEN: lambda: _close_by_duckdb(settings),
        "reco close, engine spark": lambda: _close(spark, settings),
        "bare Spark": lambda: _bare(spark, settings, scratch),
        "spark-extension diff": lambda: _extension(spark, settings),
        "datacompy SparkSQLCompare": lambda: _datacompy(spark, settings),
    }


def other_contenders(settings: Settings) -> Mapping[str, Contender]:
    """The same dedupe, join and price rule without Spark and without writing Delta's history."""
    return {"DuckDB": lambda: _duckdb(settings), "Polars": lambda: _polars(settings)}


def _close(spark: SparkSession, settings: Settings) -> None:
    shutil.rmtree(Path(settings.lake.root, "gold"), ignore_errors=True)
    close_day(spark, settings, DAY, NOW)


def _close_by_duckdb(settings: Settings) -> None:
    shutil.rmtree(Path(settings.lake.root, "gold"), ignore_errors=True)
    with duckdb_session(settings) as session:
        close_day(session, settings, DAY, NOW)


def _bare(spark: SparkSession, settings: Settings, scratch: Path) -> None:
    """Read, keep the latest version of each side, full outer join, price rule with FX, facts and anomalies to Delta."""
    silver = tables.read(spark, settings.table_path("activity")).where(F.col("event_date") == F.lit(DAY))
    rates = tables.read(spark, settings.table_path("fx_rates")).select("currency", "usd_per_unit")
    units = spark.createDataFrame([("EUR", 2), ("JPY", 0), ("THB", 2)], "currency string, digits int")
    priced = F.broadcast(rates.join(units, on="currency", how="inner"))
    facts = _joined(silver, priced)
    for name, rows in (("facts", facts), ("anomalies", None)):
        target = str(scratch / name)
        shutil.rmtree(target, ignore_errors=True)
        if rows is None:
            rows = tables.read(spark, str(scratch / "facts")).where(F.col("outcome") != "MATCHED")
        rows.write.format("delta").save(target)


def _joined(silver: DataFrame, rates: DataFrame) -> DataFrame:
    newest = Window.partitionBy("supplier_id", "activity_id").orderBy(
        F.col("version").desc(), F.col("event_time").desc()
    )
    latest = {}
    for side in ("agoda", "supplier"):
        of_side = silver.where(F.col("source") == side.upper()).withColumn("place", F.row_number().over(newest))
        kept = of_side.where(F.col("place") == 1).join(rates, on="currency", how="left")
        whole = F.col("amount_minor").cast("decimal(16,0)")
        dollars = F.when(F.col("currency") == "USD", whole / 100).otherwise(
            whole / F.when(F.col("digits") == 0, F.lit(1)).otherwise(F.lit(100)) * F.col("usd_per_unit")
        )
        names = ["event_id", "amount_minor", "currency", "status", "version", "event_time"]
        latest[side] = kept.select(
            "supplier_id",
            "activity_id",
            *[F.col(name).alias(f"{side}_{name}") for name in names],
            F.round(dollars.cast("decimal(38,16)"), 6).alias(f"{side}_amount_usd"),
        )
    joined = latest["agoda"].join(latest["supplier"], on=["supplier_id", "activity_id"], how="full_outer")
    apart = F.abs(F.col("agoda_amount_usd") - F.col("supplier_amount_usd"))
    allowed = F.greatest(
        F.lit("0.5").cast("decimal(38,6)"), F.col("agoda_amount_usd") * F.lit("0.01").cast("decimal(7,6)")
    )
    outcome = (
        F.when(F.col("supplier_event_id").isNull(), F.lit("MISSING_SUPPLIER"))
        .when(F.col("agoda_event_id").isNull(), F.lit("MISSING_AGODA"))
        .when(apart > allowed, F.lit("MISMATCHED"))
        .otherwise(F.lit("MATCHED"))
    )
    return joined.select("*", apart.alias("price_diff_usd"), outcome.alias("outcome"))


def _extension(spark: SparkSession, settings: Settings) -> None:
    from gresearch.spark.diff import diff

    agoda, supplier = sides(spark, settings)
    diff(agoda, supplier, "supplier_id", "activity_id").write.format("noop").mode("overwrite").save()


def _datacompy(spark: SparkSession, settings: Settings) -> None:
    """On cached inputs, as its documentation advises; its report of the counts is the result."""
    from datacompy.spark import SparkSQLCompare

    agoda, supplier = (side.cache() for side in sides(spark, settings))
    try:
        SparkSQLCompare(spark, agoda, supplier, join_columns=["supplier_id", "activity_id"]).report()
    finally:
        agoda.unpersist()
        supplier.unpersist()


def _duckdb(settings: Settings) -> None:
    connection = duckdb.connect()
    files = f"{settings.table_path('activity')}/event_date=*/*.parquet"
    side = (
        "select * from (select *, row_number() over (partition by supplier_id, activity_id order by version desc, "
        f"event_time desc) as place from read_parquet('{files}') where source = '%s') where place = 1"
    )
    connection.execute(
        f"create table facts as select coalesce(a.supplier_id, s.supplier_id) as supplier_id, "
        "coalesce(a.activity_id, s.activity_id) as activity_id, a.amount_minor as agoda, s.amount_minor as supplier, "
        "abs(a.amount_minor - s.amount_minor) > 50 as differs "
        f"from ({side % 'AGODA'}) a full outer join ({side % 'SUPPLIER'}) s "
        "on a.supplier_id = s.supplier_id and a.activity_id = s.activity_id"
    )


def _polars(settings: Settings) -> None:
    silver = pl.scan_delta(settings.table_path("activity"))
    key = ["supplier_id", "activity_id"]
    latest = [
        silver.filter(pl.col("source") == side).sort("version", "event_time", descending=True).unique(key, keep="first")
        for side in ("AGODA", "SUPPLIER")
    ]
    joined = latest[0].join(latest[1], on=key, how="full", coalesce=True, suffix="_supplier")
    joined.with_columns(differs=(pl.col("amount_minor") - pl.col("amount_minor_supplier")).abs() > 50).collect()
