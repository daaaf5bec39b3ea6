"""Logging: structured lines to stderr, JSON for machines, readable on a terminal; secrets never appear."""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

import structlog

_SECRET_KEY = re.compile(r"passw|secret|token|credential|jaas|api_?key|private_?key|dsn|authorization", re.IGNORECASE)
_SECRET_PAIR = re.compile(
    r"""(?i)\b([\w.-]*(?:password|secret|token|api_?key)[\w.-]*)(["']?\s*[=:]\s*)("[^"]*"|'[^']*'|[^\s,;&"']+)"""
)
_SECRET_URL = re.compile(r"(://[^\s:/@]*):[^\s@/]+@")
HIDDEN = "[hidden]"


class _Stderr:
    """Stands for whatever sys.stderr is when a line is written, so that a redirected stream is respected."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def hide_secrets(value: Any, key: str = "") -> Any:
    """The value without secrets: by the name it goes under, inside mappings and lists, and inside text."""
    if key and _SECRET_KEY.search(key) and value is not None:
        return HIDDEN
    if isinstance(value, Mapping):
        return {name: hide_secrets(item, str(name)) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [hide_secrets(item) for item in value]
    if isinstance(value, str):
        return _SECRET_PAIR.sub(rf"\1\2{HIDDEN}", _SECRET_URL.sub(rf"\1:{HIDDEN}@", value))
    return value


def _hide(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {key: hide_secrets(value, key) for key, value in event.items()}


def configure(debug: bool = False, as_json: bool | None = None, stream: TextIO | None = None) -> None:
    """Sets logging up once for the program; as_json None means JSON unless stderr is a terminal."""
    machine = not sys.stderr.isatty() if as_json is None else as_json
    console = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    renderer: Any = structlog.processors.JSONRenderer() if machine else console
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # Text of exceptions may hold secrets too, so it is made before they are hidden.
            structlog.processors.format_exc_info,
            _hide,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if debug else logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=stream or _Stderr()),  # type: ignore[arg-type]
        cache_logger_on_first_use=False,
    )


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger whose lines carry `component: name`; sets logging up where nobody has."""
    if not structlog.is_configured():
        configure()
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(component=name)
    return logger
