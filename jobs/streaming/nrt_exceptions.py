"""The stream's exceptions: PENDING → OPEN → RESOLVED, and reopened, from the verdicts that were written."""

from collections.abc import Callable
from datetime import UTC, datetime

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.common import tables
from jobs.common.conflicts import despite_maintenance
from jobs.common.settings import Settings
from jobs.streaming.verdicts import said
from reco_rules.identity import digest
from reco_rules.vocabulary import KEY

_BREAK = [*KEY, "anomaly_type"]
IS_UNRESOLVED = "state != 'RESOLVED'"
_JUDGED = ["severity", "amount_at_risk_usd", "explanation"]
LIFE = [
    "state",
    "held_by",
    *_JUDGED,
    "pending_until",
    "known_since",
    "first_seen_at",
    "opened_at",
    "resolved_at",
    "reopened",
]


def remembered_keys(spark: SparkSession, settings: Settings, since: datetime) -> DataFrame:
    """The keys that have an exception, not resolved or resolved since then: `known_since`, `is_unresolved`, and
    `pending_until`: until when the first that is PENDING pends, null where none is.
    """
    rows = tables.read(spark, settings.table_path("nrt_exceptions")).where(F.col("activity_id").isNotNull())
    lately = rows.where(F.expr(IS_UNRESOLVED) | (F.col("resolved_at") >= F.lit(since)))
    return lately.groupBy(*KEY).agg(
        F.min("known_since").alias("known_since"),
        F.bool_or(F.expr(IS_UNRESOLVED)).alias("is_unresolved"),
        F.min(F.when(F.col("state") == "PENDING", F.col("pending_until"))).alias("pending_until"),
    )


def changed_exceptions(
    existing: DataFrame, results: DataFrame, at: datetime, held_by: Callable[[Column], Column]
) -> DataFrame:
    """The exceptions that these verdicts (one a key) judge, all columns of the table, `is_changed` and `is_known`.

    `existing`: rows of gold/nrt_exceptions. A break in the verdict lives in the verdict's state; one of the same key
    that is not in the verdict is resolved; one that comes back after that is opened again, with its first days kept.
    `held_by`: from when it is known since, the FEED_SILENT exception that explains it, or null.
    """
    one = F.explode("breaks").alias("one")
    told = [F.col(name).alias(f"new_{name}") for name in ("pending_until", "known_since")]
    broken = results.where(F.size("breaks") > 0).select(
        *KEY, F.col("result_id").alias("new_by"), said().alias("new_said"), *told, one
    )
    now = broken.select(
        *KEY,
        F.col("one.anomaly_type").alias("anomaly_type"),
        "new_by",
        "new_said",
        F.col("one.state").alias("new_state"),
        "new_pending_until",
        "new_known_since",
        *[F.col(f"one.{name}").alias(f"new_{name}") for name in _JUDGED],
    )
    # What a verdict says is hashed after the join: most have no exception.
    heard = results.drop(*LIFE, "anomaly_type", "judged_by").withColumnRenamed("result_id", "by")
    known = (
        existing.select(*_BREAK, *LIFE, "result_id", "judged_by", F.lit(True).alias("is_known"))
        .join(heard, on=list(KEY), how="inner")
        .select(*_BREAK, *LIFE, "result_id", "judged_by", "is_known", "by", said().alias("said"))
    )
    both = known.join(now, on=_BREAK, how="full_outer").withColumns(
        {name: F.coalesce(name, f"new_{name}") for name in ("by", "said")}
    )
    after = life_after(F.lit(at))
    after["held_by"] = F.when(after["state"] != "RESOLVED", held_by(after["known_since"]))
    same = F.lit(True)
    for name, value in after.items():
        same = same & value.eqNullSafe(F.col(name))
    return both.where(~same | ~F.col("said").eqNullSafe(F.col("judged_by"))).select(
        digest(*[F.col(name) for name in _BREAK]).alias("exception_id"),
        *_BREAK,
        *[value.alias(name) for name, value in after.items()],
        F.when(same, F.col("result_id")).otherwise(F.col("by")).alias("result_id"),
        F.col("said").alias("judged_by"),
        (~same).alias("is_changed"),
        F.coalesce("is_known", F.lit(False)).alias("is_known"),
    )


def life_after(at: Column) -> dict[str, Column]:
    """The columns of `LIFE` from their values before and what was judged now (`new_…`; null where it was not found)."""
    is_found, was = F.col("new_state").isNotNull(), F.col("state")
    opens = is_found & (F.col("new_state") == "OPEN") & ~F.coalesce(was == "OPEN", F.lit(False))
    comes_back = is_found & F.coalesce(was == "RESOLVED", F.lit(False))
    return {
        "state": F.coalesce("new_state", F.lit("RESOLVED")),
        "held_by": F.lit(None).cast("string"),
        **{name: F.when(is_found, F.col(f"new_{name}")).otherwise(F.col(name)) for name in _JUDGED},
        "pending_until": F.when(F.col("new_state") == "PENDING", F.col("new_pending_until")),
        "known_since": F.when(comes_back, F.col("new_known_since")).otherwise(
            F.coalesce("known_since", "new_known_since")
        ),
        "first_seen_at": F.coalesce("first_seen_at", at),
        "opened_at": F.when(opens, at).otherwise(F.col("opened_at")),
        "resolved_at": F.when(~is_found, F.coalesce("resolved_at", at)),
        "reopened": F.coalesce("reopened", F.lit(0)) + F.when(comes_back, F.lit(1)).otherwise(F.lit(0)),
    }


def keep_exceptions(
    spark: SparkSession,
    settings: Settings,
    results: DataFrame,
    at: datetime,
    held_by: Callable[[Column], Column],
    existing: DataFrame | None = None,
) -> DataFrame:
    """Bring gold/nrt_exceptions up to these verdicts; returns the rows that they changed, as they are now.

    `existing`: the table's rows of their keys at least, where they are at hand.
    """
    path = settings.table_path("nrt_exceptions")
    known = tables.read(spark, path) if existing is None else existing
    judged = changed_exceptions(known, results, at, held_by).localCheckpoint(eager=False)
    oldest, replaces = judged.agg(F.min("first_seen_at"), F.bool_or("is_known")).collect()[0]
    rows = tables.conformed(judged, "nrt_exceptions")
    if replaces:
        _merge(spark, path, rows, oldest)
    elif oldest is not None:
        # None of them is in the table, by the table itself: a MERGE would look for them again, in several jobs.
        rows.write.format("delta").mode("append").save(path)
    return tables.conformed(judged.where("is_changed"), "nrt_exceptions")


def merge(spark: SparkSession, path: str, rows: DataFrame) -> None:
    """Put these rows, one an exception, in the place of those that gold/nrt_exceptions has; held rows."""
    oldest = rows.agg(F.min("first_seen_at")).collect()[0][0]
    if oldest is not None:
        _merge(spark, path, rows, oldest)


def _merge(spark: SparkSession, path: str, rows: DataFrame, oldest: datetime) -> None:
    rows.createOrReplaceTempView("changed_nrt_exceptions")
    # An exception keeps its first day, so older files need not be looked into.
    since = f"TIMESTAMP '{oldest.astimezone(UTC).isoformat(sep=' ', timespec='microseconds')}'"
    statement = (
        f"MERGE INTO {tables.identifier(path)} AS known USING changed_nrt_exceptions AS changed "
        f"ON known.exception_id = changed.exception_id AND known.first_seen_at >= {since} "
        "WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"
    )
    despite_maintenance("nrt_exceptions", lambda: spark.sql(statement))
    spark.catalog.dropTempView("changed_nrt_exceptions")
