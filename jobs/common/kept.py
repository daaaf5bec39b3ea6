"""Frames that several plans read: computed once, held, and let go together."""

import re
from collections.abc import Callable
from types import TracebackType
from typing import Self

from pyspark import StorageLevel
from pyspark.sql import DataFrame


class Kept:
    """Holds frames in memory, on disk where they do not fit, until `release` or the end of its context."""

    def __init__(self) -> None:
        self._releases: list[Callable[[], object]] = []

    def __call__(self, frame: DataFrame) -> DataFrame:
        """The same rows, held from the first action on."""
        held = frame.persist(StorageLevel.MEMORY_AND_DISK)
        self._releases.append(held.unpersist)
        return held

    def rows(self, frame: DataFrame) -> DataFrame:
        """The same for many wide rows that are read whole: turning them into columns and back takes twice as long.

        Only on one machine. Rows held so are computed once and for all, and a cluster may lose an executor with them.
        """
        if not re.match(r"local(\[|$)", frame.sparkSession.sparkContext.master or ""):
            return self(frame)
        held = frame.localCheckpoint(eager=False)
        self._releases.append(lambda: held._jdf.queryExecution().logical().rdd().unpersist(False))
        return held

    def release(self) -> None:
        """Let all of them go."""
        while self._releases:
            self._releases.pop()()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
