"""Chains of selections whose Columns are made once, and used over each micro-batch's frame."""

from collections.abc import Callable
from typing import Any, cast

from pyspark.sql import DataFrame

_METHODS = ("select", "where", "withColumn", "withColumns", "withColumnRenamed", "drop")
_Step = tuple[str, tuple[Any, ...]]


class Steps:
    """What `make` does to a frame, a chain of selections, done again to others that have the same columns.

    Each part of a Column is a call to the JVM: four thousand for the parsing of a batch, a third of a second.
    """

    def __init__(self, make: Callable[[DataFrame], DataFrame]) -> None:
        self._make = make
        self._steps: tuple[_Step, ...] | None = None

    def __call__(self, frame: DataFrame) -> DataFrame:
        """The rows of `make`. AttributeError where `make` does anything but select, at the first call."""
        if self._steps is None:
            made = cast(_Recording, self._make(cast(DataFrame, _Recording(frame))))
            self._steps = made.steps
            return made.frame
        for name, arguments in self._steps:
            frame = getattr(frame, name)(*arguments)
        return frame


class _Recording:
    """Stands for a frame: does what it is asked, and keeps what that was."""

    def __init__(self, frame: DataFrame, steps: tuple[_Step, ...] = ()) -> None:
        self.frame, self.steps = frame, steps

    @property
    def columns(self) -> list[str]:
        return self.frame.columns

    def __getattr__(self, name: str) -> Callable[..., "_Recording"]:
        if name not in _METHODS:
            raise AttributeError(f"{name} is no selection: it cannot be one of Steps")
        return lambda *arguments: _Recording(getattr(self.frame, name)(*arguments), (*self.steps, (name, arguments)))
