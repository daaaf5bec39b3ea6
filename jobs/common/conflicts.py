"""Writes that go on although maintenance has just put files together that they had read."""

import re
from collections.abc import Callable

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException

from jobs.common.log import get_logger

log = get_logger(__name__)

#: Maintenance commits a few times a table and run; a write that meets more of them than that has another reason.
TRIES = 5
_CONFLICT = re.compile(r"DELTA_CONCURRENT_|Concurrent(Append|Delete(Read|Delete)|Write)Exception")


def is_conflict(error: Exception) -> bool:
    """Whether a write failed since another commit was in between."""
    return _CONFLICT.search(str(error)) is not None


def despite_maintenance(table: str, write: Callable[[], object]) -> None:
    """Run a write that reads what it replaces (MERGE, `replaceWhere`), anew where another commit was in between.

    Delta refuses such a commit as a whole, so that nothing of it is there. A table has one application that writes
    rows; what comes in between is `reco maintain`, which changes none. Any other error is raised, and a conflict too
    when it comes for the fifth time.
    """
    for left in reversed(range(TRIES)):
        try:
            write()
        except (PySparkException, Py4JJavaError) as error:
            if not left or not is_conflict(error):
                raise
            log.info("written again", table=table, because="another commit was in between")
        else:
            return
