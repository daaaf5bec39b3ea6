"""Reading a list whole, or what of it was changed since a time.

Pages by number shift when an item leaves or is put in while they are read, and an item can slip from a page that is
still to come onto one that was read. So such a list is read again until two readings in a row show the same pages;
only then does the time move on. A token, or the time itself, leads past what was read, whatever shifts.

The time moves to the greatest time of a change, but never past the beginning of the poll, and the next poll asks from
`overlap` before it: a row that was committed late by less, or bears a time of the future, is not passed over.
"""

from array import array
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from jobs.ingest.polling.config import read_time
from jobs.ingest.polling.config_parts import PagePaging, SincePaging
from jobs.ingest.polling.deliver import Delivered
from jobs.ingest.polling.failure import PollFailedError
from jobs.ingest.polling.job import Job, is_gone
from jobs.ingest.polling.paths import shown_path
from jobs.ingest.polling.split import Page
from jobs.ingest.polling.web import Answer, RefusedError

#: Readings of a list by number before it is left for the next poll.
READINGS = 6

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: No clock is put back by more.
_REPEATED = timedelta(hours=3)
_UNITS = {"iso": 0.001, "iso_seconds": 1.0, "epoch_seconds": 1.0, "epoch_millis": 0.001}
_Marks = list["array[int]"]


class _Newest:
    """The greatest time of a change that was read, seconds since 1970, at most the beginning of the poll."""

    def __init__(self, began: float) -> None:
        self._limit, self._items = began, 0
        self.seen: float | None = None

    def take(self, done: Delivered, answer: Answer) -> None:
        # The supplier's clock made the times, so where it shows its own, that counts too.
        self._limit = min(self._limit, answer.served_at or self._limit)
        self._items += len(done.marks)
        if done.times:
            self.seen = max(done.times) if self.seen is None else max(self.seen, *done.times)

    def bounded(self, paging: SincePaging) -> float | None:
        """None where nothing was read. Raises PollFailedError where something was, and says no time."""
        if self.seen is None:
            if self._items:
                raise PollFailedError(
                    f"None of its items says a time at {shown_path(paging.updated)} (paging.updated) that reads as "
                    f"paging.time: {paging.time}; a time without an offset is read only where paging.zone says whose.",
                    lasting=True,
                )
            return None
        return min(self.seen, self._limit)


def poll_list(job: Job, paging: PagePaging) -> bool:
    """Read the whole list."""
    began = job.clock()
    _read_list(job, paging, {}, _Newest(began))
    job.state.began = began
    job.save()
    return True


def poll_since(job: Job, paging: SincePaging) -> bool:
    """Read what was changed since the last poll, and in the overlap before; False where there is more."""
    began = job.clock()
    newest = _Newest(began)
    since = _first_since(job, paging)
    try:
        if paging.order == "ascending":
            is_end = _follow_time(job, paging, since, newest)
        else:
            params = {} if since is None else {paging.param: told(since, paging)}
            _read_list(job, paging, params, newest)
            _move(job, paging, newest)
            is_end = True
    except RefusedError as error:
        if since is None or not is_gone(error):
            raise
        raise job.gone(error) from None
    if is_end:
        job.state.began = began
        job.save()
    return is_end


def told(since: float, paging: SincePaging) -> str:
    """A time as the supplier wants it, rounded down to its unit."""
    unit = _UNITS[paging.time]
    whole = int(since // unit) if unit == 1.0 else int(round(since * 1e6) // 1_000)
    if paging.time.startswith("epoch"):
        return str(whole)
    at = _EPOCH + (timedelta(seconds=whole) if unit == 1.0 else timedelta(milliseconds=whole))
    if paging.zone is not None:
        at = _by_the_clock(at, ZoneInfo(paging.zone))
    return at.isoformat(timespec="seconds" if unit == 1.0 else "milliseconds").replace("+00:00", "Z")


def _by_the_clock(at: datetime, zone: ZoneInfo) -> datetime:
    """The earliest that a zone's clock shows at that time or later, without an offset: an hour may be repeated soon."""
    offsets = [(at + ahead).astimezone(zone).utcoffset() or timedelta(0) for ahead in (timedelta(0), _REPEATED)]
    return at.replace(tzinfo=None) + min(offsets)


def _first_since(job: Job, paging: SincePaging) -> float | None:
    if job.state.high is not None:
        return max(job.state.high - job.api.overlap, 0.0)
    start = read_time(paging.start) if paging.start is not None else None
    return start.timestamp() if start is not None else None


def _move(job: Job, paging: SincePaging, newest: _Newest) -> None:
    """What was read is confirmed, and nothing of it can have slipped by: the time may move on, never back."""
    reached = newest.bounded(paging)
    if reached is not None:
        job.state.high = max(reached, job.state.high or 0.0)


def _follow_time(job: Job, paging: SincePaging, since: float | None, newest: _Newest) -> bool:
    """From page to page by the time of the last item; a step back makes `later than` and `since` alike."""
    for _ in range(job.api.max_pages):
        page, answer = job.read({} if since is None else {paging.param: told(since, paging)})
        before = newest.seen
        done = job.deliver(page)
        newest.take(done, answer)
        more = job.is_more(page, answer)
        is_further = newest.seen is not None and (before is None or newest.seen > before)
        _move(job, paging, newest)
        job.save()
        if more is False or not len(page):
            return True
        if not is_further:
            if more or len(page) >= (paging.size or 0):
                raise PollFailedError(
                    f"As many items as fit into one answer ({len(page):,}) bear one time, which leads no further: "
                    "raise paging.size, or leave order: ascending out and page by page_param or token_param.",
                    lasting=True,
                )
            return True
        since = max((newest.seen or 0.0) - _UNITS[paging.time], 0.0)
    return False


def _read_list(job: Job, paging: PagePaging | SincePaging, params: Mapping[str, str], newest: _Newest) -> None:
    """Every page of the list, by number until nothing shifted, or by token, or the one that there is."""
    before: _Marks | None = None
    for _ in range(READINGS):
        marks = _read_once(job, paging, params, newest)
        if paging.page_param is None or sum(1 for page in marks if page) <= 1 or _same(before, marks):
            return
        before = marks
    raise PollFailedError(
        f"Its pages changed while they were read, {READINGS} times over, so items may have slipped from page to page; "
        "what was read is published, and all is read again. Ask for the oldest first, or page by a token."
    )


def _read_once(job: Job, paging: PagePaging | SincePaging, params: Mapping[str, str], newest: _Newest) -> _Marks:
    marks: _Marks = []
    place: dict[str, str] = {} if paging.page_param is None else {paging.page_param: str(paging.first_page)}
    passed = set[str]()
    for number in range(job.api.max_pages):
        page, answer = job.read({**params, **place})
        done = job.deliver(page)
        newest.take(done, answer)
        more = job.is_more(page, answer)
        if done.marks and done.marks in marks[-1:]:
            asked = "page_param" if paging.token_param is None else "token_param"
            raise PollFailedError(f"Two pages in a row are the same: does it know paging.{asked}?")
        marks.append(done.marks)
        if paging.page_param is not None:
            if more is False or (more is None and not len(page)):
                return marks
            place = {paging.page_param: str(paging.first_page + number + 1)}
        elif paging.token_param is not None:
            token = job.find_next(page, answer)
            if token is None:
                return marks
            if token in passed:
                raise PollFailedError("Its tokens go in a circle: one that was passed comes again.", lasting=True)
            passed.add(token)
            place = {paging.token_param: token}
        else:
            _check_whole(paging, page, more)
            return marks
    raise PollFailedError(
        f"It has more than {job.api.max_pages:,} pages (max_pages): raise max_pages, or paging.size.", lasting=True
    )


def _check_whole(paging: PagePaging | SincePaging, page: Page, more: bool | None) -> None:
    """Where there is only one answer it must hold all."""
    if more or (paging.size is not None and len(page) >= paging.size):
        raise PollFailedError(
            f"Its answer is full ({len(page):,} items) and the file does not say how to ask for more: give "
            "paging.page_param, or token_param and next, or raise paging.size.",
            lasting=True,
        )


def _same(before: _Marks | None, marks: _Marks) -> bool:
    """Whether a reading shows the pages of the one before, grown at its end at most."""
    if before is None:
        return False
    old, new = [page for page in before if page], [page for page in marks if page]
    last = len(old) - 1
    return len(new) >= len(old) and new[:last] == old[:last] and new[last][: len(old[last])] == old[last]
