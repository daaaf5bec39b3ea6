"""`reco formats`: what the stream would make of a supplier's payloads, before any policy names the format."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from jobs.common.currencies import minor_units
from jobs.common.errors import DONE, FAILED, UserError
from jobs.common.formats.file import read_format
from jobs.common.formats.mapping import HEADER, at_path
from jobs.common.formats.model import NAMES, Format, Word
from jobs.common.local_rows import local_rows
from jobs.common.options import AsJson, Debug, SettingsFile
from jobs.common.output import print_json, print_table, say
from jobs.common.session import quick_plans, spark_session
from jobs.common.settings import load_settings
from jobs.streaming.formats_in_force import usable
from jobs.streaming.formats_sample import Sample, read_samples
from jobs.streaming.parse import parse, payload
from reco_rules.vocabulary import Side
from schemas.bronze import ACTIVITY_RAW

app = typer.Typer(
    no_args_is_help=True,
    help="Suppliers' payload formats: try one on a sample before a policy names it.",
    epilog="Example: reco formats check conf/formats/bedbank.yaml --sample conf/formats/samples/bedbank.jsonl",
)
#: How many words that no map has are named, each.
_NAMED = 5


@dataclass(frozen=True)
class Found:
    """What became of a sample. `unmatched`: paths that no record has; `unmapped`: by field, words that no map has."""

    records: list[dict[str, Any]]
    unmatched: list[str]
    unmapped: dict[str, list[str]]

    @property
    def events(self) -> int:
        """How many records are events."""
        return sum(record["kind"] == "EVENT" for record in self.records)


@app.callback()
def _formats() -> None:
    """Keep `check` a word of its own, though it is the only one."""


@app.command(epilog="Example: reco formats check conf/formats/ota-csv.yaml --sample conf/formats/samples/ota-csv.csv")
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The format's YAML file.")],
    sample: Annotated[Path, typer.Option(metavar="F", help="Records: a file, or a folder of files.")],
    supplier: Annotated[str, typer.Option(help="What the header `supplierId` says.")] = "SAMPLE",
    settings_file: SettingsFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show each record of a sample with its event or its reasons; exit code 1 where one is no event."""
    settings = load_settings(settings_file)
    format_, _ = read_format(file)
    samples = read_samples(format_, sample)
    if not 1 <= len(supplier) <= 128:
        raise UserError("--supplier must have 1 to 128 characters, as the header has.")
    spark = spark_session("reco-formats", settings, is_brief=True)
    try:
        found = examine(spark, format_, samples, supplier)
    finally:
        spark.stop()
    if as_json:
        coverage = {"records": len(found.records), "events": found.events}
        print_json(
            {"coverage": coverage | {"unmatched": found.unmatched, "unmapped": found.unmapped}}
            | {"records": found.records}
        )
    else:
        _show(found)
    raise typer.Exit(DONE if found.events == len(found.records) else FAILED)


def examine(spark: SparkSession, format_: Format, samples: Sequence[Sample], supplier: str) -> Found:
    """What the stream would make of the samples. Raises UserError where this Spark cannot work with the format."""
    name = "checked"
    formats = usable(spark, {name: format_.resolved()}, {}, name)
    if formats.broken:
        raise UserError(f"This Spark cannot work with the format: {formats.broken[name]}; see `reco doctor`.", FAILED)
    with quick_plans(spark):
        records = _records(spark, samples, supplier)
        parsed = parse(records, sorted(minor_units()), F.col("kafka_time"), formats)
        # As a number: PySpark cannot hand out times near the year 1.
        parsed = parsed.withColumn("eventAt", F.unix_millis("eventAt"))
        made = sorted(parsed.collect(), key=lambda row: row["offset"])
        looked = payload(records, formats).select("offset", *_looks(format_)).collect()
    unmatched = [
        path for number, path in enumerate(_paths(format_)) if all(row[f"kind_{number}"] is None for row in looked)
    ]
    return Found([_record(s, row) for s, row in zip(samples, made, strict=True)], unmatched, _unmapped(format_, looked))


def _records(spark: SparkSession, samples: Sequence[Sample], supplier: str) -> DataFrame:
    """The samples as records of bronze, published now."""
    now = F.lit(datetime.now(UTC))
    rows = local_rows(spark, [(n, s.value.hex()) for n, s in enumerate(samples)], "number bigint, value string")
    header = F.named_struct(F.lit("key"), F.lit(HEADER), F.lit("value"), F.lit(supplier).cast("binary"))
    known = {
        "source": F.lit(Side.SUPPLIER.value),
        "topic": F.lit("sample"),
        "partition": F.lit(0),
        "offset": F.col("number"),
        "kafka_time": now,
        "value": F.unhex("value"),
        "headers": F.array(header),
        "ingested_at": now,
    }
    fields = ACTIVITY_RAW.schema.fields
    return rows.select(*[known.get(f.name, F.lit(None)).cast(f.dataType).alias(f.name) for f in fields])


def _paths(format_: Format) -> list[str]:
    return sorted({path for _, source in format_.sources() for path in source.paths})


def _looks(format_: Format) -> list[Any]:
    """Text and kind at each path, to tell what the format never finds."""
    found = []
    for number, path in enumerate(_paths(format_)):
        text, kind = at_path(path)
        found += [text.alias(f"text_{number}"), kind.alias(f"kind_{number}")]
    return found


def _unmapped(format_: Format, looked: Sequence[Row]) -> dict[str, list[str]]:
    numbers = {path: number for number, path in enumerate(_paths(format_))}
    found: dict[str, list[str]] = {}
    for name, source in format_.sources():
        if not isinstance(source, Word) or not source.map:
            continue
        words: Counter[str] = Counter()
        for row in looked:
            pieces = [row[f"text_{numbers[p]}"] if p in numbers else p for p in source.compose or (source.path,)]
            if None not in pieces and (word := source.separator.join(map(str, pieces))) not in source.map:
                words[word] += 1
        if words:
            found[name] = [word for word, _ in words.most_common()]
    return found


def _record(sample: Sample, row: Row) -> dict[str, Any]:
    if row["kind"] != "EVENT":
        return {"place": sample.place, "kind": row["kind"], "reasons": list(row["reasons"])}
    at = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=row["eventAt"])
    event = {name: row[name] for name in NAMES} | {"eventTime": at}
    return {"place": sample.place, "kind": "EVENT", "event": event}


def _show(found: Found) -> None:
    columns = ["record", "activityId", "activityType", "amountMinor", "currency", "status", "version", "eventTime"]
    events = [[r["place"], *(r["event"][name] for name in columns[1:])] for r in found.records if r["kind"] == "EVENT"]
    if events:
        print_table("Events", columns, events)
    others = [[r["place"], " ".join(r["reasons"])] for r in found.records if r["kind"] != "EVENT"]
    if others:
        print_table("No events", ["record", "reasons"], others)
    say(f"{found.events} of {len(found.records)} records became events.")
    if found.unmatched:
        say(f"Paths that no record has: {', '.join(found.unmatched)}.")
    for name, words in found.unmapped.items():
        more = f" and {len(words) - _NAMED} more" if len(words) > _NAMED else ""
        say(f"Words of {name} that the map does not have: {', '.join(words[:_NAMED])}{more}.")
