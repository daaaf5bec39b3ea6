"""`python -m bench.engines_others polars|datacompy LAKE FOLDER`: what else compares two sides on one machine.

Polars does the work of the bare DuckDB job. datacompy says on each side's latest versions which columns differ on which
keys; it prices nothing and writes its report alone. It takes pandas, since its Polars part is of an older Polars.
"""

import sys
from datetime import date
from pathlib import Path

import polars as pl

_DAY = date(2026, 3, 10)
_KEY = ["supplier_id", "activity_id"]
_NAMES = ["event_id", "amount_minor", "currency", "status", "version", "event_time"]
_PER_MINOR = {"USD": "0.01", "EUR": "0.0108", "JPY": "0.0067", "THB": "0.00029"}


def files(root: str) -> list[str]:
    """The day's files of silver."""
    return sorted(map(str, Path(root, "silver/activity").glob(f"event_date={_DAY}/*.parquet")))


def latest(root: str, source: str) -> pl.LazyFrame:
    """The greatest version of each key of one side."""
    order = ["version", "event_time", "event_id"]
    of_side = pl.scan_parquet(files(root)).filter(pl.col("source") == source).select(*_KEY, *_NAMES)
    return of_side.sort(order, descending=True).unique(_KEY, keep="first")


def by_polars(root: str, out: Path) -> None:
    """Facts and anomalies to Parquet: versions, both sides beside each other, rates, price, status and skew."""
    rates = pl.LazyFrame({"currency": list(_PER_MINOR), "rate": list(_PER_MINOR.values())}).with_columns(
        pl.col("rate").cast(pl.Decimal(21, 16))
    )
    sides = [
        latest(root, source)
        .join(rates, on="currency", how="left")
        .with_columns((pl.col("amount_minor").cast(pl.Decimal(16, 0)) * pl.col("rate")).round(6).alias("amount_usd"))
        .drop("rate")
        for source in ("AGODA", "SUPPLIER")
    ]
    pair = (
        sides[0]
        .join(sides[1], on=_KEY, how="full", coalesce=True, suffix="_s")
        .with_columns(
            (pl.col("amount_usd") - pl.col("amount_usd_s")).abs().alias("price_diff_usd"),
            pl.max_horizontal(*_tolerances()).alias("tolerance_usd"),
            (pl.col("event_time") - pl.col("event_time_s")).dt.total_milliseconds().abs().alias("skew_ms"),
        )
    )
    rules = {
        "MISSING_SUPPLIER": pl.col("version_s").is_null(),
        "MISSING_AGODA": pl.col("version").is_null(),
        "PRICE_MISMATCH": pl.col("price_diff_usd") > pl.col("tolerance_usd"),
        "STATUS_MISMATCH": pl.col("status") != pl.col("status_s"),
        "TIMESTAMP_SKEW": pl.col("skew_ms") > 900_000,
    }
    found = [pl.when(is_broken).then(pl.lit(name)) for name, is_broken in rules.items()]
    facts = pair.with_columns(pl.concat_list(found).list.drop_nulls().alias("anomaly_types")).collect()
    facts.write_parquet(out / "facts.parquet")
    broken = facts.filter(pl.col("anomaly_types").list.len() > 0)
    broken.explode("anomaly_types").write_parquet(out / "anomalies.parquet")


def _tolerances() -> list[pl.Expr]:
    share = pl.col("amount_usd") * pl.lit("0.01").cast(pl.Decimal(7, 6))
    return [pl.lit("0.5").cast(pl.Decimal(38, 6)), share]


def by_datacompy(root: str, out: Path) -> None:
    """The report of both sides' differences."""
    import datacompy
    import duckdb

    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'; set enable_progress_bar = false")
    names = ", ".join([*_KEY, *_NAMES[1:]])
    sides = [
        connection.execute(
            f"select {names} from read_parquet($files, hive_partitioning = true) where source = $source qualify "
            "row_number() over (partition by supplier_id, activity_id order by version desc, event_time desc) = 1",
            {"files": files(root), "source": source},
        ).df()
        for source in ("AGODA", "SUPPLIER")
    ]
    compared = datacompy.PandasCompare(*sides, join_columns=_KEY)
    (out / "report.txt").write_text(compared.report())


if __name__ == "__main__":
    {"polars": by_polars, "datacompy": by_datacompy}[sys.argv[1]](sys.argv[2], Path(sys.argv[3]))
