"""Messages of `reco.results.nrt`: each verdict, and each change of an exception, with an id that never changes."""

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from jobs.common import tables
from jobs.common.kafka import sink_options
from jobs.common.settings import Settings
from reco_rules.identity import digest
from reco_rules.vocabulary import FEED_SILENT
from schemas.messages import EXCEPTION_CHANGE, VERDICT

_TIMES = ("publishedAt", "pendingUntil", "verdictAt", "watermark", "firstSeenAt", "openedAt", "resolvedAt")


def tell(settings: Settings, results: DataFrame, exceptions: DataFrame) -> None:
    """Send the verdicts, and the exceptions that they changed; at least once."""
    told = results.select(
        F.col("activity_id").alias("key"), _json(VERDICT, {"resultId": F.col("result_id"), "kind": F.lit("VERDICT")})
    ).unionByName(_changes(exceptions, "exception_id", "result_id", "state"))
    _send(settings, told)


def tell_held(settings: Settings, marked: DataFrame, batch: Column) -> None:
    """Send the exceptions of which nothing changes but what holds them, in a micro-batch; before they are written.

    After that nothing would tell which they were; sent twice, they are the same messages.
    """
    named = marked.withColumn("told_by", digest(F.col("held_by"), batch))
    _send(settings, _changes(named, "exception_id", "told_by"))


def tell_silence(spark: SparkSession, settings: Settings, result_id: Column) -> None:
    """Send the FEED_SILENT exceptions that a micro-batch, by its id, changed last; at least once."""
    is_mine = (F.col("anomaly_type") == FEED_SILENT) & (F.col("result_id") == result_id)
    changed = tables.read(spark, settings.table_path("nrt_exceptions")).where(is_mine)
    # A batch that runs again after a crash may find more to hold: that is another message.
    _send(settings, _changes(changed, "exception_id", "result_id", "state", "amount_at_risk_usd", "explanation"))


def _changes(changed: DataFrame, *identity: str) -> DataFrame:
    change_id = digest(*[F.col(name) for name in identity])
    told = _json(EXCEPTION_CHANGE, {"resultId": change_id, "kind": F.lit("EXCEPTION")})
    return changed.select(F.coalesce("activity_id", "supplier_id").alias("key"), told)


def _send(settings: Settings, told: DataFrame) -> None:
    told.write.format("kafka").options(**sink_options(settings)).option("topic", settings.topics.results).save()


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
