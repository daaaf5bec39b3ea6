"""What a format's file may say: the shape alone; whether it makes sense is told by `checks`."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

#: Fields of the canonical event that are text, and those that are whole numbers, by their names in JSON.
TEXTS = ("eventId", "activityId", "supplierId", "activityType", "currency", "status", "eventTime")
INTEGERS = ("amountMinor", "version")
NAMES = (*TEXTS, *INTEGERS)
#: Times that need no pattern of letters: the contract's ISO 8601, or a number since 1970-01-01T00:00Z.
ISO, EPOCH_SECONDS, EPOCH_MILLIS = "iso", "epoch_seconds", "epoch_millis"


def _as_text(value: Any) -> Any:
    """YAML's 1 and true are meant as text here; a decimal has lost how it was written."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal):
        raise ValueError("must be text; put it in quotes")  # noqa: TRY004  # pydantic reports only ValueError
    return str(value) if isinstance(value, int) else value


def _number_one(value: Any) -> Any:
    # In Python True equals 1, in a file it does not.
    return "" if isinstance(value, bool) else value


def _as_schema(value: Any) -> Any:
    """An Avro schema written as YAML becomes the JSON that Avro reads."""
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, dict) else value


Text = Annotated[str, BeforeValidator(_as_text)]


class Part(BaseModel):
    """A part of a format; knows only its keys, shows no values in errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Source(Part):
    """Where a field's value comes from: a path, several composed, or a constant; `default` stands in for an absent one.

    `compose`: parts that begin with `$` are paths, others are text; if one path has nothing, the field is absent.
    """

    path: str | None = None
    compose: tuple[Text, ...] | None = None
    separator: Text = ""
    constant: Text | None = None
    default: Text | None = None
    required: bool | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path that is read, in order."""
        if self.compose is not None:
            return tuple(part for part in self.compose if part.startswith("$"))
        return () if self.path is None else (self.path,)


class Word(Source):
    """A word of the contract's vocabulary; with `map`, by the supplier's own words, and a word not in it is invalid."""

    map: dict[str, Text] | None = None


class Amount(Source):
    """Money. `unit`: major (12.34) or minor (1234); `absolute` takes -12.34 for 12.34.

    `decimal` and `grouping` tell how text is written; constant and default are minor units.
    """

    unit: Literal["major", "minor"]
    decimal: Literal[".", ","] = "."
    grouping: Literal[".", ",", " ", "'"] | None = None
    absolute: bool = False


class Number(Source):
    """A whole number; with `pattern`, a time whose milliseconds since 1970 are taken as the number."""

    pattern: str | None = None
    zone: str | None = None


class Time(Source):
    """A time; `pattern` is iso, epoch_seconds, epoch_millis or letters, `zone` whose clock those letters show."""

    pattern: str = ISO
    zone: str | None = None


class Fields(Part):
    """The canonical event's fields; supplierId is the header's where it is left out, eventId may be absent."""

    event_id: Source | None = Field(default=None, alias="eventId")
    activity_id: Source = Field(alias="activityId")
    supplier_id: Source | None = Field(default=None, alias="supplierId")
    activity_type: Word = Field(alias="activityType")
    amount_minor: Amount = Field(alias="amountMinor")
    currency: Word
    status: Word
    version: Number
    event_time: Time = Field(alias="eventTime")


class Csv(Part):
    """One row in a record: its columns in order; `trim` takes away spaces around values."""

    columns: tuple[Text, ...]
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    trim: bool = False


class Avro(Part):
    """One datum in Avro's binary encoding; `skip_bytes` passes over what stands before it, like a registry's five."""

    definition: Annotated[str, BeforeValidator(_as_schema)] = Field(alias="schema")
    skip_bytes: int = Field(default=0, ge=0, le=64)


class Format(Part):
    """One supplier format."""

    version: Annotated[Literal[1], BeforeValidator(_number_one)]
    description: str = ""
    payload: Literal["json", "csv", "avro"]
    csv: Csv | None = None
    avro: Avro | None = None
    fields: Fields

    def sources(self) -> Iterator[tuple[str, Source]]:
        """(field's name in JSON, where it comes from), for those that the format maps."""
        for name, field in Fields.model_fields.items():
            source = getattr(self.fields, name)
            if source is not None:
                yield field.alias or name, source

    def resolved(self) -> str:
        """The format as JSON, the same for the same meaning: without comments, defaults left out, keys sorted."""
        said = self.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"description"})
        return json.dumps(said, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
