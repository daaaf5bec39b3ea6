"""What a deployment would change, told before it is done."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.common.output import print_json, say


@dataclass(frozen=True)
class Change:
    """One thing that differs from what is there; `apply` makes it so and returns the id of what it made, if any."""

    verb: str  # upload, create, update, cancel, start
    what: str
    apply: Callable[[], str | None]


def show(changes: Sequence[Change], kept: Sequence[str], *, done: Sequence[str] | None, as_json: bool) -> None:
    """Print the plan, or with `done` (an id or nothing for each change) what was made."""
    if as_json:
        told: list[dict[str, Any]] = [{"verb": change.verb, "what": change.what} for change in changes]
        for line, made in zip(told, done or (), strict=False):
            line["id"] = made or None
        print_json({"applied": done is not None, "changes": told, "unchanged": list(kept)})
        return
    if not changes:
        say(f"Nothing to do: {', '.join(kept)} as they should be." if kept else "Nothing to do.")
        return
    for number, change in enumerate(changes):
        made = f" ({done[number]})" if done and done[number] else ""
        say(f"{change.verb:<7} {change.what}{made}")
    if done is None:
        say("Nothing was changed yet; the same command without --plan does it.")


def apply(changes: Sequence[Change]) -> list[str]:
    """Make every change, in order; returns what each made."""
    return [change.apply() or "" for change in changes]
