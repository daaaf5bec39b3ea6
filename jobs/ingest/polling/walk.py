"""One poll of one supplier by its way of paging; its place moves only past what the broker has confirmed."""

from jobs.ingest.polling.config_parts import CursorPaging, SincePaging
from jobs.ingest.polling.job import Job
from jobs.ingest.polling.walk_cursor import poll_feed
from jobs.ingest.polling.walk_pages import poll_list, poll_since


def poll(job: Job) -> bool:
    """Read what is new and deliver it; False where max_pages ended it and there is more.

    Raises PollFailedError where it came to nothing, or not to its end; StoppedError where it was asked to stop.
    """
    paging = job.api.paging
    if isinstance(paging, CursorPaging):
        return poll_feed(job, paging)
    return poll_since(job, paging) if isinstance(paging, SincePaging) else poll_list(job, paging)
