"""Whose functions the rules call: Spark's, or while another engine that speaks as Spark does is in use, that one's."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pyspark.sql

if TYPE_CHECKING:
    from pyspark.sql import Window as Window
    from pyspark.sql import functions

    F = functions
else:

    class _InUse:
        """Stands for one part of the engine in use, looked up each time a name of it is."""

        def __init__(self, part: str) -> None:
            self._part = part

        def __getattr__(self, name: str) -> Any:
            return getattr(getattr(_IN_USE.get(), self._part), name)

    F, Window = _InUse("functions"), _InUse("Window")

_IN_USE: ContextVar[Any] = ContextVar("engine", default=pyspark.sql)


@contextmanager
def in_use(engine: Any) -> Iterator[None]:
    """Let `F` and `Window` be `engine.functions` and `engine.Window` within, in this thread."""
    token = _IN_USE.set(engine)
    try:
        yield
    finally:
        _IN_USE.reset(token)
