"""Messages of `reco.results.nrt`: each verdict, and each change of an exception, with an id that never changes."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from jobs.common.kafka import spark_options
from jobs.common.settings import Settings
from reco_rules.identity import digest
from schemas.messages import EXCEPTION_CHANGE, VERDICT

_TIMES = ("publishedAt", "pendingUntil", "verdictAt", "watermark", "firstSeenAt", "openedAt", "resolvedAt")


def tell(settings: Settings, results: DataFrame, exceptions: DataFrame) -> None:
    """Send the verdicts, and those of the exceptions that they changed last; at least once."""
    changed = exceptions.join(F.broadcast(results.select("result_id")), on="result_id", how="left_semi")
    change_id = digest(F.col("exception_id"), F.col("result_id"), F.col("state"))
    told = results.select(
        F.col("activity_id").alias("key"), _json(VERDICT, {"resultId": F.col("result_id"), "kind": F.lit("VERDICT")})
    ).unionByName(
        changed.select(
            F.col("activity_id").alias("key"),
            _json(EXCEPTION_CHANGE, {"resultId": change_id, "kind": F.lit("EXCEPTION")}),
        )
    )
    told.write.format("kafka").options(**spark_options(settings)).option("topic", settings.topics.results).save()


def _json(schema: StructType, computed: dict[str, Column]) -> Column:
    fields = []
    for field in schema.fields:
        value = computed.get(field.name, F.col(_snake(field.name)))
        if field.name in _TIMES:
            value = F.date_format(value, "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'")
        fields += [F.lit(field.name), value]
    return F.to_json(F.named_struct(*fields)).alias("value")


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
