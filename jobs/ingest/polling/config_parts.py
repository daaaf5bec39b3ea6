"""The parts of a supplier's file: what its values may be, how it is paged, how we show who we are."""

import re
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal
from zoneinfo import ZoneInfo

import httpx
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from jobs.common.policy_file import seconds_of
from jobs.common.secrets import as_reference
from jobs.ingest.polling.paths import Path, parse_path

_SIZE = re.compile(r"(\d{1,9}) ?(B|KB|MB)?", re.ASCII)
_UNITS = {None: 1, "B": 1, "KB": 1_024, "MB": 1_048_576}
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def between(low: str, high: str) -> BeforeValidator:
    """A duration, held as seconds."""
    least, most = seconds_of(low), seconds_of(high)

    def check(value: Any) -> int:
        seconds = seconds_of(value)
        if not least <= seconds <= most:
            raise ValueError(f"must be from {low} to {high}, not {value}")
        return seconds

    return BeforeValidator(check)


def _bytes(value: Any) -> Any:
    found = _SIZE.fullmatch(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else None
    if found is None:
        raise ValueError("must be a size like 8MB, 512KB or 65536")
    size = int(found.group(1)) * _UNITS[found.group(2)]
    if not 1_024 <= size <= 32 * 1_048_576:
        raise ValueError(f"must be from 1KB to 32MB, not {value}")
    return size


def _rate(value: Any) -> Any:
    number = isinstance(value, int | Decimal) and not isinstance(value, bool)
    if not number or not 1 <= value * 600 <= 600_000:
        raise ValueError("must be a number of requests a second, from 1 in 10 minutes (0.0017) to 1000, like 5 or 0.2")
    return Decimal(value)


def _url(value: Any) -> Any:
    try:
        url = httpx.URL(value)
    except (httpx.InvalidURL, TypeError):
        raise ValueError("must be an address like https://api.example.com/v1/bookings") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("must be an address like https://api.example.com/v1/bookings")
    if url.userinfo:
        raise ValueError("must hold no user and password; give them under auth, by reference")
    return value


def is_open(url: str) -> bool:
    """Whether what is sent to the address can be read on its way: http, and not to this machine."""
    parsed = httpx.URL(url)
    return parsed.scheme == "http" and parsed.host not in _LOOPBACK


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | Decimal) else value


def _zone(value: Any) -> Any:
    try:
        ZoneInfo(value)
    except (ValueError, TypeError, KeyError, OSError):
        raise ValueError("must be the name of a time zone, like Europe/Berlin") from None
    return value


Text = Annotated[str, BeforeValidator(_text)]
JsonPath = Annotated[Path, BeforeValidator(parse_path)]
Reference = Annotated[str, BeforeValidator(as_reference)]
Address = Annotated[str, BeforeValidator(_url)]
Size = Annotated[int, BeforeValidator(_bytes)]
Rate = Annotated[Decimal, BeforeValidator(_rate)]
Param = Annotated[str, Field(min_length=1, max_length=100)]


class Part(BaseModel):
    """A part of a supplier's file; knows only its keys, shows no values in errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Bearer(Part):
    """`Authorization: Bearer …`."""

    token: Reference


class Basic(Part):
    """User and password."""

    username: str = Field(min_length=1)
    password: Reference


class ApiKey(Part):
    """A header of the supplier's own."""

    header: str = Field(pattern=r"^[A-Za-z0-9-]{1,100}$")
    key: Reference


class OAuth(Part):
    """OAuth 2.0 client credentials: a token from token_url, taken anew before it ends and when it is refused."""

    token_url: Address
    client_id: str = Field(min_length=1)
    client_secret: Reference
    scope: str | None = None


Auth = Bearer | Basic | ApiKey | OAuth
AUTHS: dict[str, type[Auth]] = {"bearer": Bearer, "basic": Basic, "api_key": ApiKey, "oauth": OAuth}


class _Sized(Part):
    size_param: Param | None = None
    size: int | None = Field(default=None, ge=1, le=100_000)

    @model_validator(mode="after")
    def _size_whole(self) -> Any:
        if self.size_param is not None and self.size is None:
            raise ValueError("size_param needs size, the number to send")
        return self


class CursorPaging(_Sized):
    """A feed with a cursor that lasts: each answer says where the next one begins, also at the feed's end.

    `more` is a place that says true or false; without it an empty answer is the end. `next_optional`: an answer
    without `next` is the end too, and not a mistake in the path. `start` is the very first cursor.
    """

    kind: ClassVar[str] = "cursor"
    param: Param
    next: JsonPath
    more: JsonPath | None = None
    next_optional: bool = False
    start: Text | None = None


class _Pages(_Sized):
    """How the pages of one list are asked for: by number in `page_param`, or by `token_param` from `next`.

    `more` is a place that says true or false. `next_optional`: an answer without `next` is the last one, and not a
    mistake in the path, by which all pages but the first would be passed over.
    """

    page_param: Param | None = None
    first_page: int = Field(default=1, ge=0)
    token_param: Param | None = None
    next: JsonPath | None = None
    next_optional: bool = False
    more: JsonPath | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Any:
        if (self.token_param is None) != (self.next is None):
            raise ValueError("token_param and next go together: what the answer says at next is sent as token_param")
        if self.page_param is not None and self.token_param is not None:
            raise ValueError("give page_param, or token_param and next, not both")
        return self


class SincePaging(_Pages):
    """A list of what was changed since a time, which is in each item at `updated`.

    `order: ascending` promises the list by that time, oldest first, so that the time alone leads from page to page.
    `start` is where the very first poll begins; without it there is none and the supplier's own beginning holds.
    `zone`: whose times these are where they come without an offset; it is asked for so too.
    """

    kind: ClassVar[str] = "updated_since"
    param: Param
    updated: JsonPath
    time: Literal["iso", "iso_seconds", "epoch_seconds", "epoch_millis"] = "iso"
    order: Literal["any", "ascending"] = "any"
    start: Text | None = None
    zone: Annotated[str, BeforeValidator(_zone)] | None = None

    @model_validator(mode="after")
    def _by_clock(self) -> Any:
        if self.zone is not None and self.time.startswith("epoch"):
            raise ValueError(f"zone is for times without an offset; {self.time} needs none")
        if self.zone is not None and self.order == "ascending":
            raise ValueError("times of a zone do not lead on in the hour that is repeated; leave order ascending out")
        return self

    @model_validator(mode="after")
    def _by_time_alone(self) -> Any:
        if self.order == "ascending" and (self.page_param or self.token_param):
            raise ValueError("order ascending leads from page to page by time alone; leave page_param, token_param out")
        if self.order == "ascending" and self.size is None:
            raise ValueError("order ascending needs size, how many items the supplier gives in one answer")
        return self


class PagePaging(_Pages):
    """A list that is read whole in each poll."""

    kind: ClassVar[str] = "page"


Paging = CursorPaging | SincePaging | PagePaging
PAGINGS: dict[str, type[Paging]] = {"cursor": CursorPaging, "updated_since": SincePaging, "page": PagePaging}


class Timeouts(Part):
    """Seconds: to connect, between two pieces of an answer, and for a whole answer."""

    connect: Annotated[int, between("1s", "5m")] = 10
    read: Annotated[int, between("1s", "10m")] = 30
    total: Annotated[int, between("1s", "1h")] = 120


class Tls(Part):
    """`ca_file`: the authorities to trust, instead of the usual ones; the certificate is always verified."""

    ca_file: str | None = Field(default=None, min_length=1)
