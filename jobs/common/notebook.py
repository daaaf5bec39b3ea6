"""The lake by SQL for notebooks: the same words without a JVM, by Polars, or by Spark."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import polars as pl
from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession

from jobs.common import tables
from jobs.common.arrow import polars_schema
from jobs.common.errors import FAILED, UserError
from jobs.common.lake import open_table
from jobs.common.policies import effective, policies_from
from jobs.common.policy_file import BUILT_IN, Policy
from jobs.common.session import spark_session
from jobs.common.settings import Lake, Settings
from schemas.tables import TABLES

#: Beside the tables: one row a close, supplier and side, out of gold/closes.
CONTROL_TOTALS = "control_totals"


class Reader:
    """Answers SQL over a lake, whose tables have the last part of their path as their name."""

    def __init__(self, root: str, engine: str = "polars") -> None:
        """`root` is a folder or URI as in lake.root. `engine` spark takes the session that runs, or starts one."""
        if engine not in ("polars", "spark"):
            raise UserError(f"ENGINE is {engine!r}: write polars, which needs no JVM, or spark.")
        known = Settings()
        self.settings = known.model_copy(update={"lake": Lake(root=root)})
        self.spark: SparkSession | None = None
        if engine == "spark":
            self.spark = SparkSession.getActiveSession() or spark_session("reco-notebook", self.settings)

    def ask(self, sql: str, **versions: int) -> pl.DataFrame:
        """The answer to one SELECT; `versions` are Delta versions of tables to be read in place of the newest.

        The view control_totals has the close's control totals, one row a close_id, supplier_id and side. UserError
        where a table is not there. Times are UTC.
        """
        names = [name for name in (*TABLES, CONTROL_TOTALS) if re.search(rf"\b{name}\b", sql)]
        if self.spark is None:
            frames = {name: self._scan(name, versions) for name in names}
            return pl.SQLContext(frames).execute(sql, eager=True)
        with self._views(self.spark, names, versions):
            return _collected(self.spark.sql(sql))

    def policy(self, supplier: str, version: int) -> Policy:
        """What held for the supplier by that version of the policies; 0 is the built-in defaults."""
        if version == 0:
            return BUILT_IN
        rows = self.ask("select * from policies").filter(pl.col("policy_version") == version)
        return effective(policies_from(rows), supplier)

    def version_at(self, name: str, moment: datetime) -> int:
        """The newest version of the table that was committed at `moment` or before; UserError where there is none.

        Spark goes by the time of the log's files, which is lost where a lake is copied without it.
        """
        if self.spark is None:
            history = self._open(name).history()
            commits = {row["version"]: datetime.fromtimestamp(row["timestamp"] / 1000, UTC) for row in history}
        else:
            rows = self.spark.sql(f"DESCRIBE HISTORY delta.`{self.settings.table_path(name)}`").select(
                "version", "timestamp"
            )
            commits = {row["version"]: row["timestamp"].astimezone(UTC) for row in rows.collect()}
        found: list[int] = [version for version, at in commits.items() if at <= moment]
        if not found:
            raise UserError(
                f"The table {TABLES[name].path} has no version as old as {moment}: its log was cut, or it was copied "
                "without the times of its files (cp -p keeps them).",
                FAILED,
            )
        return max(found)

    def _open(self, name: str) -> DeltaTable:
        table = open_table(self.settings, name)
        if table is None:
            raise self._missing(name)
        return table

    def _missing(self, name: str) -> UserError:
        return UserError(
            f"The lake {self.settings.lake.root} has no table {TABLES[name].path}: set LAKE to one that has "
            "been closed; `reco demo` makes one.",
            FAILED,
        )

    def _scan(self, name: str, versions: dict[str, int]) -> pl.LazyFrame:
        if name == CONTROL_TOTALS:
            closes = self._scan("closes", versions).select("close_id", "reco_date", CONTROL_TOTALS)
            return closes.explode(CONTROL_TOTALS).unnest(CONTROL_TOTALS)
        self._open(name)
        return pl.scan_delta(self.settings.table_path(name), version=versions.get(name))

    def _frame(self, spark: SparkSession, name: str, versions: dict[str, int]) -> DataFrame:
        if name == CONTROL_TOTALS:
            return self._frame(spark, "closes", versions).selectExpr("close_id", "reco_date", f"inline({name})")
        path = self.settings.table_path(name)
        if not tables.exists(spark, path):
            raise self._missing(name)
        return tables.read(spark, path, versions.get(name))

    @contextmanager
    def _views(self, spark: SparkSession, names: list[str], versions: dict[str, int]) -> Iterator[None]:
        try:
            for name in names:
                self._frame(spark, name, versions).createOrReplaceTempView(name)
            yield
        finally:
            for name in names:
                spark.catalog.dropTempView(name)


def _collected(answer: DataFrame) -> pl.DataFrame:
    # Spark's driver gives times without a zone, in that of this machine.
    rows = [
        tuple(value.astimezone(UTC) if isinstance(value, datetime) else value for value in row)
        for row in answer.collect()
    ]
    return pl.DataFrame(rows, schema=polars_schema(answer.schema), orient="row")
