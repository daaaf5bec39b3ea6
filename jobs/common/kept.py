"""Frames that several plans read: computed once, held, and let go together."""

from types import TracebackType
from typing import Self

from pyspark import StorageLevel
from pyspark.sql import DataFrame


class Kept:
    """Holds frames in memory, on disk where they do not fit, until `release` or the end of its context."""

    def __init__(self) -> None:
        self._frames: list[DataFrame] = []

    def __call__(self, frame: DataFrame) -> DataFrame:
        """The same rows, held from the first action on."""
        held = frame.persist(StorageLevel.MEMORY_AND_DISK)
        self._frames.append(held)
        return held

    def release(self) -> None:
        """Let all of them go."""
        while self._frames:
            self._frames.pop().unpersist()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
