"""The sinks of conf/alerts.yaml: where messages go, and what each needs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import httpx
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from jobs.common.errors import UserError
from jobs.common.policy_file import seconds_of
from jobs.common.secrets import as_reference, secret

HERE = ("localhost", "127.0.0.1", "::1")


def between(low: str, high: str) -> BeforeValidator:
    """A duration, held as seconds."""
    least, most = seconds_of(low), seconds_of(high)

    def check(value: Any) -> int:
        seconds = seconds_of(value)
        if not least <= seconds <= most:
            raise ValueError(f"must be from {low} to {high}, not {value}")
        return seconds

    return BeforeValidator(check)


def _url(value: Any) -> Any:
    try:
        url = httpx.URL(value)
    except (httpx.InvalidURL, TypeError):
        raise ValueError("must be an address like https://hooks.example.com/reco") from None
    if url.scheme not in ("http", "https") or not url.host or url.userinfo:
        raise ValueError("must be an address like https://hooks.example.com/reco, without user and password")
    if url.scheme == "http" and url.host not in HERE:
        raise ValueError("must be https, except to this machine")
    return value


Secret = Annotated[str, BeforeValidator(as_reference)]
Address = Annotated[str, BeforeValidator(_url)]


class Part(BaseModel):
    """A part of the file; cannot be changed, knows only its keys, shows no values in errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Sink(Part):
    """What all sinks have. Seconds. `give_up_after`: failing so long, its messages also go to `fallback`."""

    fallback: str | None = None
    give_up_after: Annotated[int, between("0s", "1h")] = 120
    timeout: Annotated[int, between("1s", "60s")] = 10


class SlackSink(Sink):
    """A channel of Slack (its id, C…), by a bot's token with chat:write."""

    token: Secret
    channel: str = Field(min_length=1)
    url: Address = "https://slack.com/api/"


class EmailSink(Sink):
    """SMTP. `security`: starttls, tls from the first byte, or none (to this machine only)."""

    host: str = Field(min_length=1)
    port: int = Field(default=587, ge=1, le=65535)
    sender: str = Field(min_length=3)
    to: list[str] = Field(min_length=1)
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str | None = None
    password: Secret | None = None
    ca_file: str | None = None


class PagerDutySink(Sink):
    """Events v2 of one service. `region`: us or eu; `url` replaces the region's host."""

    routing_key: Secret
    region: Literal["us", "eu"] = "us"
    url: Address | None = None


class WebhookSink(Sink):
    """A JSON document by POST, signed with HMAC-SHA256."""

    url: Address
    secret: Secret


class AlertmanagerSink(Sink):
    """Prometheus Alertmanager's API v2; `refresh`: how often a firing alert is sent anew, seconds."""

    url: Address
    refresh: Annotated[int, between("10s", "1h")] = 60


KINDS: Mapping[str, type[Sink]] = {
    "slack": SlackSink,
    "email": EmailSink,
    "pagerduty": PagerDutySink,
    "webhook": WebhookSink,
    "alertmanager": AlertmanagerSink,
}


def lacking(sinks: Mapping[str, Sink]) -> list[str]:
    """What these sinks refer to and is not there, secrets and certificates, a sentence each."""
    found = []
    for name, sink in sinks.items():
        for key in ("token", "routing_key", "secret", "password"):
            try:
                if (reference := getattr(sink, key, None)) is not None:
                    secret(reference, f"sinks.{name}.{key}")
            except UserError as error:
                found.append(str(error))
        if isinstance(sink, EmailSink) and sink.ca_file is not None and not Path(sink.ca_file).is_file():
            found.append(f"sinks.{name}.ca_file: there is no file {sink.ca_file}; give the path of one that exists.")
    return found
