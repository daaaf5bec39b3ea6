"""What the alerting service tells of itself, for `reco status`."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from jobs.common.errors import FAILED, UserError
from jobs.common.settings import Settings

_TIMES = ("failing_since", "next_try_at")


def status_file(settings: Settings) -> Path:
    """Where it tells."""
    return Path(settings.alerts.folder) / "status.json"


def read_alerts(settings: Settings) -> dict[str, Any] | None:
    """What the leading instance told last, times as datetimes; None where none ever led on this machine."""
    file = status_file(settings)
    try:
        told: dict[str, Any] = json.loads(file.read_bytes())
        told["told_at"] = datetime.fromisoformat(told["told_at"])
        for sink in told["sinks"]:
            sink |= {name: datetime.fromisoformat(sink[name]) for name in _TIMES if sink[name]}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"What the alerting service told in {file} cannot be read ({type(error).__name__}): delete it; it is "
            "written anew within seconds.",
            FAILED,
        ) from error
    return told
