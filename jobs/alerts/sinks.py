"""Sinks: one message to PagerDuty, a webhook or Alertmanager, and what all sinks have."""

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

import httpx

from jobs.alerts.plan import Action
from jobs.alerts.sink_config import AlertmanagerSink, PagerDutySink, WebhookSink
from jobs.alerts.wording import Message
from jobs.common.output import plain_decimal
from jobs.common.secrets import secret

Handle = dict[str, str]
_PAGERDUTY = {"us": "https://events.pagerduty.com/v2/enqueue", "eu": "https://events.eu.pagerduty.com/v2/enqueue"}
_PD_SEVERITY = {"CRITICAL": "critical", "HIGH": "error", "MEDIUM": "warning", "LOW": "info"}
#: Longer than that no answer may ask us to wait, seconds.
_LONGEST_WAIT = 900.0


class SinkFailedError(Exception):
    """It did not take the message; the sentence says why. `retry_after`: seconds that it asked for."""

    def __init__(self, sentence: str, retry_after: float | None = None) -> None:
        super().__init__(sentence)
        self.retry_after = retry_after


class Sender(Protocol):
    """Sends to one sink. Used by one thread."""

    def send(self, message: Message, handle: Handle) -> Handle:
        """Send or change a message; returns what the sink calls it. Raises SinkFailedError, UserError."""

    def close(self) -> None:
        """Let go of connections."""


class _Http:
    """POSTs JSON."""

    def __init__(self, timeout: float) -> None:
        self._client = httpx.Client(timeout=timeout, follow_redirects=False)

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()

    def _post(self, url: str, body: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
        try:
            answer = self._client.post(
                url, content=body, headers={"Content-Type": "application/json", **(headers or {})}
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise SinkFailedError(f"it does not answer ({type(error).__name__})") from error
        if not answer.is_success:
            raise SinkFailedError(f"it answered {answer.status_code}", retry_after(answer.headers.get("Retry-After")))
        return answer


class PagerDuty(_Http):
    """Events v2: all that is told of an incident goes under one dedup_key."""

    def __init__(self, name: str, config: PagerDutySink) -> None:
        super().__init__(config.timeout)
        self._name, self._config = name, config
        self._url = config.url or _PAGERDUTY[config.region]

    def send(self, message: Message, handle: Handle) -> Handle:
        """Trigger, acknowledge or resolve; a digest is an alert of severity info that is resolved at once."""
        what = {Action.RESOLVE: "resolve", Action.ACKNOWLEDGE: "acknowledge"}.get(message.action, "trigger")
        event: dict[str, Any] = {
            "routing_key": secret(self._config.routing_key, f"sink {self._name}"),
            "dedup_key": f"reco-{message.id}",
            "event_action": what,
        }
        if what == "trigger":
            event |= {
                "payload": {
                    "summary": message.title[:1024],
                    "source": ", ".join(message.suppliers)[:255] or "reco",
                    "severity": _PD_SEVERITY.get(message.severity, "error"),
                    "timestamp": _iso(message.began),
                    "component": "reconciliation",
                    "class": ", ".join(message.kinds)[:255],
                    "custom_details": {
                        "text": "\n".join(message.lines),
                        "breaks": message.count,
                        "usd": plain_decimal(message.amount),
                    },
                },
                "links": [{"href": message.link, "text": "Look at it"}] if message.link else [],
            }
        self._post(self._url, _json(event))
        if message.action is Action.DIGEST:
            self._post(self._url, _json({**event, "event_action": "resolve"}))
        return {}


class Webhook(_Http):
    """A JSON document. X-Reco-Signature: v1=HMAC-SHA256 over the timestamp, a dot and the body, in hexadecimal."""

    def __init__(self, name: str, config: WebhookSink, clock: Callable[[], float] = time.time) -> None:
        super().__init__(config.timeout)
        self._name, self._config, self._clock = name, config, clock

    def send(self, message: Message, handle: Handle) -> Handle:
        """Send it; a repeat has the same Idempotency-Key."""
        body = _json(
            {
                "id": message.id,
                "action": message.action.value,
                "title": message.title,
                "lines": list(message.lines),
                "severity": message.severity,
                "suppliers": list(message.suppliers),
                "anomalyTypes": list(message.kinds),
                "breaks": message.count,
                "amountAtRiskUsd": plain_decimal(message.amount),
                "beganAt": _iso(message.began),
                "link": message.link,
            }
        )
        stamp = str(int(self._clock()))
        key = secret(self._config.secret, f"sink {self._name}").encode()
        proof = hmac.new(key, stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        headers = {"X-Reco-Timestamp": stamp, "X-Reco-Signature": f"v1={proof}", "Idempotency-Key": message.key}
        self._post(self._config.url, body, headers)
        return {}


class Alertmanager(_Http):
    """API v2. A firing alert ends by itself three refreshes after the last one, so that none outlives this service."""

    def __init__(self, config: AlertmanagerSink, clock: Callable[[], float] = time.time) -> None:
        super().__init__(config.timeout)
        self._config, self._clock = config, clock

    def send(self, message: Message, handle: Handle) -> Handle:
        """Put the alert; its labels stay the same as long as the incident lives, or it would be another one."""
        now = self._clock()
        ends = now if message.action is Action.RESOLVE else now + 3 * self._config.refresh
        labels = {"alertname": "RecoIncident", "incident": message.id, "service": "reco"}
        if len(message.suppliers) == 1:
            labels["supplier"] = message.suppliers[0]
        if message.action is Action.DIGEST:
            labels["alertname"] = "RecoDigest"
        annotations = {
            "summary": message.title,
            "description": "\n".join(message.lines),
            "severity": message.severity,
            "amount_at_risk_usd": plain_decimal(message.amount),
            "breaks": str(message.count),
        }
        alert = {
            "labels": labels,
            "annotations": annotations,
            "startsAt": _iso(min(message.began, ends)),
            "endsAt": _iso(ends),
            **({"generatorURL": message.link} if message.link else {}),
        }
        self._post(f"{self._config.url.rstrip('/')}/api/v2/alerts", _json([alert]))
        return {}


def retry_after(said: str | None) -> float | None:
    """Seconds that an answer asks to wait, given as a number or as a date; at most a quarter of an hour."""
    if said is None:
        return None
    try:
        seconds = float(said)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(said) - datetime.now(UTC)) / timedelta(seconds=1)
        except (ValueError, TypeError):
            return None
    return min(max(seconds, 0.0), _LONGEST_WAIT) if seconds == seconds else None


def _json(data: Any) -> bytes:
    return json.dumps(data, ensure_ascii=False).encode()


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
