"""Places inside JSON, written like `data.items`, `$.data.items`, `pages[0].next` or `["a.b"].c`; `$` is the whole."""

import re
from typing import Any

Path = tuple[str | int, ...]

_STEP = re.compile(r'\.?([^.\[\]"$\s][^.\[\]"]*)|\["([^"]+)"\]|\[(\d{1,6})\]')


class _Absent:
    def __bool__(self) -> bool:
        return False


#: What is found at a place that is not there; null is None.
ABSENT = _Absent()


def parse_path(text: Any) -> Path:
    """The steps of a place. Raises ValueError where the text is none."""
    if not isinstance(text, str) or not text:
        raise ValueError("must be a place in the JSON like data.items, or $ for the whole")
    rest = text.removeprefix("$")
    if text.startswith("$") and rest and rest[0] not in ".[":
        raise ValueError(f"must be a place in the JSON like data.items, not {text}")
    steps: list[str | int] = []
    at = 0
    while at < len(rest):
        found = _STEP.match(rest, at)
        if found is None:
            raise ValueError(f"must be a place in the JSON like data.items, not {text}")
        plain, quoted, index = found.groups()
        steps.append(int(index) if index is not None else plain or quoted)
        at = found.end()
    return tuple(steps)


def shown_path(path: Path) -> str:
    """The place as it is written."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".") or "$"


def look_up(value: Any, path: Path) -> Any:
    """What is at the place: ABSENT where a step leads nowhere."""
    for step in path:
        if isinstance(step, int):
            if not isinstance(value, list) or step >= len(value):
                return ABSENT
        elif not isinstance(value, dict) or step not in value:
            return ABSENT
        value = value[step]
    return value
