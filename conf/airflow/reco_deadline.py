"""What happens when a run of reco_daily has not told its digest in time; called by Airflow's triggerer."""

import asyncio
import json
import logging
import os
import urllib.request
from typing import Any

log = logging.getLogger(__name__)


async def missed(hours: float, **context: Any) -> str:
    """Say so in the log, and to the URL of RECO_AIRFLOW_WEBHOOK where one is set; returns what was said."""
    run = (context.get("context") or {}).get("dag_run") or {}
    which = run.get("run_id", "a run") if isinstance(run, dict) else str(run)
    said = f"reco_daily: {which} has not finished {hours:g} h after it was queued."
    log.error(said)
    if url := os.environ.get("RECO_AIRFLOW_WEBHOOK"):
        await asyncio.to_thread(_post, url, said)
    return said


def _post(url: str, text: str) -> None:
    body = json.dumps({"text": text}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 an operator's own
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        answer.read()
