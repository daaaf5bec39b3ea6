"""One close of a date publishes at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from jobs.common.engines import Session, engine_of
from jobs.common.errors import FAILED, UserError
from jobs.common.settings import Settings


@contextmanager
def publishing_alone(session: Session, settings: Settings, day: date) -> Iterator[None]:
    """Within it no other process publishes a close of `day`. UserError where one does: nothing was written then.

    Two first closes replace nothing, so that no commit of either is in the other's way, and both bear one close_id. The
    lock is on the folder of the day's facts, and the system lets go of it when its holder dies. In a store there is
    none: the close's tables have one driver at a time there (docs/s3.md).
    """
    if not settings.is_local_lake:
        yield
        return
    folder = Path(engine_of(session).ensure_table(settings, "reconciliation_facts"), f"reco_date={day}")
    folder.mkdir(exist_ok=True)
    held = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"Another close of {day} is being written at this moment; nothing of this one was. Let one close of a "
                f"date run at a time: run `reco daily --date {day}` again after it.",
                FAILED,
            ) from None
        yield
    finally:
        os.close(held)
