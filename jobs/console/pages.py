"""The pages: made on the server, whole without JavaScript."""

import secrets
from typing import Annotated
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from jobs.console import actions, backtests, over_time, quarantine, reading, redrive, views
from jobs.console.configured import configured
from jobs.console.context import Known, Ours, colleagues, render, require_admin, require_all, require_operator
from jobs.console.detail import detail
from jobs.console.exceptions import AGES, SEVERITIES, cube
from jobs.console.scorecard import scorecard
from jobs.console.search import BULK, SORTS, Query
from jobs.console.security import csrf_holds
from jobs.console.sign_in import safe_target
from reco_rules.vocabulary import FEED_SILENT, AnomalyType

router = APIRouter(include_in_schema=False)
TYPES = (*(kind.value for kind in AnomalyType), FEED_SILENT)

#: Searches that many want; a link is all that a saved view is.
VIEWS = (
    ("All unresolved", Query()),
    ("Critical", Query(severity=["CRITICAL"])),
    ("Missing at a supplier", Query(type=["MISSING_SUPPLIER"])),
    ("Nobody looks at it", Query(acknowledged="no", assignee="-", severity=["CRITICAL", "HIGH"])),
    ("Oldest first", Query(sort="since", order="asc")),
    ("Silent feeds", Query(type=[FEED_SILENT])),
    ("Resolved", Query(state=["RESOLVED"], sort="changed_at")),
)


@router.get("/")
def overview(request: Request, ours: Ours, caller: Known, by: over_time.Part = "severity") -> HTMLResponse:
    """Money at risk, feeds, stream, closes, drift."""
    user = caller.user
    told = reading.overview(ours.tables, user, by)
    page = render(
        request,
        "overview.html",
        told={**told, "over_time": told["over_time"][-DAYS:]},
        days=len(told["over_time"]),
        by=by,
        parts=over_time.PARTS,
        feeds=reading.feeds(ours.tables, user),
        queries=reading.stream(ours.tables) if user.sees_all else None,
        closes=reading.closes(ours.tables, user)[:5],
        drift=reading.drift(ours.tables, user),
        Query=Query,
    )
    # The chart sets styles on its own elements, which is no way in for scripts.
    page.headers["Content-Security-Policy"] = CHART_POLICY
    return page


#: Closes on a page, and the newest closed days on the overview's chart and table.
CLOSES, DAYS = 50, 90
CHART_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)


@router.get("/exceptions")
def exceptions(request: Request, ours: Ours, caller: Known) -> HTMLResponse:
    """The list; only its results for htmx."""
    query = views.query_of_request(request)
    rows = cube(ours.tables)
    suppliers = sorted(name for name in rows["supplier_id"].unique() if caller.user.sees(name))
    named = [*VIEWS, ("Mine", Query(assignee=caller.user.name))]
    return render(
        request,
        "results.html" if request.headers.get("hx-target") == "results" else "exceptions.html",
        found=views.searched(ours, caller, query),
        query=query,
        views=named,
        suppliers=suppliers,
        types=TYPES,
        severities=SEVERITIES,
        ages=AGES,
        sorts=SORTS,
        reasons=actions.REASONS,
        colleagues=colleagues(ours, set(caller.user.suppliers or ())),
        request_id=secrets.token_urlsafe(12),
        done=request.query_params.get("done", "")[:20],
        bulk=BULK,
    )


@router.get("/exceptions/{exception_id}")
def one_exception(request: Request, ours: Ours, caller: Known, exception_id: str) -> HTMLResponse:
    """Everything about one."""
    told = detail(ours.tables, caller.user, exception_id)
    if told is None:
        raise HTTPException(404, "There is no such exception, or not for you.")
    return render(
        request,
        "exception.html",
        it=told,
        reasons=actions.REASONS,
        colleagues=colleagues(ours, {told["supplier_id"]}),
        request_id=secrets.token_urlsafe(12),
        done=request.query_params.get("done", "")[:20],
        Query=Query,
    )


@router.post("/exceptions/act")
def act(
    request: Request,
    ours: Ours,
    caller: Known,
    action: Annotated[actions.Action, Form()],
    request_id: Annotated[str, Form()],
    csrf: Annotated[str, Form()] = "",
    id: Annotated[list[str] | None, Form(max_length=1000)] = None,  # noqa: A002
    whole: Annotated[str, Form()] = "",
    query: Annotated[str, Form(max_length=8000)] = "",
    seen: Annotated[str, Form(pattern=r"^(\d{1,9}-[0-9a-f]{16})?$")] = "",
    saw: Annotated[list[str] | None, Form(max_length=1000)] = None,
    assignee: Annotated[str, Form()] = "",
    reason: Annotated[str, Form()] = "",
    comment: Annotated[str, Form()] = "",
    back: Annotated[str, Form(max_length=8000)] = "/exceptions",
) -> Response:
    """Do something about the exceptions ticked, or all that the search finds."""
    if not csrf_holds(caller, csrf):
        raise HTTPException(403, "This form was too old; load the page again.")
    require_operator(caller)
    search = views.query_of(parse_qsl(query, keep_blank_values=True)) if whole == "yes" else None
    if search is not None and not seen:
        raise HTTPException(409, "This form does not say what you saw; load the page again. Nothing was done.")
    rows = views.chosen(ours, caller, id or [], search, seen)
    if search is None and action is actions.Action.RESOLVE:
        views.refuse_unseen(rows, dict(one.split("=", 1) for one in saw or [] if "=" in one))
    asked = actions.Request(action, request_id, assignee, reason, comment)
    views.act(ours, caller, rows, asked, ours.gate.address(request))
    target = safe_target(back)
    return RedirectResponse(f"{target}{'&' if '?' in target else '?'}done={rows.height}", 303)


@router.get("/closes")
def closes(request: Request, ours: Ours, caller: Known, page: int = 1) -> HTMLResponse:
    """Every close, the newest first."""
    found = reading.closes(ours.tables, caller.user)
    pages = max(1, -(-len(found) // CLOSES))
    page = min(max(page, 1), pages)
    shown = found[(page - 1) * CLOSES : page * CLOSES]
    return render(request, "closes.html", closes=shown, page=page, pages=pages, replayed=ours.replays.last)


@router.get("/closes/{close_id}")
def one_close(request: Request, ours: Ours, caller: Known, close_id: str) -> HTMLResponse:
    """One close."""
    told = reading.close(ours.tables, caller.user, close_id)
    if told is None:
        raise HTTPException(404, "There is no such close.")
    replayed, can_replay = ours.replays.last(close_id), ours.background.can_run
    return render(request, "close.html", it=told, replayed=replayed, can_replay=can_replay, close_id=close_id)


@router.get("/quarantine")
def quarantined(
    request: Request, ours: Ours, caller: Known, reason: str = "", supplier: str = "", page: int = 1, sent: str = ""
) -> HTMLResponse:
    """Counts, and the records."""
    page = min(max(page, 1), 1_000_000)
    total, records = quarantine.records(ours.tables, caller.user, reason, supplier, page)
    return render(
        request,
        "quarantine.html",
        counts=quarantine.counts(quarantine.known(ours.tables, caller.user)),
        records=records,
        total=total,
        sent=sent[:20],
        most=redrive.MOST,
        reason=reason,
        supplier=supplier,
        page=page,
        pages=max(1, -(-total // quarantine.PAGE)),
    )


@router.post("/quarantine/redrive")
def redriven(
    request: Request,
    ours: Ours,
    caller: Known,
    csrf: Annotated[str, Form()] = "",
    reason: Annotated[str, Form(max_length=300)] = "",
    supplier: Annotated[str, Form(max_length=200)] = "",
    place: Annotated[list[str] | None, Form(max_length=1000)] = None,
) -> Response:
    """Send records again, after what was wrong with them was mended."""
    if not csrf_holds(caller, csrf):
        raise HTTPException(403, "This form was too old; load the page again.")
    sent = views.redriven(ours, caller, reason, supplier, place or [], ours.gate.address(request))
    return RedirectResponse(f"/quarantine?{urlencode({'reason': reason, 'supplier': supplier, 'sent': sent})}", 303)


@router.get("/suppliers")
def suppliers(request: Request, ours: Ours, caller: Known) -> HTMLResponse:
    """Every supplier's scorecard."""
    return render(request, "suppliers.html", suppliers=reading.suppliers(ours.tables, caller.user))


@router.get("/suppliers/{supplier:path}")
def one_supplier(request: Request, ours: Ours, caller: Known, supplier: str) -> HTMLResponse:
    """One supplier: scorecard, policy, its history."""
    told = scorecard(ours.tables, caller.user, supplier)
    if told is None:
        raise HTTPException(404, "There is no such supplier, or not for you.")
    return render(
        request,
        "supplier.html",
        it=told,
        backtests=backtests.listed(ours.tables, caller.user, supplier)[:5],
        Query=Query,
    )


@router.get("/what-if/{backtest_id}")
def one_what_if(request: Request, ours: Ours, caller: Known, backtest_id: str) -> HTMLResponse:
    """One backtest."""
    told = backtests.one(ours.tables, caller.user, backtest_id)
    if told is None:
        raise HTTPException(404, "There is no such backtest, or not for you.")
    return render(request, "backtest.html", it=told)


@router.get("/system")
def system(request: Request, ours: Ours, caller: Known) -> HTMLResponse:
    """A map of what is configured."""
    require_all(caller)
    return render(
        request,
        "system.html",
        tables=reading.system(ours.tables),
        topics=ours.settings.topics,
        it=configured(ours.tables),
        lake=ours.settings.lake.root,
    )


@router.get("/audit")
def audit(request: Request, ours: Ours, caller: Known) -> HTMLResponse:
    """Who did what."""
    require_admin(caller)
    return render(request, "audit.html", lines=ours.audit.newest())
