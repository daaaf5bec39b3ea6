"""The payload formats that a micro-batch works by: those that were applied with the version of its policies."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.common import tables
from jobs.common.command import one_line
from jobs.common.currencies import minor_units
from jobs.common.errors import FAILED, UserError
from jobs.common.formats import values
from jobs.common.formats.file import parse_definition
from jobs.common.formats.mapping import HEADER, Formats
from jobs.common.formats.model import Format
from jobs.common.local_rows import local_rows
from jobs.common.log import get_logger
from jobs.common.session import lacks_avro_limits, quick_plans
from jobs.common.settings import Settings
from jobs.streaming.in_force import InForce
from jobs.streaming.parse import parse
from reco_rules.vocabulary import Side
from schemas.bronze import RAW_COLUMNS

log = get_logger(__name__)


class AppliedFormats:
    """Reads the formats of a policy version once; the next version's are read with the next version."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._found: tuple[int, Formats | None] | None = None

    def of(self, spark: SparkSession, policies: InForce, broken: Collection[str] | None = None) -> Formats | None:
        """The formats of this version; None where it names none. One that cannot be used is in `broken`, and logged.

        `broken`: of a batch that is run again, those that could not be used when it was run first. Raises UserError
        where another cannot be used now, since its records may be events already.
        """
        if self._found is None or self._found[0] != policies.version:
            self._found = policies.version, self._read(spark, policies)
        found = self._found[1]
        if found is None or broken is None:
            return found
        if lost := sorted(set(found.broken) - set(broken)):
            why = "; ".join(f"{name}: {found.broken[name]}" for name in lost)
            raise UserError(
                f"A batch that was interrupted needs a format that cannot be used any more ({why}).", FAILED
            )
        known = {name: format_ for name, format_ in found.known.items() if name not in broken}
        return replace(found, known=known, broken=dict.fromkeys(broken, "it was so before"))

    def _read(self, spark: SparkSession, policies: InForce) -> Formats | None:
        by_supplier = {str(row["supplier_id"]): row["format"] for row in policies.listed}
        default = policies.defaults.get("format")
        names = {str(name) for name in (*by_supplier.values(), default) if name is not None}
        if not names:
            return None
        found = self._definitions(spark, policies.version)
        formats = usable(spark, {name: found.get(name) for name in sorted(names)}, by_supplier, _text(default))
        for name, why in formats.broken.items():
            log.error("format cannot be used", format=name, policy_version=policies.version, reason=why)
        return formats

    def _definitions(self, spark: SparkSession, version: int) -> dict[str, str]:
        path = self._settings.table_path("formats")
        if not tables.exists(spark, path):
            return {}
        # Rows that an attempt to apply left behind have the version's number, but not its time.
        applied = tables.read(spark, self._settings.table_path("policies")).where(F.col("policy_version") == version)
        rows = tables.read(spark, path).join(applied, on=["policy_version", "applied_at"], how="left_semi").collect()
        return {row["format"]: row["definition"] for row in rows}


def usable(
    spark: SparkSession,
    definitions: Mapping[str, str | None],
    by_supplier: Mapping[str, str | None],
    default: str | None = None,
) -> Formats:
    """The formats that this Spark can work with, and why it cannot with the others; all are tried on a record.

    `definitions`: as ref/formats has them, None where it does not have one.
    """
    known: dict[str, Format] = {}
    broken: dict[str, str] = {}
    for name, definition in definitions.items():
        if definition is None:
            broken[name] = "it is not in ref/formats: apply the policies again"
            continue
        try:
            known[name] = parse_definition(definition)
        except ValueError as error:
            broken[name] = one_line(error)
    if known and _trouble(spark, known):
        # Only now one by one: each try is a plan of its own, of a second or so.
        troubles = {name: _trouble(spark, {name: format_}) for name, format_ in known.items()}
        broken |= {name: why for name, why in troubles.items() if why}
    return Formats({name: f for name, f in known.items() if name not in broken}, broken, by_supplier, default)


def _trouble(spark: SparkSession, known: Mapping[str, Format]) -> str | None:
    """Why a record of these cannot even be looked at, if so: no jar for Avro, a zone that Java does not know."""
    if any(format_.avro for format_ in known.values()) and (what := lacks_avro_limits(spark)):
        return what
    formats = Formats(known, {}, {name: name for name in known})
    clock = F.lit("2026-01-01").cast("timestamp")
    try:
        with quick_plans(spark):
            _try_times(spark, known)
            parse(one_record_each(spark, list(known)), sorted(minor_units()), clock, formats).collect()
    except Exception as error:
        if any(word in str(error).lower() for word in ("cancelled", "interrupted")):
            raise  # the query is being stopped, which says nothing of the formats
        return one_line(error)
    return None


def _try_times(spark: SparkSession, known: Mapping[str, Format]) -> None:
    """Raises where Java does not know a zone, or Spark a pattern: they look only when there is a text to read."""
    sources = [source for f in known.values() for source in (f.fields.event_time, f.fields.version) if source.pattern]
    gateway: Any = spark.sparkContext._jvm
    for source in sources:
        if source.zone:
            gateway.java.time.ZoneId.of(source.zone)
    text, kind = F.col("text"), F.lit(values.STRING)
    tried = [values.moment(str(source.pattern), source.zone, text, kind) for source in sources]
    local_rows(spark, [("no time",)], "text string").select(*tried).collect()


def one_record_each(spark: SparkSession, suppliers: Sequence[str]) -> DataFrame:
    """A record of bronze for each supplier, whom its header names, and whose value says nothing."""
    header = F.named_struct(F.lit("key"), F.lit(HEADER), F.lit("value"), F.col("supplier").cast("binary"))
    known = {
        "source": F.lit(Side.SUPPLIER.value),
        "value": F.lit("{}").cast("binary"),
        "headers": F.array(header),
        "kafka_time": F.lit("2026-01-01").cast("timestamp"),
    }
    named = local_rows(spark, [(supplier,) for supplier in suppliers], "supplier string")
    return named.select(*[known.get(f.name, F.lit(None)).cast(f.dataType).alias(f.name) for f in RAW_COLUMNS])


def _text(value: object) -> str | None:
    return None if value is None else str(value)
