"""What the service tells of itself, for `reco status`: one small file of JSON."""

import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from jobs.alerts.desk import Desk
from jobs.alerts.model import Incident
from jobs.alerts.results import Results
from jobs.alerts.routes import Routes
from jobs.alerts.state import State
from jobs.alerts.wording import title
from jobs.common import log
from jobs.common.alerting import status_file
from jobs.common.log import hide_secrets
from jobs.common.settings import Settings

_SHOWN = 50
_log = log.get_logger("alerts")


def tell(
    settings: Settings, state: State, desk: Desk, routes: Routes, results: Results, lake: str | None, now: float
) -> None:
    """Replace the file; a reader sees the old one or the new one."""
    lives = Counter("SETTLED" if one.settled_by else one.life.value for one in state.breaks.values())
    incidents = sorted(state.incidents.values(), key=lambda one: (-one.summary.amount, one.id))
    told = {
        "told_at": _iso(now),
        "is_caught_up": results.is_caught_up,
        "open": lives["OPEN"],
        "pending": lives["PENDING"],
        "held": lives["HELD"],
        "resolved_by_people": lives["SETTLED"],
        "unreadable": results.unreadable,
        "lake": lake,
        "incidents": len(incidents),
        "largest": [_incident(one) for one in incidents if one.flood is None][:_SHOWN],
        "sinks": [_sink(name, desk, routes) for name in routes.sinks],
    }
    file = status_file(settings)
    new = file.with_suffix(".new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(json.dumps(hide_secrets(told)), encoding="utf-8")
        new.replace(file)
    except OSError as error:  # a full disk stops no alert
        _log.warning("status not written", file=str(file), why=error.strerror)


def _incident(incident: Incident) -> dict[str, Any]:
    return {
        "incident": incident.id,
        "what": title(incident, incident.summary),
        "usd": f"{incident.summary.amount:.2f}",
        "since": _iso(incident.began),
        "acknowledged_by": incident.cared_for_by,
        "told": sorted(name for name, told in incident.told.items() if not told.is_resolved),
    }


def _sink(name: str, desk: Desk, routes: Routes) -> dict[str, Any]:
    trouble = desk.troubles.get(name) or desk.stuck(name)
    return {
        "sink": name,
        "sent": desk.sent[name],
        "failing_since": _iso(trouble.since) if trouble else None,
        "failures": trouble.failures if trouble else 0,
        "next_try_at": _iso(trouble.next_try) if trouble and trouble.next_try else None,
        "why": trouble.why if trouble else None,
        "fallback": routes.sinks[name].fallback if trouble and desk.is_down(name, "") else None,
    }


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
