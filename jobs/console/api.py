"""The JSON API: everything that the pages do; with a token, or a session and its CSRF token."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Request
from fastapi import Query as Parameters
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from jobs.common.output import plain_decimal
from jobs.console import actions, backtests, over_time, quarantine, reading, redrive, replay_routes, trial_routes, views
from jobs.console.configured import configured
from jobs.console.context import Acting, Known, Ours, colleagues, require_admin, require_all
from jobs.console.detail import detail
from jobs.console.files import FILES, exported
from jobs.console.scorecard import scorecard
from jobs.console.search import Query


class Refusal(BaseModel):
    """Why there is no answer."""

    detail: str


_REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"model": Refusal, "description": "Nobody is known by this token or session"},
    403: {"model": Refusal, "description": "Not with this role, these suppliers, or without the CSRF token"},
    404: {"model": Refusal, "description": "There is none, or not for this user"},
    409: {"model": Refusal, "description": "The action is not possible; nothing was done"},
    413: {"model": Refusal, "description": "The body is over 1 MiB, or does not say how long it is"},
    422: {"model": Refusal, "description": "The request is not understood"},
    503: {"model": Refusal, "description": "The lake or the users cannot be read just now"},
}
router = APIRouter(prefix="/api/v1", tags=["v1"], responses=_REFUSALS)
router.include_router(replay_routes.api)
router.include_router(trial_routes.api)
#: A search by link: every field is a parameter.
Search = Annotated[Query, Parameters()]


class Json(JSONResponse):
    """JSON with decimals as text, times as ISO 8601 in UTC, and raw bytes left out."""

    def render(self, content: Any) -> bytes:
        """The bytes."""
        return super().render(_plain(content))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items() if not isinstance(item, bytes)}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Decimal):
        return plain_decimal(value)
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else value


class Asked(BaseModel):
    """An action on the exceptions named, or on all that `search` finds. The same request_id does it once."""

    model_config = ConfigDict(extra="forbid")

    action: actions.Action
    request_id: str = Field(description="8 to 64 letters, digits, - or _; a new one for each action")
    ids: list[str] = Field(default=[], max_length=10_000)
    search: Query | None = None
    seen: str | None = Field(
        default=None,
        pattern=r"^\d{1,9}-[0-9a-f]{16}$",
        description="`seen` of the same search by GET; where it finds others by now, nothing is done and 409 says so",
    )
    saw: dict[str, str] = Field(
        default={},
        max_length=10_000,
        description="`seen` of these exceptions by id, as they were looked at; where one was found again or changed "
        "its amount since, RESOLVE does nothing and 409 says so",
    )
    assignee: str | None = None
    reason: str | None = Field(default=None, description=f"for RESOLVE: {', '.join(actions.REASONS)}")
    comment: str | None = None


@router.get("/openapi.json", include_in_schema=False)
def openapi(request: Request, caller: Known) -> Response:
    """This API, described."""
    app = request.app
    return JSONResponse(get_openapi(title=app.title, version=app.version, routes=app.routes))


@router.get("/me")
def me(caller: Known) -> Response:
    """Who asks, what they may do, and the CSRF token that a session needs."""
    user = caller.user
    told = {"name": user.name, "role": user.role.value, "suppliers": user.suppliers, "csrf": caller.csrf}
    return Json(told)


@router.get("/colleagues")
def assignable(ours: Ours, caller: Known, supplier: Annotated[list[str] | None, Parameters()] = None) -> Response:
    """Whom exceptions of these suppliers may be assigned to; without any named, of the caller's own."""
    if not all(caller.user.sees(one) for one in supplier or ()):
        raise HTTPException(404, "There is no such supplier, or not for you.")
    return Json(colleagues(ours, set(supplier or caller.user.suppliers or ())))


@router.get("/overview")
def overview(ours: Ours, caller: Known, by: over_time.Part = "severity") -> Response:
    """Money at risk of what is unresolved, and by closed day in parts; feeds, stream, drift."""
    user = caller.user
    told = reading.overview(ours.tables, user, by)
    more = {"feeds": reading.feeds(ours.tables, user), "drift": reading.drift(ours.tables, user)}
    return Json({**told, **more, "stream": reading.stream(ours.tables) if user.sees_all else None})


@router.get("/exceptions")
def exceptions(ours: Ours, caller: Known, query: Search) -> Response:
    """One page of a search, with the sums of all that it finds."""
    return Json(views.searched(ours, caller, query))


@router.get("/exceptions.{kind}", response_class=Response, responses={200: {"content": FILES}})
def export(request: Request, ours: Ours, caller: Known, kind: Literal["csv", "xlsx"], query: Search) -> Response:
    """Everything that a search finds, as a file."""
    return exported(request, ours, caller, kind, query)


@router.post("/exceptions/actions")
def act(request: Request, ours: Ours, caller: Acting, asked: Asked) -> Response:
    """Acknowledge, assign, comment, resolve or reopen; `written` is 0 for a request that was done before."""
    rows = views.chosen(ours, caller, asked.ids, asked.search, asked.seen)
    if asked.action is actions.Action.RESOLVE:
        views.refuse_unseen(rows, asked.saw)
    what = actions.Request(asked.action, asked.request_id, asked.assignee, asked.reason, asked.comment)
    return Json({"exceptions": rows.height, "written": views.act(ours, caller, rows, what, ours.gate.address(request))})


@router.get("/exceptions/{exception_id}")
def one_exception(ours: Ours, caller: Known, exception_id: str) -> Response:
    """Everything about one exception."""
    return _found(detail(ours.tables, caller.user, exception_id), "exception")


@router.get("/closes")
def closes(ours: Ours, caller: Known) -> Response:
    """Every close, the newest first."""
    return Json(reading.closes(ours.tables, caller.user))


@router.get("/closes/{close_id}")
def one_close(ours: Ours, caller: Known, close_id: str) -> Response:
    """One close: control totals, changes, drift."""
    return _found(reading.close(ours.tables, caller.user, close_id), "close")


@router.get("/quarantine")
def quarantined(
    ours: Ours,
    caller: Known,
    reason: str = "",
    supplier: str = "",
    page: Annotated[int, Parameters(ge=1, le=1_000_000)] = 1,
) -> Response:
    """Counts by reason and supplier, and one page of records."""
    total, records = quarantine.records(ours.tables, caller.user, reason, supplier, page)
    counts = quarantine.counts(quarantine.known(ours.tables, caller.user))
    return Json({"counts": counts, "total": total, "page": page, "records": records})


class Again(BaseModel):
    """Quarantined records of a reason, of a supplier, at places like `supplier.raw.activity/0@17`."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(default="", max_length=300)
    supplier: str = Field(default="", max_length=200, description="`-` for records that name none")
    places: list[str] = Field(default=[], max_length=redrive.MOST)


@router.post("/quarantine/redrive")
def redriven(request: Request, ours: Ours, caller: Acting, asked: Again) -> Response:
    """Send records to their raw topics again, as they came; `sent` says how many. Twice is a redelivery."""
    address = ours.gate.address(request)
    return Json({"sent": views.redriven(ours, caller, asked.reason, asked.supplier, asked.places, address)})


@router.get("/suppliers")
def suppliers(ours: Ours, caller: Known) -> Response:
    """Every supplier's scorecard."""
    return Json(reading.suppliers(ours.tables, caller.user))


@router.get("/suppliers/{supplier:path}")
def one_supplier(ours: Ours, caller: Known, supplier: str) -> Response:
    """One supplier: scorecard, unresolved by kind, closed days, feeds, policy and its history."""
    return _found(scorecard(ours.tables, caller.user, supplier), "supplier")


@router.get("/backtests")
def listed_backtests(ours: Ours, caller: Known, supplier: str | None = None) -> Response:
    """What proposed policies would have done, in all or for one supplier: every saved backtest, the newest first."""
    return Json(backtests.listed(ours.tables, caller.user, supplier))


@router.get("/backtests/{backtest_id}")
def one_backtest(ours: Ours, caller: Known, backtest_id: str) -> Response:
    """One backtest: by kind, by supplier, examples, what its file changes."""
    return _found(backtests.one(ours.tables, caller.user, backtest_id), "backtest")


@router.get("/system")
def system(ours: Ours, caller: Known) -> Response:
    """What is configured, topics, queries and tables."""
    require_all(caller)
    told = {
        "topics": ours.settings.topics.model_dump(),
        **configured(ours.tables),
        "queries": reading.stream(ours.tables),
    }
    return Json({**told, "tables": reading.system(ours.tables)})


@router.get("/audit")
def audit(ours: Ours, caller: Known) -> Response:
    """Who did what, the newest first; for admins."""
    require_admin(caller)
    return Json(ours.audit.newest())


def _found(told: dict[str, Any] | None, what: str) -> Response:
    if told is None:
        raise HTTPException(404, f"There is no such {what}, or not for you.")
    return Json(told)
