"""Replaying a close: its part of the page, and the API's operations."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import BaseModel, Field

from jobs.console import reading
from jobs.console.context import Acting, Context, Known, Ours, render, require_all, require_operator
from jobs.console.replays import Replayed, ReplayState
from jobs.console.security import Caller, csrf_holds

pages = APIRouter(include_in_schema=False)
api = APIRouter()


class ReplayTold(BaseModel):
    """The last replay of a close since this console started; NONE where there was none."""

    close_id: str
    state: ReplayState
    by: str | None = Field(description="who asked for it")
    started_at: datetime | None
    finished_at: datetime | None
    recorded_hash: str | None = Field(description="what the close recorded; null until the replay has ended well")
    replayed_hash: str | None = Field(description="what came out of the pinned inputs now")
    says: list[str] = Field(description="the sentences of `reco replay`")
    differences: dict[str, tuple[int, int]] = Field(description="counts that differ: recorded, replayed")


@api.get("/closes/{close_id}/replay")
def told(ours: Ours, caller: Known, close_id: str) -> ReplayTold:
    """How the last replay of that close stands: RUNNING, PROVED (the same hash), DIFFERS, FAILED, or NONE."""
    _require_close(ours, caller, close_id)
    return _told(ours.replays.last(close_id))


@api.post("/closes/{close_id}/replay", status_code=202)
def started(request: Request, ours: Ours, caller: Acting, close_id: str) -> ReplayTold:
    """Replay that close in the background; one that runs already goes on, 409 where it is of another close."""
    return _told(_start(request, ours, caller, close_id))


@pages.get("/closes/{close_id}/replay")
def part(request: Request, ours: Ours, caller: Known, close_id: str) -> Response:
    """That part of the close's page, for htmx; nothing where it runs still."""
    _require_close(ours, caller, close_id)
    if "hx-request" not in request.headers:
        return RedirectResponse(f"/closes/{close_id}#proof", 303)
    last = ours.replays.last(close_id)
    return Response(status_code=204) if last.state is ReplayState.RUNNING else shown(request, ours, last)


@pages.post("/closes/{close_id}/replay")
def pressed(
    request: Request, ours: Ours, caller: Known, close_id: str, csrf: Annotated[str, Form()] = ""
) -> RedirectResponse:
    """Start one and show the close."""
    if not csrf_holds(caller, csrf):
        raise HTTPException(403, "This form was too old; load the page again.")
    require_operator(caller)
    _start(request, ours, caller, close_id)
    return RedirectResponse(f"/closes/{close_id}#proof", 303)


def shown(request: Request, ours: Context, last: Replayed) -> HTMLResponse:
    """The part of the page alone."""
    return render(request, "replay.html", replayed=last, can_replay=ours.background.can_run, close_id=last.close_id)


def _start(request: Request, ours: Context, caller: Caller, close_id: str) -> Replayed:
    _require_close(ours, caller, close_id)
    user, address = caller.user.name, ours.gate.address(request)

    def done(ended: Replayed) -> None:
        ours.audit.note("replayed", user, address, close=close_id, state=ended.state.value, says=ended.says[:1])

    found, is_new = ours.replays.start(close_id, user, done)
    if is_new:
        ours.audit.note("replay started", user, address, close=close_id)
    return found


def _require_close(ours: Context, caller: Caller, close_id: str) -> None:
    require_all(caller)
    if not any(one["close_id"] == close_id for one in reading.closes(ours.tables, caller.user)):
        raise HTTPException(404, "There is no such close.")


def _told(last: Replayed) -> ReplayTold:
    return ReplayTold.model_validate(last, from_attributes=True)
