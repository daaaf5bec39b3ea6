"""What was worked out lately and may be asked for again: the same search by another page, the same overview."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, TypeVar

Found = TypeVar("Found")


class Recent:
    """Keeps so many answers, those asked for last; thread-safe. What an answer rests on is part of its key."""

    def __init__(self, kept: int) -> None:
        self._kept, self._lock = kept, Lock()
        self._answers: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Found]) -> Found:
        """The answer, made where it is not kept; two who ask at once may both make it, and nobody waits for it."""
        with self._lock:
            if key in self._answers:
                self._answers.move_to_end(key)
                kept: Found = self._answers[key]
                return kept
        made = make()
        with self._lock:
            self._answers[key] = made
            self._answers.move_to_end(key)
            while len(self._answers) > self._kept:
                self._answers.popitem(last=False)
        return made
