"""Whose functions the rules call: Spark's, or while another engine that speaks as Spark does is in use, that one's."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from pyspark.sql import Column, DataFrame, functions
from pyspark.sql import Window as SparkWindow

if TYPE_CHECKING:
    F, Window = functions, SparkWindow
else:

    class _InUse:
        """Stands for one part of the engine in use, looked up each time a name of it is."""

        def __init__(self, part: str) -> None:
            self._part = part

        def __getattr__(self, name: str) -> Any:
            return getattr(getattr(_IN_USE.get(), self._part), name)

    F, Window = _InUse("functions"), _InUse("Window")


class _Spark:
    """PySpark's names, and the shape of what Spark does best."""

    functions = functions
    Window = SparkWindow

    @staticmethod
    def aggregated(rows: DataFrame, by: Sequence[str], place: str, values: Mapping[str, Column]) -> DataFrame:
        """By windows: rows that lie in order for others already are neither sorted nor shuffled again."""
        whole = Window.partitionBy(*by)
        summed = [value.over(whole).alias(name) for name, value in values.items()]
        return rows.select(*by, place, *summed).where(F.col(place) == 1)


_IN_USE: ContextVar[Any] = ContextVar("engine", default=_Spark)


def aggregated(rows: DataFrame, by: Sequence[str], place: str, values: Mapping[str, Column]) -> DataFrame:
    """One row for each value of `by`, with these aggregates by name; `place` numbers its rows from 1."""
    found: DataFrame = _IN_USE.get().aggregated(rows, by, place, values)
    return found


@contextmanager
def in_use(engine: Any) -> Iterator[None]:
    """Let `F`, `Window` and `aggregated` be those of `engine` within, in this thread."""
    token = _IN_USE.set(engine)
    try:
        yield
    finally:
        _IN_USE.reset(token)
