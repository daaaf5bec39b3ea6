"""The outbox: its rows, what can go wrong with its database, and which kind of database a DSN names."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from jobs.common.errors import UserError
from jobs.common.secrets import FORMS, is_reference, secret
from jobs.common.settings import Outbox

if TYPE_CHECKING:
    from jobs.ingest.outbox_mysql import MysqlOutbox
    from jobs.ingest.outbox_postgresql import PostgresOutbox
    from jobs.ingest.outbox_table import OutboxTable

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class AwayError(Exception):
    """The database does not answer, or not as it should; what was claimed is free again."""


class Row(NamedTuple):
    """One row to be published; `payload` is its JSON text in UTF-8.

    `created`: milliseconds since 1970, cut; 0 unless they were asked for (`OutboxTable.tell_creation`).
    """

    id: Any
    aggregatetype: str
    aggregateid: str
    payload: bytes
    seq: int
    created: int = 0

    @property
    def aggregate(self) -> tuple[str, str]:
        """What its order counts within."""
        return self.aggregatetype, self.aggregateid


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is still to be published: rows (counted up to a million), and how old the oldest is, seconds."""

    rows: int
    age_seconds: float


def sides_of(settings: Outbox) -> list[Literal["agoda", "supplier"]]:
    """Who writes to the outbox. Raises UserError where the settings do not say it."""
    if not settings.sides:
        raise UserError(
            "outbox.sides is not set: say who writes to the outbox, as [agoda], [supplier] or [agoda, supplier] "
            "(RECO_OUTBOX__SIDES='[\"agoda\"]'); the relay tells the time of those and of nobody else."
        )
    return settings.sides


def open_outbox(settings: Outbox) -> "OutboxTable":
    """The outbox of the settings, not connected yet.

    Raises UserError where outbox.dsn is missing or makes no sense, or outbox.sides is missing.
    """
    if not settings.dsn:
        raise UserError(f"outbox.dsn is not set: name where the database's URL is ({FORMS}), or set RECO_OUTBOX__DSN.")
    dsn = secret(settings.dsn, "outbox.dsn") if is_reference(settings.dsn) else settings.dsn
    _check_signs(dsn)
    sides_of(settings)
    try:
        scheme = urlsplit(dsn).scheme
    except ValueError:
        scheme = ""
    return table_of(scheme)(dsn, settings)


def table_of(scheme: str) -> "type[PostgresOutbox | MysqlOutbox]":
    """The kind of outbox by a URL's scheme; only its own driver is needed. Raises UserError for any other."""
    if scheme in ("postgresql", "postgres"):
        from jobs.ingest.outbox_postgresql import PostgresOutbox

        return PostgresOutbox
    if scheme in ("mysql", "mariadb"):
        from jobs.ingest.outbox_mysql import MysqlOutbox

        return MysqlOutbox
    raise UserError("outbox.dsn must be a URL postgresql://user:password@host/database, or mysql:// likewise.")


def _check_signs(dsn: str) -> None:
    """Raises UserError where a password would be taken for a part of the host, which errors and logs name."""
    place = dsn.partition("://")[2]
    if place.count("@") > 1 or "@" in "".join(re.split(r"([/?#])", place, maxsplit=1)[1:]):
        raise UserError(
            "outbox.dsn: only the @ before the host may stand as it is; in the user, the password and elsewhere write "
            "%40 for @, %2F for /, %3F for ?, %23 for #."
        )


def utc(time: datetime) -> datetime:
    """A time of the database in UTC; MySQL's come without a zone, and are."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def ms(time: datetime) -> int:
    """Milliseconds since 1970, cut."""
    return (time - _EPOCH) // timedelta(milliseconds=1)
