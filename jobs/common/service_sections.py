"""The sections of the settings for the programs beside the two jobs: ways in, alerts, console, warehouse."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, IPvAnyNetwork, model_validator

from jobs.common.sections import Name, Place, Reference, Section

#: With its schema or without; the names of the tables beside it are made of it, and have room for 63 characters.
_TABLE = r"^([A-Za-z_][A-Za-z0-9_]{0,62}\.)?[A-Za-z_][A-Za-z0-9_]{0,45}$"


def _as_server(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if not re.fullmatch(r"https?://[^/@\s]+/*", value):
        raise ValueError("must be like http://127.0.0.1:8123, without user, password and path")
    return value.rstrip("/")


class Poll(Section):
    """The poller of suppliers' APIs: where their files are, and where it keeps how far each was read.

    metrics_port: where `reco poll` answers Prometheus, on metrics.host; nowhere where it is null.
    """

    folder: Place = Path("conf/suppliers")
    state: Place = Path(".reco/poll")
    metrics_port: int | None = Field(default=None, ge=1, le=65535)


class Outbox(Section):
    """The outbox table that `reco relay` publishes from; `sides`: whose rows are its own, and whose time it tells.

    `sides` has no default: for a side that does not write there, heartbeats would say what nobody knows.
    dsn: a reference (jobs.common.secrets), or a URL without a password. poll_milliseconds: how soon at the latest a
    new row is seen. longest_transaction_minutes: what is assumed of transactions that the database does not show.
    keep_hours: how long published rows stay, null for ever; then they go to archive_table, or are deleted where that
    is empty.
    """

    dsn: str = Field(default="", repr=False)
    table: str = Field(default="outbox", pattern=_TABLE)
    sides: list[Literal["agoda", "supplier"]] = Field(default_factory=list)
    batch_size: int = Field(default=1000, ge=1, le=50_000)
    poll_milliseconds: int = Field(default=200, ge=10, le=5_000)
    heartbeat_seconds: int = Field(default=10, ge=1, le=3600)
    longest_transaction_minutes: int = Field(default=10, ge=1, le=24 * 60)
    keep_hours: int | None = Field(default=7 * 24, ge=0, le=24 * 3660)
    archive_table: str = Field(default="", pattern=rf"{_TABLE}|^$")


class Alerts(Section):
    """The alerting service: the file of its routes, the topic of its state, the folder in which it tells how it is.

    group: instances of one group share one state, and one of them leads. close_seconds: how often it looks for a new
    close. metrics_port: where `reco alerts` answers Prometheus, on metrics.host; nowhere where it is null.
    """

    routes: Place = Path("conf/alerts.yaml")
    topic: Name = "reco.alerts.state"
    group: Name = "reco-alerts"
    folder: Place = Path(".reco/alerts")
    close_seconds: int = Field(default=30, ge=1, le=3600)
    metrics_port: int | None = Field(default=None, ge=1, le=65535)


class Oidc(Section):
    """Sign-in at an OpenID Connect provider; off while issuer is empty.

    issuer: as the provider writes it; its discovery document says the rest. client_secret: a reference,
    empty for a public client. redirect_url: where the provider sends browsers back, as it is registered there.
    name_claim, role_claim, suppliers_claim: claims of the ID token, dotted for nested ones (`realm_access.roles`).
    roles: what a value of role_claim makes of a user; the highest counts, and without one nobody gets in.
    suppliers_claim: the suppliers that a user is limited to, `*` for all; where the setting is empty, users see all.
    session_minutes: after which the provider is asked again. skew_seconds: how far the two clocks may be apart.
    """

    issuer: str = Field(default="", pattern=r"^(https://.+|http://(127\.0\.0\.1|localhost|\[::1\])(:[0-9]+)?(/.*)?)?$")
    client_id: str = ""
    client_secret: Reference = Field(default="", repr=False)
    redirect_url: str = Field(default="", pattern=r"^(https?://.+/sign-in/oidc/back)?$")
    label: str = Field(default="single sign-on", min_length=1, max_length=60)
    scopes: list[str] = Field(default=["openid", "profile", "email"])
    name_claim: str = Field(default="preferred_username", min_length=1)
    role_claim: str = Field(default="roles", min_length=1)
    roles: dict[str, Literal["viewer", "operator", "admin"]] = Field(default_factory=dict)
    suppliers_claim: str = ""
    session_minutes: int = Field(default=60, ge=1, le=24 * 60)
    skew_seconds: int = Field(default=60, ge=0, le=300)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        lacking = [name for name in ("client_id", "redirect_url", "roles") if not getattr(self, name)]
        if self.issuer and lacking:
            raise ValueError(f"an issuer needs {', '.join(lacking)} too")
        if "openid" not in self.scopes:
            raise ValueError("scopes must name openid")
        return self


class Console(Section):
    """The web console: where it answers, who may sign in, and which proxies may say who somebody is.

    session_secret: a reference; where it is empty, sessions end when the console stops. session_hours:
    how long a session lasts. https: whether browsers reach it by https only, then its cookie travels by nothing else.
    proxies: addresses or networks whose header proxy_header names the user. sign_in_attempts: wrong passwords of one
    address or user in 15 minutes before both have to wait. audit_file: where sign-ins, actions, exports are noted.
    job_minutes: how long a replay or a backtest that somebody starts there may take.
    metrics_port: where `reco console` answers Prometheus, on metrics.host; nowhere where it is null.
    """

    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=8088, ge=1, le=65535)
    users_file: Place = Path("conf/console-users.yaml")
    session_secret: Reference = Field(default="", repr=False)
    session_hours: int = Field(default=12, ge=1, le=24 * 31)
    https: bool = False
    proxies: list[IPvAnyNetwork] = Field(default_factory=list)
    proxy_header: str = Field(default="X-Forwarded-User", pattern=r"^[A-Za-z0-9-]{1,64}$")
    sign_in_attempts: int = Field(default=5, ge=1, le=1000)
    audit_file: Place = Path(".reco/console-audit.jsonl")
    job_minutes: float = Field(default=15, gt=0, le=24 * 60)
    metrics_port: int | None = Field(default=None, ge=1, le=65535)
    oidc: Oidc = Field(default_factory=Oidc)


class Warehouse(Section):
    """ClickHouse, which `reco export clickhouse` feeds, and the key that signs an exported close.

    password, signing_key: references. batch_rows: rows of one insert. follow_seconds: how often
    `--follow` looks for new commits.
    """

    url: Annotated[str, BeforeValidator(_as_server)] = "http://127.0.0.1:8123"
    user: str = Field(default="default", min_length=1)
    password: Reference = Field(default="", repr=False)
    database: str = Field(default="reco", pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")
    batch_rows: int = Field(default=50_000, ge=1, le=1_000_000)
    timeout_seconds: int = Field(default=300, ge=1, le=3600)
    follow_seconds: int = Field(default=30, ge=1, le=3600)
    signing_key: Reference = Field(default="", repr=False)
