"""Which queries an application of the stream runs, and the tables that each writes."""

from enum import StrEnum

from jobs.common.errors import UserError
from jobs.common.groups import GATHERED
from jobs.common.settings import Settings


class Only(StrEnum):
    """One query of the job."""

    NORMALISE = "normalise"
    MATCH = "match"
    GATHER = "gather"


#: The tables that each query writes.
WRITES = {
    Only.NORMALISE: ("activity_raw", "activity", "quarantine"),
    Only.MATCH: GATHERED,
    Only.GATHER: GATHERED,
}


def queries_of(settings: Settings, only: Only | None) -> list[Only]:
    """The queries that this application runs: one group's match alone; else what is left of the job, or all of it.

    UserError where `only` is none of them.
    """
    stream = settings.stream
    if stream.match_groups == 1:
        mine = [Only.NORMALISE, Only.MATCH]
    else:
        mine = [Only.NORMALISE, Only.GATHER] if stream.match_group is None else [Only.MATCH]
    if only and only not in mine:
        names = " and ".join(mine)
        raise UserError(
            f"--only {only}: with stream.match_groups {stream.match_groups} and stream.match_group "
            f"{'null' if stream.match_group is None else stream.match_group} this application runs {names}."
        )
    return [only] if only else mine
