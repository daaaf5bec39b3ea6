"""Up to which version of silver `reco daily --stale` has looked and closed what it found: a note in gold/closes' log.

What came before that version needs no second look, so neither the log nor the files of those commits are needed for it.
"""

from deltalake import CommitProperties, Transaction
from deltalake.exceptions import DeltaError

from jobs.common.errors import FAILED, UserError
from jobs.common.lake import open_table
from jobs.common.settings import Settings

_ID = "reco-daily-stale"


def looked_to(settings: Settings) -> int | None:
    """The silver version that is noted; None where `--stale` never came to its end."""
    table = open_table(settings, "closes")
    return None if table is None else table.transaction_version(_ID)


def note_looked(settings: Settings, silver_version: int) -> None:
    """Note that every date that commits up to this version made stale has been closed again."""
    table = open_table(settings, "closes")
    before = None if table is None else table.transaction_version(_ID)
    if table is None or (before is not None and before >= silver_version):
        return
    note = CommitProperties(app_transactions=[Transaction(_ID, silver_version)])
    try:
        table.create_write_transaction([], "append", table.schema(), commit_properties=note)
    except (DeltaError, OSError) as error:
        raise UserError(f"The table gold/closes cannot be written: {error}", FAILED) from error
