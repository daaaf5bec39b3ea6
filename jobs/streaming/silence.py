"""Feeds that have stopped: one FEED_SILENT exception a supplier, which holds the missing answers that it explains."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from jobs.common import tables
from jobs.common.kept import Kept
from jobs.common.local_rows import local_rows
from jobs.common.settings import Settings
from jobs.streaming.feeds import FEED, Feeds
from jobs.streaming.nrt_exceptions import LIFE, life_after, merge
from jobs.streaming.results import tell_held, tell_silence
from jobs.streaming.verdicts import Moment
from reco_rules.explain import silence_explanation
from reco_rules.identity import digest
from reco_rules.policy import with_policy
from reco_rules.risk import severity
from reco_rules.silence import is_held
from reco_rules.vocabulary import FEED_SILENT, AnomalyType, Side
from schemas.types import TOLERANCE, USD

_LIMITS = {"high_usd": TOLERANCE, "critical_usd": TOLERANCE}
_HOLDER = "map<string, struct<exception_id: string, last_event: timestamp, grace_seconds: bigint>>"


class Silence:
    """Remembers which feeds are silent. It looks when it starts and then by the stream's time, every `sweep_minutes`.

    In between it looks as soon as a silent feed speaks. A feed that was called silent stays so until it sends an event,
    whatever the stream's time: a new checkpoint takes nothing back.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings, self._feeds = settings, Feeds(settings)
        self._silent: list[Row] = []
        self._told: dict[str, datetime] = {}
        self._looked_at: datetime | None = None
        self._is_looking = False

    def is_due(self, watermark: datetime) -> bool:
        """Whether the stream's time calls for a look."""
        stream = self._settings.stream
        if not stream.sweep_minutes:
            return False
        if self._looked_at is None:
            return True
        return bool(stream.silence_floor_minutes) and watermark >= self._looked_at + timedelta(
            minutes=stream.sweep_minutes
        )

    def look(self, spark: SparkSession, arrived: DataFrame | None, moment: Moment) -> None:
        """Find out which feeds are silent, where that is due. `arrived`: what `Arrivals.keys` tells."""
        self._is_looking = self.is_due(moment.watermark) or self._is_back(arrived)
        if not self._is_looking:
            return
        if self._looked_at is None:
            self._told = self._open(spark)
        is_on = bool(self._settings.stream.silence_floor_minutes)
        self._silent = self._feeds.silent(spark, moment, self._told) if is_on else []

    def held_by(self, known_since: Column) -> Column:
        """The FEED_SILENT exception that explains a row of gold/nrt_exceptions known since then, or null."""
        if not self._silent:
            return F.lit(None).cast("string")
        holders = {
            row["supplier_id"]: {
                "exception_id": row["exception_id"],
                "last_event": row["last_event"].astimezone(UTC).isoformat(),
                "grace_seconds": row["grace_seconds"],
            }
            for row in self._silent
        }
        holder = F.from_json(F.lit(json.dumps(holders)), _HOLDER)[F.col("supplier_id")]
        explains = is_held(F.col("anomaly_type"), known_since, holder["last_event"], holder["grace_seconds"])
        return F.when(explains, holder["exception_id"])

    def keep(self, spark: SparkSession, moment: Moment, names: Mapping[str, object]) -> None:
        """Bring gold/nrt_exceptions up to the last look, in one commit, and tell. `names`: query_id and batch_id."""
        if not self._is_looking:
            return
        if self._silent or self._told or self._looked_at is None:
            batch = digest(F.lit(FEED_SILENT), *[F.lit(value) for value in names.values()])
            self._write(spark, moment, batch)
        self._told = {row["supplier_id"]: row["last_event"].astimezone(UTC) for row in self._silent}
        self._looked_at, self._is_looking = moment.watermark, False

    def _write(self, spark: SparkSession, moment: Moment, batch: Column) -> None:
        path = self._settings.table_path("nrt_exceptions")
        known = tables.read(spark, path)
        with Kept() as kept:
            is_missing = F.col("anomaly_type") == AnomalyType.MISSING_SUPPLIER.value
            missing = kept.fixed(
                known.where(is_missing & (F.col("state") != "RESOLVED")).withColumn(
                    "holder", self.held_by(F.col("known_since"))
                )
            )
            marked = missing.where(~F.col("holder").eqNullSafe(F.col("held_by"))).withColumn("held_by", F.col("holder"))
            feeds = local_rows(spark, self._silent, FEED)
            priced = with_policy(feeds, moment.policies.rows(spark), moment.policies.defaults, _LIMITS)
            told = known.where(F.col("anomaly_type") == FEED_SILENT)
            opened = changed_feeds(told, silences(priced, missing), moment.at).withColumns(
                {"result_id": batch, "judged_by": F.lit(None).cast("string")}
            )
            changed = [tables.conformed(rows, "nrt_exceptions") for rows in (opened, marked)]
            rows = kept.fixed(changed[0].unionByName(changed[1]))
            if not rows.isEmpty():
                tell_held(self._settings, marked, batch)
                merge(spark, path, rows)
            elif self._looked_at is not None:
                return
            # After a start too, for the attempt before may have ended just here.
            tell_silence(spark, self._settings, batch)

    def _open(self, spark: SparkSession) -> dict[str, datetime]:
        rows = tables.read(spark, self._settings.table_path("nrt_exceptions"))
        told = rows.where((F.col("anomaly_type") == FEED_SILENT) & (F.col("state") != "RESOLVED"))
        found = told.select("supplier_id", "known_since").collect()
        return {row["supplier_id"]: row["known_since"].astimezone(UTC) for row in found}

    def _is_back(self, arrived: DataFrame | None) -> bool:
        """Whether a silent feed has spoken; a redelivery may turn out to be no event."""
        if not self._silent or arrived is None:
            return bool(self._silent)
        names = [row["supplier_id"] for row in self._silent]
        of_feed = (F.col("source") == Side.SUPPLIER.value) & F.col("supplier_id").isin(names)
        return not arrived.where(of_feed).isEmpty()


def silences(feeds: DataFrame, missing: DataFrame) -> DataFrame:
    """What FEED_SILENT exceptions say now of these feeds, as `new_…` columns of `LIFE`, and `supplier_id`.

    `feeds`: columns of `FEED` and the policy's limits of severity. `missing`: unresolved MISSING_SUPPLIER exceptions
    with their `holder`. What cannot be priced is not in the sum; where nothing can be, it is null.
    """
    held = missing.groupBy(F.col("holder").alias("exception_id")).agg(
        F.count(F.lit(1)).alias("held"), F.sum("amount_at_risk_usd").alias("held_usd")
    )
    counted = feeds.join(held, on="exception_id", how="left")
    amount = F.when(F.col("held").isNull(), F.lit(0)).otherwise(F.col("held_usd")).cast(USD)
    return counted.select(
        "supplier_id",
        F.lit("OPEN").alias("new_state"),
        severity(amount, F.col("high_usd"), F.col("critical_usd")).alias("new_severity"),
        amount.alias("new_amount_at_risk_usd"),
        silence_explanation(F.coalesce("held", F.lit(0))).alias("new_explanation"),
        F.lit(None).cast("timestamp").alias("new_pending_until"),
        F.col("last_event").alias("new_known_since"),
    )


def changed_feeds(told: DataFrame, now: DataFrame, at: datetime) -> DataFrame:
    """The FEED_SILENT exceptions that are new or changed, all columns of the table but `result_id`.

    `told`: those that gold/nrt_exceptions has. `now`: what `silences` gives; one that is not there is resolved.
    """
    both = told.select("supplier_id", *LIFE).join(now, on="supplier_id", how="full_outer")
    after = life_after(F.lit(at))
    after["known_since"] = F.coalesce("new_known_since", "known_since")
    same = F.lit(True)
    for name, value in after.items():
        same = same & value.eqNullSafe(F.col(name))
    nothing, kind = F.lit(None).cast("string"), F.lit(FEED_SILENT)
    return both.where(~same).select(
        digest(F.col("supplier_id"), nothing, kind).alias("exception_id"),
        "supplier_id",
        nothing.alias("activity_id"),
        kind.alias("anomaly_type"),
        *[value.alias(name) for name, value in after.items()],
    )
