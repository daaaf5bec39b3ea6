"""The audit trail: who signed in, acted, exported, or was refused; one JSON line each, append-only."""

import json
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

from jobs.common import log
from jobs.common.places import writing

#: Bytes at the end of the file that are looked at, however long it has grown.
_TAIL = 1 << 18


class Audit:
    """Appends lines to a file, and to the log."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, Lock()
        self._log = log.get_logger(__name__)
        with writing("console.audit_file", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.open("a").close()

    def note(self, what: str, user: str | None, address: str, **more: Any) -> None:
        """One thing that somebody did, with the address it came from."""
        line = {"at": datetime.now(UTC).isoformat(), "what": what, "user": user, "address": address, **more}
        text = json.dumps(line, default=str, ensure_ascii=True) + "\n"
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            file.write(text)
        self._log.info("audit", what=what, user=user, address=address)

    def newest(self, count: int = 200) -> list[dict[str, Any]]:
        """The newest lines, newest first."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(max(0, self._path.stat().st_size - _TAIL))
            lines = deque(file, maxlen=count)
        return [told for line in reversed(lines) if (told := _told(line))]


def _told(line: bytes) -> dict[str, Any] | None:
    """None for a line cut by a crash, or by where we began to read."""
    try:
        told = json.loads(line)
    except ValueError:
        return None
    return told if isinstance(told, dict) else None
