"""Settings: a YAML file, overridden by environment variables RECO_SECTION__KEY; unknown keys are refused."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, Field, PrivateAttr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from jobs.common.errors import UserError
from jobs.common.lake_root import SCHEME, as_lake_root
from jobs.common.privacy import Privacy
from jobs.common.secrets import FORMS
from jobs.common.sections import (
    Daily,
    Formats,
    Kafka,
    KafkaSecurity,
    Lake,
    Local,
    Maintenance,
    Metrics,
    Place,
    Section,
    Spark,
    Stream,
    Topics,
)
from jobs.common.service_sections import Alerts, Console, Oidc, Outbox, Poll, Warehouse
from jobs.common.yaml_file import Document, complaints, read_yaml, unknown_key
from schemas.tables import TABLES

__all__ = [
    "DEFAULT_FILE",
    "GROUPED",
    "PREFIX",
    "Alerts",
    "Console",
    "Daily",
    "Formats",
    "Kafka",
    "KafkaSecurity",
    "Lake",
    "Local",
    "Maintenance",
    "Metrics",
    "Oidc",
    "Outbox",
    "Poll",
    "Privacy",
    "Section",
    "Settings",
    "Spark",
    "Stream",
    "Topics",
    "Warehouse",
    "load_settings",
]

#: The tables that each of several match applications has for itself.
GROUPED = ("nrt_results", "nrt_exceptions")
DEFAULT_FILE = Path("conf/local.yaml")
PREFIX = "RECO_"
#: How a variable says that a key has no value.
_NULL = "null"


class Settings(BaseSettings):
    """Everything a program is told; one value for the whole run."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=True,
        env_parse_none_str=_NULL,
    )

    lake: Lake = Field(default_factory=Lake)
    kafka: Kafka = Field(default_factory=Kafka)
    topics: Topics = Field(default_factory=Topics)
    stream: Stream = Field(default_factory=Stream)
    daily: Daily = Field(default_factory=Daily)
    maintenance: Maintenance = Field(default_factory=Maintenance)
    metrics: Metrics = Field(default_factory=Metrics)
    formats: Formats = Field(default_factory=Formats)
    poll: Poll = Field(default_factory=Poll)
    alerts: Alerts = Field(default_factory=Alerts)
    spark: Spark = Field(default_factory=Spark)
    outbox: Outbox = Field(default_factory=Outbox)
    console: Console = Field(default_factory=Console)
    warehouse: Warehouse = Field(default_factory=Warehouse)
    privacy: Privacy = Field(default_factory=Privacy)
    local: Local = Field(default_factory=Local)
    #: A match application's part of the lake, seen from its root (`jobs.common.groups.of_group`).
    _part: str = PrivateAttr(default="")
    policies_file: Place = Path("conf/policies.yaml")
    fx_file: Place | None = None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment beats the file."""
        return (env_settings, init_settings)

    @model_validator(mode="after")
    def _place_checkpoints(self) -> Self:
        root = self.stream.checkpoint_root
        filled = as_lake_root(root) if root else f"{self.lake.root}/_checkpoints"
        object.__setattr__(self, "stream", self.stream.model_copy(update={"checkpoint_root": filled}))
        return self

    @property
    def is_local_lake(self) -> bool:
        """True where the lake is a folder of this machine."""
        return SCHEME.match(self.lake.root) is None

    def table_path(self, name: str) -> str:
        """`<lake.root>/<path of the table>`, for a name in schemas.tables.TABLES."""
        return f"{self.lake.root}/{self.told_path(name)}"

    def told_path(self, name: str) -> str:
        """The path of the table seen from `lake.root`: a match application has verdicts and exceptions of its own."""
        path = TABLES[name].path
        return f"{self._part}/{path}" if self._part and name in GROUPED else path

    @property
    def is_part(self) -> bool:
        """Whether these are the settings of one match application among several."""
        return bool(self._part)


def load_settings(path: Path | None = None) -> Settings:
    """Settings from a YAML file and the environment.

    Without a path: conf/local.yaml of the current directory, or the built-in defaults where there is none.
    Raises UserError that names file, line and key, or the environment variable.
    """
    if path is None and not DEFAULT_FILE.exists():
        document = Document(Path("built-in defaults"), {}, {})
    else:
        document = read_yaml(path or DEFAULT_FILE, "settings file")
    known = list(_known_keys(Settings))
    _refuse_unknown_variables(known)
    _refuse_written_password(document)
    try:
        return Settings(**_one_horizon(document.data))
    except SettingsError as error:
        raise UserError(_no_json(error, known)) from error
    except ValidationError as error:
        raise UserError("\n".join(_sentence(document, known, *item) for item in complaints(error, known))) from error


def _one_horizon(data: dict[str, Any]) -> dict[str, Any]:
    """The file's values: the environment beats them also where it has the horizon's other name."""
    names, stream = ("nrt_horizon", "nrt_horizon_hours"), data.get("stream")
    variables = {name.upper() for name, value in os.environ.items() if value != _NULL}
    if not isinstance(stream, dict) or not any(f"{PREFIX}STREAM__{name.upper()}" in variables for name in names):
        return data
    return {**data, "stream": {name: value for name, value in stream.items() if name not in names}}


def _section(key: str, known: list[str]) -> str | None:
    """What to do in the place of setting a whole section, where the key is one."""
    first = next((name for name in known if name.startswith(f"{key}.")), None)
    if first is None:
        return None
    return f"{key} is a section; set its keys, like {PREFIX}{first.upper().replace('.', '__')}."


def _no_json(error: SettingsError, known: list[str]) -> str:
    """Names the environment variable whose text is no JSON, by that text, which is all that the error knows of it."""
    text = getattr(error.__cause__, "doc", None)
    for variable in sorted(os.environ):
        if variable.upper().startswith(PREFIX) and os.environ[variable] == text:
            key = variable.upper().removeprefix(PREFIX).lower().replace("__", ".")
            if instead := _section(key, known):
                return f"Environment variable {variable}: {instead}"
            return f'Environment variable {variable}: {key}: lists and maps are written as JSON, like ["a", "b"].'
    return f"Environment: {error}; lists and maps are written as JSON."


def _sentence(document: Document, known: list[str], key: tuple[str, ...], what: str) -> str:
    """Names the environment variable where the value came from there, else file and line."""
    names = {name.upper(): name for name in os.environ}
    for length in range(len(key), 0, -1):
        variable = PREFIX + "__".join(key[:length]).upper()
        if variable in names:
            if "mapping" in what and (instead := _section(".".join(key), known)):
                return f"Environment variable {names[variable]}: {instead}"
            hint = "; lists and maps are written as JSON" if "list" in what or "mapping" in what else ""
            return f"Environment variable {names[variable]}: {'.'.join(key)}: {what}{hint}"
    # What is wrong with several keys together is said of their section: whose value came from there, by the words.
    below = PREFIX + "".join(f"{part}__" for part in key).upper()
    words = set(re.findall(r"\w+", what.upper()))
    if meant := [names[name] for name in sorted(names) if name.startswith(below) and name[len(below) :] in words]:
        return f"Environment variable{'s' * (len(meant) > 1)} {', '.join(meant)}: {'.'.join(key)}: {what}"
    return document.sentence(key, what)


def _refuse_written_password(document: Document) -> None:
    """A settings file is committed and copied about; the environment and a file for secrets are not."""
    section = document.data.get("outbox")
    dsn = section.get("dsn") if isinstance(section, dict) else None
    if isinstance(dsn, str) and (re.search(r"://[^/?#]*:[^/?#@]+@", dsn) or "password" in dsn.lower()):
        what = f"holds a password; refer to it, as {FORMS}, or set RECO_OUTBOX__DSN"
        raise UserError(document.sentence(("outbox", "dsn"), what))


def _known_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            yield from _known_keys(kind, f"{prefix}{name}.")
        else:
            yield prefix + name


def _refuse_unknown_variables(known: list[str]) -> None:
    """A variable with a section that does not exist, or with one _ where two belong, is a slip of the pen.

    pydantic-settings would overlook it. Others with one _ are left alone: not all of ours are settings.
    """
    sections = {key.split(".")[0] for key in known}
    meant = {PREFIX + key.replace(".", "_").upper(): key for key in known if "." in key}
    for variable in sorted(os.environ):
        upper = variable.upper()
        if upper in meant:
            right = PREFIX + meant[upper].replace(".", "__").upper()
            raise UserError(f"Environment variable {variable}: one _ between section and key; did you mean {right}?")
        if not upper.startswith(PREFIX) or "__" not in upper:
            continue
        key = upper.removeprefix(PREFIX).lower().replace("__", ".")
        if key.split(".")[0] not in sections:
            raise UserError(f"Environment variable {variable}: {key}: {unknown_key(key, known)}")
