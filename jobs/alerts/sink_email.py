"""E-mail: plain and HTML; all of one incident in one thread."""

import smtplib
import ssl
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from hashlib import sha256
from html import escape

from jobs.alerts.plan import Action
from jobs.alerts.sink_config import EmailSink
from jobs.alerts.sinks import Handle, SinkFailedError
from jobs.alerts.wording import Message
from jobs.common import log
from jobs.common.secrets import secret

_log = log.get_logger("alerts")
_COLOURS = {"CRITICAL": "#b71c1c", "HIGH": "#e65100", "MEDIUM": "#f9a825", "LOW": "#1565c0"}


class Email:
    """One server, one list of receivers."""

    def __init__(self, name: str, config: EmailSink) -> None:
        self._name, self._config = name, config

    def close(self) -> None:
        """Nothing is kept open."""

    def send(self, message: Message, handle: Handle) -> Handle:
        """Send one mail; a repeat has the same Message-ID, so that mailboxes that look at it show it once."""
        config = self._config
        mail = mail_of(message, config.sender, config.to, handle)
        try:
            with self._connected() as server:
                if config.security == "starttls":
                    server.starttls(context=self._tls())
                if config.username is not None and config.password is not None:
                    server.login(config.username, secret(config.password, f"sink {self._name}"))
                refused = server.send_message(mail)
        except (smtplib.SMTPException, OSError) as error:
            code = getattr(error, "smtp_code", None)
            why = f"it answered {code}" if code else f"it does not answer ({type(error).__name__})"
            raise SinkFailedError(why) from error
        if refused:  # the others have it, and would get it again and again
            _log.warning("receivers refused", sink=self._name, refused=sorted(refused))
        return {"first": handle.get("first") or mail["Message-ID"]}

    def _connected(self) -> smtplib.SMTP:
        config = self._config
        if config.security == "tls":
            return smtplib.SMTP_SSL(config.host, config.port, timeout=config.timeout, context=self._tls())
        return smtplib.SMTP(config.host, config.port, timeout=config.timeout)

    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self._config.ca_file)


def mail_of(message: Message, sender: str, to: list[str], handle: Handle) -> EmailMessage:
    """The mail."""
    mail = EmailMessage()
    mail["Subject"] = f"[{message.severity}] {message.title}" if message.action is not Action.DIGEST else message.title
    mail["From"], mail["To"] = sender, ", ".join(to)
    mail["Date"] = format_datetime(datetime.now(UTC))
    host = sender.rpartition("@")[2].strip("<> ") or "reco"
    mail["Message-ID"] = f"<{sha256(message.key.encode()).hexdigest()[:32]}@{host}>"
    mail["Auto-Submitted"] = "auto-generated"
    if first := handle.get("first"):
        mail["In-Reply-To"] = mail["References"] = first
    link = [message.link] if message.link else []
    mail.set_content("\n".join([message.title, "", *message.lines, *link]))
    mail.add_alternative(_html(message), subtype="html")
    return mail


def _html(message: Message) -> str:
    colour = "#2e7d32" if message.action is Action.RESOLVE else _COLOURS.get(message.severity, "#e65100")
    lines = "".join(f"<p>{escape(line)}</p>" for line in message.lines)
    link = f'<p><a href="{escape(message.link)}">Look at it</a></p>' if message.link else ""
    return (
        f'<html><body style="font-family:sans-serif"><h2 style="border-left:8px solid {colour};padding-left:8px">'
        f"{escape(message.title)}</h2>{lines}{link}</body></html>"
    )
