"""Before which day maintenance has removed a table's rows: a note in the table's log, which outlives its commits."""

from datetime import date, timedelta

from deltalake import CommitProperties, DeltaTable, Transaction

_ID = "reco-expired"
_EPOCH = date(1970, 1, 1)


def noting_expired(before: date) -> CommitProperties:
    """Properties of a commit that removes the rows which came in before a day."""
    return CommitProperties(app_transactions=[Transaction(_ID, (before - _EPOCH).days)])


def expired_before(table: DeltaTable) -> date | None:
    """The day before which rows that came in are removed; None where nothing is noted."""
    days = table.transaction_version(_ID)
    return None if days is None else _EPOCH + timedelta(days=days)
