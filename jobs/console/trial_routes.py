"""Trying policies on closed days: the form and its part of the page, and the API's operations."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from jobs.common.output import printable
from jobs.console import backtests, reading
from jobs.console.context import Acting, Context, Known, Ours, render, require_all, require_operator
from jobs.console.security import Caller, csrf_holds
from jobs.console.text import whole
from jobs.console.trials import MOST_DAYS, MOST_TEXT, Trial, TrialState, as_file

pages = APIRouter(include_in_schema=False)
api = APIRouter()
_NAME = 100


class Proposed(BaseModel):
    """Proposed policies, and on how many of the last closed days they are tried."""

    model_config = ConfigDict(extra="forbid")

    policies: str = Field(max_length=MOST_TEXT, description="a policies file, YAML")
    days: int = Field(default=7, ge=1, le=MOST_DAYS)
    name: str = Field(default="", max_length=_NAME, description="what the result calls the file")


class TrialTold(BaseModel):
    """The last backtest that was started here; NONE where there was none since this console started."""

    state: TrialState
    by: str | None = Field(description="who asked for it")
    name: str
    days: int
    started_at: datetime | None
    finished_at: datetime | None
    backtest_id: str | None = Field(description="where its result is: /api/v1/backtests/{backtest_id}")
    says: list[str] = Field(description="what the command said besides, or why it failed")


@api.get("/what-if")
def told(ours: Ours, caller: Known) -> TrialTold:
    """How the last backtest that was started here stands: RUNNING, DONE, FAILED, or NONE."""
    require_all(caller)
    return _told(ours.trials.last())


@api.post("/what-if", status_code=202)
def started(request: Request, ours: Ours, caller: Acting, asked: Proposed) -> TrialTold:
    """Try proposed policies on the last closed days, in the background; nothing is applied. 409 while a job runs."""
    return _told(_start(request, ours, caller, asked))


@pages.get("/what-if")
def what_if(request: Request, ours: Ours, caller: Known) -> HTMLResponse:
    """What proposed policies would have done: every saved backtest, and the form for another."""
    found, may = backtests.listed(ours.tables, caller.user), caller.user.sees_all and caller.user.may_act
    trial = ours.trials.last()
    text = trial.text if trial.by == caller.user.name else ""
    if may and not text:
        text = as_file(reading.in_force(ours.tables)[1])
    can_try = may and ours.background.can_run
    return render(
        request, "backtests.html", backtests=found, trial=trial, text=text, can_try=can_try, most_days=MOST_DAYS
    )


@pages.get("/what-if/started")
def part(request: Request, ours: Ours, caller: Known) -> Response:
    """How the last one stands, for htmx; nothing where it runs still."""
    require_all(caller)
    if "hx-request" not in request.headers:
        return RedirectResponse("/what-if", 303)
    trial = ours.trials.last()
    if trial.state is TrialState.RUNNING:
        return Response(status_code=204)
    return render(request, "trial.html", trial=trial)


@pages.post("/what-if")
def pressed(
    request: Request,
    ours: Ours,
    caller: Known,
    policies: Annotated[str, Form(max_length=MOST_TEXT)],
    csrf: Annotated[str, Form()] = "",
    days: Annotated[int, Form(ge=1, le=MOST_DAYS)] = 7,
    name: Annotated[str, Form(max_length=_NAME)] = "",
) -> RedirectResponse:
    """Start one and show how it goes."""
    if not csrf_holds(caller, csrf):
        raise HTTPException(403, "This form was too old; load the page again.")
    require_operator(caller)
    _start(request, ours, caller, Proposed(policies=policies, days=days, name=name))
    return RedirectResponse("/what-if#trial", 303)


def _start(request: Request, ours: Context, caller: Caller, asked: Proposed) -> Trial:
    require_all(caller)
    user, address = caller.user.name, ours.gate.address(request)
    name = printable(whole(" ".join(asked.name.split()))) or f"tried by {user}"

    def done(ended: Trial) -> None:
        more = {"state": ended.state.value, "backtest": ended.backtest_id}
        ours.audit.note("policies tried", user, address, file_hash=ended.file_hash, **more)

    begun = ours.trials.start(whole(asked.policies), name, asked.days, user, done)
    ours.audit.note("trial started", user, address, file_hash=begun.file_hash, days=begun.days)
    return begun


def _told(trial: Trial) -> TrialTold:
    return TrialTold.model_validate(trial, from_attributes=True)
