"""What a poller tells of each supplier, for `reco status`: one small file of JSON a supplier."""

import fcntl
import json
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jobs.common.errors import FAILED, UserError
from jobs.common.settings import Settings

STATUS = ".status"
_LONGEST = 100
_TIMES = ("told_at", "last_success_at", "next_at")


def file_of(folder: Path, supplier: str, suffix: str) -> Path:
    """A file of a supplier, whose id may hold any letter."""
    name = quote(supplier, safe=" ").replace(".", "%2E")
    if len(name) > _LONGEST:
        name = f"{name[:_LONGEST]}~{sha256(supplier.encode()).hexdigest()[:16]}"
    return folder / f"{name}{suffix}"


def read_polled(settings: Settings) -> list[dict[str, Any]]:
    """What each supplier's poller told last, times as datetimes; `running` says whether one runs now."""
    folder = Path(settings.poll.state)
    found = []
    for file in sorted(folder.glob(f"*{STATUS}")):
        try:
            told = json.loads(file.read_bytes())
            told |= {name: datetime.fromisoformat(told[name]) for name in _TIMES if told.get(name)}
            found.append({**told, "running": _is_held(file_of(folder, told["supplier"], ".lock"))})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UserError(
                f"What the poller told in {file} cannot be read ({type(error).__name__}): delete it; it is written "
                "anew with the next poll.",
                FAILED,
            ) from error
    return found


def _is_held(lock: Path) -> bool:
    try:
        with lock.open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
