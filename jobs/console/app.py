"""The application: everything that all pages and the API share, put together."""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

from deltalake.exceptions import DeltaError
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from polars.exceptions import PolarsError
from starlette.exceptions import HTTPException as StarletteHTTPException

from jobs.common import log
from jobs.common.errors import FAILED, UserError
from jobs.common.settings import Settings
from jobs.console import api, files, pages, replay_routes, sign_in, sign_in_oidc, trial_routes
from jobs.console.context import Context, render
from jobs.console.measured import Measured
from jobs.console.security import HEADERS
from jobs.console.users import UsersError

_WORDS = {
    403: "You may not do this",
    404: "There is nothing here",
    405: "That cannot be done here",
    409: "That did not work",
    422: "That cannot be understood",
    429: "Please wait",
    500: "Something went wrong",
    503: "Not just now",
}
#: Forms and JSON of ours are small; whoever sends more is refused before it is read.
_MAX_BODY = 1 << 20


def create_app(settings: Settings) -> FastAPI:
    """The console for these settings. UserError where users or the session's secret are not there."""
    app = FastAPI(title="reco console", version="1", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.context = Context.of(settings)
    app.middleware("http")(_guarded)
    app.add_middleware(Measured)
    app.add_exception_handler(StarletteHTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _not_understood)
    app.add_exception_handler(UserError, _user_error)
    app.add_exception_handler(UsersError, _users_error)
    for kind in (PolarsError, DeltaError, OSError):
        app.add_exception_handler(kind, _lake_error)
    app.add_exception_handler(Exception, _failed)
    jobs = (replay_routes.pages, trial_routes.pages)
    for router in (sign_in.router, sign_in_oidc.router, *jobs, pages.router, files.router, api.router):
        app.include_router(router)
    return app


async def _guarded(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
    length = request.headers.get("content-length", "0")
    if request.method == "POST" and not (length.isdigit() and int(length) <= _MAX_BODY and _told(request)):
        response: Response = JSONResponse({"detail": "The request is too large, or does not say how large."}, 413)
    else:
        response = await go_on(request)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.app.state.context.settings.console.https:
        response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
    return response


def _told(request: Request) -> bool:
    # Without either header there is no body; one that comes in pieces says of no length that holds.
    return "transfer-encoding" not in request.headers


def _is_api(request: Request) -> bool:
    return request.url.path.startswith("/api/")


def _answer(request: Request, status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    if _is_api(request):
        return JSONResponse({"detail": sentence}, status, headers)
    title = _WORDS.get(status, "That did not work")
    page: HTMLResponse = render(request, "problem.html", status, title=title, sentence=sentence)
    page.headers.update(headers or {})
    return page


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException | StarletteHTTPException)
    if error.status_code == 401 and not _is_api(request):
        if "hx-request" in request.headers:  # a part of a page cannot be the sign-in
            return Response(status_code=401, headers={"HX-Redirect": "/sign-in"})
        wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/sign-in?next={quote(sign_in.safe_target(wanted), safe='/')}", 303)
    caller, ours = getattr(request.state, "caller", None), request.app.state.context
    if error.status_code == 403 and caller is not None:
        asked = f"{request.method} {request.url.path}"[:500]
        ours.audit.note("refused", caller.user.name, ours.gate.address(request), asked=asked)
    sentence = str(error.detail) if error.detail != "Not Found" else "There is no such page, or not for you."
    return _answer(request, error.status_code, sentence, dict(error.headers or {}))


async def _not_understood(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first: dict[str, Any] = dict(next(iter(error.errors()), {"loc": ("request",), "msg": "is wrong"}))
    return _answer(request, 422, f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}.")


async def _user_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, UserError)
    if error.exit_code != FAILED:
        return _answer(request, 409, str(error))
    if request.method == "GET":  # where the lake is and what ails it is for whoever runs it
        return await _lake_error(request, error)
    log.get_logger(__name__).error("page failed", path=request.url.path, why=str(error))
    return _answer(request, 503, str(error), {"Retry-After": "10"})


async def _users_error(request: Request, error: Exception) -> Response:
    log.get_logger(__name__).error("the users file cannot be read", why=str(error))
    return _answer(request, 503, "The console cannot read who may use it; its log says why. Try again in a moment.")


async def _lake_error(request: Request, error: Exception) -> Response:
    log.get_logger(__name__).error("the lake cannot be read", path=request.url.path, exc_info=error)
    sentence = "The lake cannot be read just now; the console's log says which table and why. Try again in a moment."
    return _answer(request, 503, sentence, {"Retry-After": "10"})


async def _failed(request: Request, error: Exception) -> Response:
    log.get_logger(__name__).error("page failed", path=request.url.path, exc_info=error)
    answer = _answer(request, 500, "This page could not be made; the console's log says why. Try again in a moment.")
    for name, value in HEADERS.items():  # this one is made outside of the middleware
        answer.headers.setdefault(name, value)
    return answer
