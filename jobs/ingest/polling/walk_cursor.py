"""Reading a feed with a cursor, and again what lies so close to its end that it may not have been all there.

A row that got its place in the feed before it was committed appears where a cursor has passed already. So a poll
begins at the cursor that was reached `overlap` before the last poll began: a row that came late by less was there for
the last poll, or lies after that cursor. Hence the very first reading of a feed is done twice; `overlap: 0s` says that
its order is that of commits, and spares all this.
"""

import math
from array import array
from dataclasses import replace

from jobs.ingest.polling.config_parts import CursorPaging
from jobs.ingest.polling.deliver import Delivered
from jobs.ingest.polling.failure import PollFailedError
from jobs.ingest.polling.job import Job, is_gone
from jobs.ingest.polling.split import Page
from jobs.ingest.polling.state import State
from jobs.ingest.polling.web import Answer, RefusedError

#: Cursors are remembered so many to an overlap, and so many seconds apart; fewer only make for some more repeats.
_TIPS = 10
_APART = 10.0
#: So many pages in a row that are the same as the one before are no feed.
_REPEATS = 20


def poll_feed(job: Job, paging: CursorPaging) -> bool:
    """Read from the cursor on to the feed's end; False where there is more.

    A walk that was broken off is brought to its end; what was committed late behind it is for the next one.
    """
    state = job.state
    is_first = state.began is None
    if state.cursor is None or state.walk_began is None:
        state.cursor, state.walk_began = _begin(state, job.api.overlap, paging), job.clock()
    passed, repeats = {state.cursor}, _Repeats(state)
    for _ in range(job.api.max_pages):
        page, answer = _read(job, paging, state.cursor)
        position, is_end = _next(job, page, answer)
        reached = job.clock()
        repeats.check(job, job.deliver(page), stays=position == state.cursor)
        if is_first:
            # On a later walk these would be places passed long ago; its end alone is new.
            _remember(state, job.api.overlap, position, reached)
        if is_end:
            _finish(state, job.api.overlap, position, reached)
            job.save()
            return True
        if position in passed:
            raise PollFailedError("Its cursors go in a circle: one that was passed comes again.", lasting=True)
        passed.add(position)
        state.cursor = position
        job.save()
    return False


class _Repeats:
    """Finds out a supplier that gives the same page whatever cursor it is asked by."""

    def __init__(self, state: State) -> None:
        self._beginning = replace(state, tips=list(state.tips))
        self._before: array[int] | None = None
        self._number = 0

    def check(self, job: Job, done: Delivered, *, stays: bool) -> None:
        """Raises PollFailedError where pages repeat; then the next poll begins where this one did, and finds it too.

        `stays`: whether the answer names the cursor that it was asked by. One row alone may come again at the end of a
        feed whose cursor is its last row.
        """
        self._number = self._number + 1 if done.marks and done.marks == self._before else 0
        self._before = done.marks
        if self._number >= _REPEATS or (self._number and stays and len(done.marks) > 1):
            job.store.save(self._beginning)
            raise PollFailedError(
                f"{self._number + 1} pages in a row are the same: does it know paging.param?", lasting=True
            )


def _read(job: Job, paging: CursorPaging, cursor: str | None) -> tuple[Page, Answer]:
    try:
        return job.read({} if cursor is None else {paging.param: cursor})
    except RefusedError as error:
        if cursor is None or not is_gone(error):
            raise
        raise job.gone(error) from None


def _next(job: Job, page: Page, answer: Answer) -> tuple[str | None, bool]:
    """The cursor after this page, and whether this is the feed's end for now."""
    cursor = job.find_next(page, answer)
    more = job.is_more(page, answer)
    is_known = cursor is not None and cursor != job.state.cursor
    if more and not is_known:
        raise PollFailedError("Its answer says that there is more, and not where.", lasting=True)
    return (cursor if is_known else job.state.cursor), not is_known or not (len(page) if more is None else more)


def _begin(state: State, overlap: int, paging: CursorPaging) -> str | None:
    # Before any walk there is at most the place that was set by hand.
    limit = math.inf if state.began is None or not overlap else state.began - overlap
    old = [cursor for at, cursor in state.tips if at <= limit]
    return old[-1] if old else paging.start


def _remember(state: State, overlap: int, cursor: str | None, at: float) -> None:
    if not overlap:
        state.tips = state.tips if cursor is None else [(at, cursor)]
        return
    last = state.tips[-1][0] if state.tips else 0.0
    if cursor is not None and not 0 <= at - last < max(overlap / _TIPS, _APART):
        state.tips.append((at, cursor))
    # The newest of those at which the next walk can begin stays; all before it are needed no more.
    limit = (state.walk_began or at) - overlap
    old = [tip for tip in state.tips if tip[0] <= limit]
    state.tips = old[-1:] + [tip for tip in state.tips if tip[0] > limit]


def _finish(state: State, overlap: int, cursor: str | None, at: float) -> None:
    _remember(state, overlap, cursor, at)
    state.began, state.cursor, state.walk_began = state.walk_began, None, None
