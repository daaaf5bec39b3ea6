"""conf/alerts.yaml: routes, maintenance windows and sinks, checked whole before anything is sent."""

import re
from collections.abc import Iterator
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator, Field, SkipValidation, ValidationError

from jobs.alerts.model import SEVERITIES
from jobs.alerts.sink_config import HERE, KINDS, EmailSink, Part, Sink, between
from jobs.common.errors import UserError
from jobs.common.yaml_file import Document, Key, complaints, read_yaml

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Severity = Literal["LOW", "MEDIUM", "HIGH", "CRITICAL"]
_DAYS: tuple[Day, ...] = get_args(Day)
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_P = TypeVar("_P", bound=Part)
_MATCHING = {"severity", "supplier", "kind", "hours"}
_IN_LINK = {"{filter}", "{supplier}", "{incident}"}
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]|24:00", re.ASCII)


def _moment(value: Any) -> Any:
    try:
        at = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        at = None
    if at is None or at.tzinfo is None:
        raise ValueError("must be a time with its offset, like 2026-03-01T00:00:00Z")
    return at.timestamp()


def _zone(value: Any) -> Any:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        raise ValueError("must be a time zone like UTC or Asia/Bangkok") from None
    return value


def _clock(value: Any) -> Any:
    if not isinstance(value, str) or not _CLOCK.fullmatch(value):
        raise ValueError("must be a time of day like 08:00 or 18:30, at most 24:00")
    return value


def _link(value: Any) -> Any:
    named = set(re.findall(r"\{[^}]*\}", value)) if isinstance(value, str) else set()
    if not isinstance(value, str) or not value.startswith(("https://", "http://")) or named - _IN_LINK:
        raise ValueError(
            "must be like https://reco.example.com/exceptions?{filter}; {supplier} and {incident} may stand too"
        )
    return value


Clock = Annotated[str, BeforeValidator(_clock)]
Moment = Annotated[float, BeforeValidator(_moment)]


class Group(Part):
    """Seconds. `wait`: from an incident's beginning to its first message.

    `interval`: between two messages where it has changed; `repeat`: where it has not. `release`: how long breaks that
    a silent feed held may still be answered once it has spoken.
    """

    wait: Annotated[int, between("0s", "1h")] = 30
    interval: Annotated[int, between("1s", "24h")] = 300
    repeat: Annotated[int, between("1m", "7d")] = 14_400
    release: Annotated[int, between("0s", "6h")] = 600


class Causes(Part):
    """Breaks of one signature are an incident from `min_count` on, and `min_percent` of the supplier's of that kind."""

    min_count: int = Field(default=5, ge=2, le=10_000)
    min_percent: int = Field(default=10, ge=0, le=100)


class Hours(Part):
    """Local hours of a week; `until` before `since` goes over midnight and belongs to the day it began on."""

    days: list[Day] = Field(default=list(_DAYS), min_length=1)
    since: Clock = "00:00"
    until: Clock = "24:00"
    zone: Annotated[str, BeforeValidator(_zone)] = "UTC"

    def holds(self, at: float) -> bool:
        """Whether the moment (seconds since 1970) lies in them."""
        local = datetime.fromtimestamp(at, ZoneInfo(self.zone))
        clock, day = f"{local:%H:%M}", _DAYS[local.weekday()]
        if self.since < self.until:
            return day in self.days and self.since <= clock < self.until
        before = _DAYS[local.weekday() - 1]
        return (day in self.days and clock >= self.since) or (before in self.days and clock < self.until)


class Route(Part):
    """Where incidents go; what is left out matches all. `also`: the routes after it are asked too."""

    name: str = Field(min_length=1)
    severity: list[Severity] = Field(default=list(get_args(Severity)), min_length=1)
    supplier: list[str] = Field(default=["*"], min_length=1)
    kind: list[str] = Field(default=["*"], min_length=1)
    hours: Hours | None = None
    sinks: list[str]
    also: bool = False

    def matches(self, supplier: str, kinds: list[str], severity: str, at: float) -> bool:
        """Whether an incident of the supplier, with breaks of these kinds, goes here at the moment."""
        return (
            severity in self.severity
            and any(fnmatchcase(supplier, pattern) for pattern in self.supplier)
            and any(fnmatchcase(kind, pattern) for kind in kinds for pattern in self.kind)
            and (self.hours is None or self.hours.holds(at))
        )

    @property
    def takes_all(self) -> bool:
        """Whether nothing passes it by."""
        plain = self.hours is None and set(self.severity) == set(SEVERITIES)
        return plain and "*" in self.supplier and "*" in self.kind


class Window(Part):
    """Planned work: until it is over, what breaks at these suppliers is not told."""

    supplier: list[str] = Field(min_length=1)
    since: Moment
    until: Moment
    why: str = Field(min_length=1)

    def holds(self, supplier: str, at: float) -> bool:
        """Whether it silences the supplier at the moment."""
        return self.since <= at < self.until and any(fnmatchcase(supplier, pattern) for pattern in self.supplier)


class Routes(Part):
    """The whole file. `flood`: more new incidents than this for the same sinks become one message."""

    version: Literal[1]
    group: Group = Group()
    causes: Causes = Causes()
    flood: int = Field(default=5, ge=1, le=100)
    link: Annotated[str, BeforeValidator(_link)] | None = None
    sinks: SkipValidation[dict[str, Sink]]
    routes: list[Route] = Field(min_length=1)
    maintenance: list[Window] = Field(default_factory=list)
    digest: list[str] = Field(default_factory=list)

    def sinks_for(self, supplier: str, kinds: list[str], severity: str, at: float) -> list[str]:
        """The sinks of the first route that matches, and of those after it as long as they say `also`."""
        found: dict[str, None] = {}
        for route in self.routes:
            if route.matches(supplier, kinds, severity, at):
                found |= dict.fromkeys(route.sinks)
                if not route.also:
                    break
        return list(found)

    def is_silenced(self, supplier: str, at: float) -> bool:
        """Whether planned work is going on there."""
        return any(window.holds(supplier, at) for window in self.maintenance)


def read_routes(path: Path) -> Routes:
    """Reads and checks the file; UserError names file, line and key of everything that is wrong."""
    document = read_yaml(path, "alerts file")
    wrong: list[tuple[Key, str]] = []
    sinks = _sinks(document, wrong)
    try:
        routes = Routes(**{**document.data, "sinks": sinks})
    except ValidationError as error:
        wrong += complaints(error, list(Routes.model_fields))
    wrong += _together(document.data, sinks)
    if wrong:
        raise _error(document, wrong)
    return routes


def _error(document: Document, wrong: list[tuple[Key, str]]) -> UserError:
    in_order = sorted(wrong, key=lambda item: document.line(item[0]))
    return UserError("\n".join(document.sentence(*item) for item in in_order))


def _sinks(document: Document, wrong: list[tuple[Key, str]]) -> dict[str, Sink]:
    written, found = document.data.get("sinks"), {}
    if not isinstance(written, dict) or not written:
        wrong.append((("sinks",), "must name at least one sink"))
        return {}
    for name, data in written.items():
        if not _NAME.fullmatch(name):
            wrong.append((("sinks", name), "a sink's name is letters, digits, -, _ and ., at most 64 of them"))
        kind = KINDS.get(str(data.get("kind"))) if isinstance(data, dict) else None
        if kind is None:
            wrong.append((("sinks", name, "kind"), f"must be one of {', '.join(KINDS)}"))
            continue
        try:
            found[name] = kind.model_validate({key: value for key, value in data.items() if key != "kind"})
        except ValidationError as error:
            wrong += [(("sinks", name, *key), what) for key, what in complaints(error, list(kind.model_fields))]
    return found


def _together(data: dict[str, Any], sinks: dict[str, Sink]) -> list[tuple[Key, str]]:
    """What is wrong though each value is right by itself; asked of the file, of which other values may be wrong."""
    routes, windows = _list(data, "routes"), _list(data, "maintenance")
    written = data.get("sinks") if isinstance(data.get("sinks"), dict) else {}
    wrong = [*_unknown_sinks(data, routes, written or {}), *_of_mail(sinks)]
    last = _part(Route, {**_only(routes[-1], _MATCHING), "name": "last", "sinks": []}) if routes else None
    if last is not None and not last.takes_all:
        wrong.append((("routes",), "the last route must match everything, so that no incident is told to nobody"))
    for index, value in enumerate(windows):
        window = _part(Window, value)
        if window is not None and window.until <= window.since:
            wrong.append((("maintenance", str(index), "until"), "must be after since"))
    return wrong


def _unknown_sinks(data: dict[str, Any], routes: list[Any], sinks: dict[str, Any]) -> list[tuple[Key, str]]:
    named: list[tuple[Key, Any]] = []
    for index, route in enumerate(routes):
        named += [(("routes", str(index), "sinks"), name) for name in _list(route, "sinks")]
    named += [(("digest",), name) for name in _list(data, "digest")]
    behind = [(name, sink["fallback"]) for name, sink in sinks.items() if _only(sink, {"fallback"})]
    named += [(("sinks", name, "fallback"), other) for name, other in behind if other]
    wrong = [(key, f"there is no sink {name}") for key, name in named if isinstance(name, str) and name not in sinks]
    itself = [(("sinks", name, "fallback"), "must be another sink") for name, other in behind if other == name]
    return [*wrong, *itself] if sinks else []  # where there are none, that is said


def _of_mail(sinks: dict[str, Sink]) -> Iterator[tuple[Key, str]]:
    for name, sink in sinks.items():
        if isinstance(sink, EmailSink) and sink.security == "none" and sink.host not in HERE:
            yield ("sinks", name, "security"), "none is for this machine only; use starttls or tls"
        if isinstance(sink, EmailSink) and (sink.username is None) != (sink.password is None):
            yield ("sinks", name, "username"), "and password belong together"


def _part(kind: type[_P], value: Any) -> _P | None:
    """The value as a part of the file; None where it is wrong by itself, which is said elsewhere."""
    try:
        return kind.model_validate(value)
    except ValidationError:
        return None


def _only(value: Any, keys: set[str]) -> dict[str, Any]:
    return {key: value[key] for key in keys if key in value} if isinstance(value, dict) else {}


def _list(value: Any, key: str) -> list[Any]:
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, list) else []
