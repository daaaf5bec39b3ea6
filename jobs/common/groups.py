"""Several match applications, each over suppliers of its own: whose a supplier is, and where each one works.

With `stream.match_groups` 1 there is one, which works on the tables themselves, and nothing here changes anything.
"""

from hashlib import sha256

from jobs.common.settings import GROUPED, Settings

#: What one application writes from all groups' tables.
GATHERED = (*GROUPED, "hourly_summary")
#: So many hexadecimal digits of the hash of a supplier's name choose its group.
DIGITS = 8


def grouping(settings: Settings) -> str:
    """How suppliers are dealt out, as folders name it: `4`, or `4-1c9fe2a7` where some are placed by hand."""
    placed = sorted(settings.stream.match_suppliers.items())
    told = f"-{sha256(repr(placed).encode()).hexdigest()[:8]}" if placed else ""
    return f"{settings.stream.match_groups}{told}"


def group_of(settings: Settings, supplier: str) -> int:
    """The group that matches a supplier: where it is placed by hand, else by the SHA-256 of its name in UTF-8."""
    hashed = int(sha256(supplier.encode()).hexdigest()[:DIGITS], 16) % settings.stream.match_groups
    return settings.stream.match_suppliers.get(supplier, hashed)


def of_group(settings: Settings, group: int) -> Settings:
    """The settings of one match application: its own checkpoint, and its own tables of verdicts and exceptions.

    They lie in `groups/<grouping>/<group>` under the lake and under the root of the checkpoints. The hourly summary is
    left to who gathers.
    """
    part = f"groups/{grouping(settings)}/{group}"
    root = f"{settings.stream.checkpoint_root}/{part}"
    update = {"match_group": group, "checkpoint_root": root, "summary_minutes": 0}
    mine = settings.model_copy(update={"stream": settings.stream.model_copy(update=update)})
    mine._part = part
    return mine


def parts_of(settings: Settings) -> list[Settings]:
    """The settings of each match application; none where there is one that works on the tables themselves."""
    count = settings.stream.match_groups
    return [of_group(settings, group) for group in range(count)] if count > 1 else []
