"""Frames that several plans read: computed once, held, and let go together."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

from pyspark.sql import DataFrame

from jobs.common.engines import Release, engine_of


class Kept:
    """Holds frames in memory, on disk where they do not fit, until `release` or the end of its context."""

    def __init__(self) -> None:
        self._releases: list[Callable[[], object]] = []

    def __call__(self, frame: DataFrame) -> DataFrame:
        """The same rows, held from the first action on."""
        return self._hold(engine_of(frame.sparkSession).kept(frame))

    def rows(self, frame: DataFrame) -> DataFrame:
        """The same for many wide rows that are read whole: turning them into columns and back takes twice as long.

        Only on one machine. Rows held so are computed once and for all, and a cluster may lose an executor with them.
        """
        return self._hold(engine_of(frame.sparkSession).kept_rows(frame))

    def fixed(self, frame: DataFrame) -> DataFrame:
        """The same for rows that are read again after a table was written that they come from.

        Spark forgets what it cached of a Delta table as soon as that is written, and computes it by what is there then:
        verdicts that were new would no longer be.
        """
        return self._hold(engine_of(frame.sparkSession).fixed(frame))

    def settled(self, frame: DataFrame) -> DataFrame:
        """The same for rows that follow from held ones one by one: held where that costs less than to compute them."""
        return self._hold(engine_of(frame.sparkSession).settled(frame))

    def _hold(self, held: tuple[DataFrame, Release]) -> DataFrame:
        frame, release = held
        self._releases.append(release)
        return frame

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
