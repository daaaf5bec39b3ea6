"""A record's bytes become one variant, whatever they are written in, so that paths mean the same everywhere."""

import json

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.avro.functions import from_avro

from jobs.common.formats.model import Avro, Csv

_BROKEN = "broken row"
_MOST_VALUES = 20_000


def csv_payload(csv: Csv, value: Column) -> Column:
    """The row as a variant object of text; null where the bytes are no such row, whole, of as many values as columns.

    A row is one line, a line break at its end at most. Values may stand in quotes, and a quote in them twice. An empty
    value is absent.
    """
    text = value.cast("string")
    line = F.regexp_replace(text, r"\r?\n\z", "")
    balanced = F.length(F.regexp_replace(line, '[^"]', "")) % 2 == 0
    # Spark reads the first row and says nothing of what follows it.
    whole = F.is_valid_utf8(text) & ~line.rlike(r"[\r\n]") & (F.length(line) > 0) & balanced
    # Of more values than its reader has room for (20,480) Spark makes an error that is not contained by PERMISSIVE.
    separators = F.length(line) - F.length(F.replace(line, F.lit(csv.delimiter), F.lit("")))
    whole = whole & (separators < _MOST_VALUES)
    # Placeholders for the columns' names: theirs may clash with ours, or differ only in case.
    schema = ", ".join([*(f"c{number} STRING" for number in range(len(csv.columns))), f"`{_BROKEN}` STRING"])
    spaces = str(csv.trim).lower()
    row = F.from_csv(
        F.when(whole, line),
        schema,
        {
            "sep": csv.delimiter,
            "quote": '"',
            "escape": '"',
            "mode": "PERMISSIVE",
            "columnNameOfCorruptRecord": _BROKEN,
            "ignoreLeadingWhiteSpace": spaces,
            "ignoreTrailingWhiteSpace": spaces,
            "maxCharsPerColumn": "-1",
        },
    )
    values = [F.nullif(row[f"c{number}"], F.lit("")) for number in range(len(csv.columns))]
    named = F.named_struct(*[part for name, at in zip(csv.columns, values, strict=True) for part in (F.lit(name), at)])
    return F.when(whole & row[_BROKEN].isNull(), F.to_variant_object(named))


def avro_payload(avro: Avro, value: Column) -> Column:
    """The datum as a variant object; null where the bytes are none of this schema.

    Bytes after the datum are not seen: Avro's encoding does not say where it ends.
    """
    datum = F.substring(value, avro.skip_bytes + 1, 2**31 - 1) if avro.skip_bytes else value
    read = from_avro(datum, avro.definition, {"mode": "PERMISSIVE"})
    # What cannot be read comes as a row of nulls.
    empty = F.lit(True)
    for field in json.loads(avro.definition)["fields"]:
        empty = empty & read[field["name"]].isNull()
    return F.when(~empty, F.to_variant_object(read))
