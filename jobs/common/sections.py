"""The sections of the settings for the jobs, and what each key may be."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from jobs.common.lake_root import as_lake
from jobs.common.policy_file import seconds_of
from jobs.common.secrets import as_reference

#: Hours, the least and the most; more than the longest grace, so that what waits is always known.
_HORIZON = (7, 24 * 366)

#: Tables whose rows may be removed by age; of the first three all or none, for bronze is counted against the others.
EXPIRING = ("activity_raw", "activity", "quarantine", "nrt_results", "nrt_exceptions", "hourly_summary")

_INTERVAL = r"^[1-9][0-9]{0,8} (millisecond|second|minute|hour)s?$"
#: What clients are told of the road by `kafka.security` alone; the rest of sasl.* and ssl.* is fine tuning.
_SECURITY_OPTION = re.compile(
    r"security\.protocol$|sasl\.(mechanisms?|username|password|jaas\.config)$|sasl\.oauthbearer\..*secret"
    r"|ssl\.(ca|certificate|key|keystore|truststore)\b"
)
_MEMORY = r"^[1-9][0-9]{0,5}[kmgKMG]$"
_TOPIC = r"^[A-Za-z0-9._-]{1,249}$"


def _as_text(value: Any) -> Any:
    """Options of Spark and Kafka are text; YAML's true and 200 are meant as such."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else value


def _as_hours(value: Any) -> int | None:
    """A duration as the policies write it, in hours; of a stream's horizon."""
    if value is None:
        return None
    hours, rest = divmod(seconds_of(value), 3600)
    if rest or not _HORIZON[0] <= hours <= _HORIZON[1]:
        raise ValueError(f"must be whole hours, from {_HORIZON[0]}h to {_HORIZON[1] // 24}d")
    return hours


def _as_path(value: Any) -> Any:
    return Path(value).expanduser().absolute() if isinstance(value, str | Path) and str(value) else value


Text = Annotated[str, BeforeValidator(_as_text)]
Name = Annotated[str, Field(pattern=_TOPIC)]
#: Where a secret is (jobs.common.secrets), or nothing.
Reference = Annotated[str, BeforeValidator(lambda value: value and as_reference(value))]
Place = Annotated[Path, BeforeValidator(_as_path)]


class Section(BaseModel):
    """A part of the settings; cannot be changed, knows only its keys, shows no values in errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=True)


class Lake(Section):
    """Where the tables lie. writer: a name for this installation, where several could write one lake."""

    root: Annotated[str, BeforeValidator(as_lake)] = ".reco/lake"
    writer: str = Field(default="", pattern=r"^[A-Za-z0-9._-]{0,64}$")


class KafkaSecurity(Section):
    """The road to the broker: TLS, and who we are. Files are PEM, read here and sent along to where Spark runs.

    mechanism, username, password: for SASL_SSL. ca_file: who signs the broker's certificate; where it is empty, whom
    this machine and its Java trust. certificate_file, key: our own certificate, with its chain, and its private
    key (PKCS #8), where the broker asks for one. password, key: references.
    """

    protocol: Literal["PLAINTEXT", "SSL", "SASL_SSL"] = "PLAINTEXT"
    mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] = "SCRAM-SHA-512"
    username: str = ""
    password: Reference = Field(default="", repr=False)
    ca_file: Annotated[Path | None, BeforeValidator(_as_path)] = None
    certificate_file: Annotated[Path | None, BeforeValidator(_as_path)] = None
    key: Reference = Field(default="", repr=False)

    @field_validator("protocol", mode="before")
    @classmethod
    def _refuse_open_password(cls, value: Any) -> Any:
        if value == "SASL_PLAINTEXT":
            raise ValueError("SASL_PLAINTEXT would send password and bookings in the open; use SASL_SSL")
        return value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        lacking = [name for name in ("username", "password") if not getattr(self, name)]
        if self.protocol == "SASL_SSL" and lacking:
            raise ValueError(f"SASL_SSL needs {' and '.join(lacking)} too")
        if bool(self.certificate_file) != bool(self.key):
            raise ValueError("certificate_file and key go together")
        needless = [name for name in ("username", "password") if self.protocol != "SASL_SSL" and getattr(self, name)]
        if self.protocol == "PLAINTEXT":
            needless += [name for name in ("ca_file", "certificate_file") if getattr(self, name)]
        if needless:
            raise ValueError(f"{needless[0]} means nothing with protocol {self.protocol}; set SSL or SASL_SSL")
        return self


class Kafka(Section):
    """How to reach the broker; options are client options, the same for Spark (there with `kafka.`) and confluent."""

    bootstrap_servers: str = Field(default="127.0.0.1:9092", min_length=1)
    options: dict[str, Text] = Field(default_factory=dict, repr=False)
    security: KafkaSecurity = Field(default_factory=KafkaSecurity)

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if foreign := [key for key in self.options if _SECURITY_OPTION.match(key)]:
            raise ValueError(f"options: {foreign[0]} is no option here; kafka.security says it, secrets by reference")
        return self


class Topics(Section):
    """Topic names of the contract; partitions is used only where topics are created, locally."""

    agoda_raw: Name = "agoda.raw.activity"
    supplier_raw: Name = "supplier.raw.activity"
    agoda_canonical: Name = "canonical.agoda.activity"
    supplier_canonical: Name = "canonical.supplier.activity"
    agoda_nrt: Name = "canonical.agoda.activity.nrt"
    supplier_nrt: Name = "canonical.supplier.activity.nrt"
    results: Name = "reco.results.nrt"
    partitions: int = Field(default=4, ge=1, le=1000)

    @model_validator(mode="after")
    def _apart(self) -> Self:
        names = {key: name for key, name in self if key != "partitions"}
        for key, name in names.items():
            if first := next((other for other in names if other < key and names[other] == name), None):
                raise ValueError(f"{first} and {key} are both {name}; each is a topic of its own")
        return self


class Stream(Section):
    """The streaming job; checkpoint_root is `<lake.root>/_checkpoints` unless set.

    nrt_horizon: how far back the stream knows the events of a key that it judges; read as nrt_horizon_hours, which
    may be set in its place. sweep_minutes: how often it looks for what nothing called for and for feeds that have
    stopped; 0 for never. silence_floor_minutes: no feed is silent sooner; 0 for never. silence_learn_days: how many
    days before its last event tell a feed's usual gap. summary_minutes: how often at most gold/hourly_summary is
    brought up to date within an hour; 0 for never, not even when it is over. match_groups: how many applications
    match, each over suppliers of its own. match_group: which of them this one is, from 0; null for the application
    that normalises and gathers what they give. match_suppliers: the group of suppliers that are placed by hand; all
    others are dealt out by a hash of their names.
    """

    checkpoint_root: str = ""
    trigger: str = Field(default="2 seconds", pattern=_INTERVAL)
    max_offsets_per_trigger: int = Field(default=500_000, ge=1)
    match_trigger: str = Field(default="2 seconds", pattern=_INTERVAL)
    nrt_horizon: Annotated[int | None, BeforeValidator(_as_hours), Field(exclude=True, repr=False)] = None
    nrt_horizon_hours: int = Field(default=48, ge=_HORIZON[0], le=_HORIZON[1])
    sweep_minutes: int = Field(default=10, ge=0, le=24 * 60)
    silence_floor_minutes: int = Field(default=30, ge=0, le=7 * 24 * 60)
    silence_learn_days: int = Field(default=7, ge=1, le=31)
    summary_minutes: int = Field(default=5, ge=0, le=60)
    state_store: Literal["rocksdb", "memory"] = "rocksdb"
    match_groups: int = Field(default=1, ge=1, le=256)
    match_group: int | None = Field(default=None, ge=0)
    match_suppliers: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_horizon(self) -> Self:
        told, hours = self.nrt_horizon, self.nrt_horizon_hours
        if told is not None:
            if "nrt_horizon_hours" in self.model_fields_set and told != hours:
                raise ValueError(f"nrt_horizon says {told} hours and nrt_horizon_hours {hours}; leave one of them out")
            object.__setattr__(self, "nrt_horizon_hours", told)
            object.__setattr__(self, "nrt_horizon", None)  # told once: a copy with other hours is no contradiction
        return self

    @model_validator(mode="after")
    def _check_groups(self) -> Self:
        last = self.match_groups - 1
        if last == 0 and (self.match_group is not None or self.match_suppliers):
            raise ValueError("match_group and match_suppliers mean something only where match_groups is 2 or more")
        if self.match_group is not None and self.match_group > last:
            raise ValueError(f"match_group: {self.match_group} is none of the {last + 1} groups, 0 to {last}")
        if wrong := sorted(name for name, group in self.match_suppliers.items() if group > last):
            raise ValueError(f"match_suppliers: {wrong[0]} is placed in none of the {last + 1} groups, 0 to {last}")
        return self


class Daily(Section):
    """The close; history_days is how many days before a date latest versions are looked for.

    engine: what computes it, and `reco explain` and `reco replay`: duckdb on this machine, spark, or whichever fits.
    duckdb_memory: what DuckDB may take, three fifths of this machine's memory where it is null; more goes to files in
    duckdb_folder, the system's folder for temporary files where it is null, duckdb_spill of them at most.
    """

    history_days: int = Field(default=7, ge=0, le=366)
    engine: Literal["auto", "duckdb", "spark"] = "auto"
    duckdb_memory: str | None = Field(default=None, pattern=_MEMORY)
    duckdb_spill: str = Field(default="20g", pattern=_MEMORY)
    duckdb_folder: Annotated[Path | None, BeforeValidator(_as_path)] = None


class Maintenance(Section):
    """`reco maintain`: what it puts together, and how long it keeps what.

    target_mb: files smaller than half of that are put together. vacuum_hours: files that no version in use has stay so
    long for whoever still reads them. log_days: so long each commit of a table can be read back; after that only those
    that a close is pinned to. audit_days: closes of so many days can be replayed, and the close's tables read as they
    were. keep_days: rows older than that are removed, by table; a table that is not named keeps all.
    """

    target_mb: int = Field(default=128, ge=1, le=4096)
    vacuum_hours: int = Field(default=168, ge=24, le=24 * 30)
    log_days: int = Field(default=30, ge=2, le=36500)
    audit_days: int = Field(default=3650, ge=1, le=36500)
    keep_days: dict[str, Annotated[int, Field(ge=30, le=36500)]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_keep_days(self) -> Self:
        if unknown := sorted(set(self.keep_days) - set(EXPIRING)):
            raise ValueError(f"keep_days: {unknown[0]} is none of {', '.join(EXPIRING)}")
        together = {self.keep_days.get(name) for name in EXPIRING[:3]}
        if len(together) > 1:
            raise ValueError(f"keep_days: {', '.join(EXPIRING[:3])} go together; give all three the same number")
        return self


class Metrics(Section):
    """Where the streaming job, or the relay, answers Prometheus; nowhere where port is null."""

    port: int | None = Field(default=None, ge=1, le=65535)
    host: str = Field(default="127.0.0.1", min_length=1)


class Formats(Section):
    """Suppliers' payload formats; folder is the folder `formats` beside the policies file unless set."""

    folder: Annotated[Path | None, BeforeValidator(_as_path)] = None


class Spark(Section):
    """The Spark session; where master is null, or jars is [], whoever submits the job brings them."""

    master: str | None = "local[*]"
    shuffle_partitions: int = Field(default=2, ge=1)
    driver_memory: str = Field(default="2g", pattern=_MEMORY)
    jars: list[str] | None = None
    conf: dict[str, Text] = Field(default_factory=dict, repr=False)


class Local(Section):
    """This machine's broker; its port is a free one unless set. console, alerts: whether `reco up` runs them too."""

    home: Place = Path(".reco")
    broker_port: int | None = Field(default=None, ge=1, le=65535)
    console: bool = True
    alerts: bool = False
