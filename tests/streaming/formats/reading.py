"""Records of bronze from payloads, and what the stream's reading makes of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from jobs.common.currencies import minor_units
from jobs.common.formats.file import read_format
from jobs.common.formats.mapping import Formats
from jobs.common.local_rows import local_rows
from jobs.common.session import quick_plans
from jobs.streaming.parse import parse
from schemas.bronze import ACTIVITY_RAW
from tests.streaming.formats.cases import NOW

#: (side, value, headers)
Record = tuple[str, bytes | None, list[tuple[str, bytes | None]] | None]


def bronze(spark: SparkSession, records: Sequence[Record]) -> DataFrame:
    """The records, published at NOW, their offsets counted from 0."""

    def hexed(value: bytes | None) -> str | None:
        return None if value is None else value.hex()

    rows = [
        (number, side, hexed(value), [(key, hexed(held)) for key, held in headers or ()])
        for number, (side, value, headers) in enumerate(records)
    ]
    known = {
        "source": F.col("side"),
        "topic": F.lit("t"),
        "partition": F.lit(0),
        "offset": F.col("n"),
        "kafka_time": F.lit(NOW),
        "value": F.unhex("v"),
        "headers": F.when(
            F.size("h") > 0,
            F.transform("h", lambda h: F.named_struct(F.lit("key"), h["key"], F.lit("value"), F.unhex(h["hex"]))),
        ),
    }
    kind = "n bigint, side string, v string, h array<struct<key: string, hex: string>>"
    return local_rows(spark, rows, kind).select(
        *[known.get(f.name, F.lit(None)).cast(f.dataType).alias(f.name) for f in ACTIVITY_RAW.schema.fields]
    )


def read(spark: SparkSession, records: Sequence[Record], formats: Formats | None) -> list[Row]:
    """What becomes of the records, in their order."""
    with quick_plans(spark):
        parsed = parse(bronze(spark, records), sorted(minor_units()), F.lit(NOW), formats)
        return sorted(parsed.collect(), key=lambda row: row["offset"])


def definitions(folder: Path, texts: Mapping[str, str]) -> dict[str, str | None]:
    """The formats of these files' texts, as ref/formats has them."""
    found: dict[str, str | None] = {}
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
        found[name] = read_format(folder / f"{name}.yaml")[0].resolved()
    return found
