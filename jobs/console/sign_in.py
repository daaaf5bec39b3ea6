"""Signing in with name and password, and out."""

import hmac
import secrets
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import RedirectResponse, Response

from jobs.console.context import Known, Ours, render
from jobs.console.limits import of_address
from jobs.console.security import csrf_holds

router = APIRouter(include_in_schema=False)
#: A sign-in has no session to hang a CSRF token on: the form's must equal this cookie's.
_COOKIE = "reco_sign_in"


def safe_target(path: str) -> str:
    """A path of ours, for a link or a redirect; the first page where it is none."""
    inside = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return quote(path if inside else "/", safe="/?&=.-_%+")


@router.get("/sign-in")
def form(request: Request, ours: Ours, next: str = "/") -> Response:  # noqa: A002
    """The form."""
    caller = ours.gate.caller(request)
    if caller is not None:
        return RedirectResponse(safe_target(next), 303)
    return _form(request, ours, next, "")


def _form(request: Request, ours: Ours, target: str, problem: str, status: int = 200) -> Response:
    token = request.cookies.get(_COOKIE) or secrets.token_urlsafe(24)
    told = {"next": safe_target(target), "problem": problem, "token": token}
    provider = ours.provider.settings.label if ours.provider else ""
    local = not provider or ours.users.have_passwords()
    page = render(request, "sign_in.html", status, **told, provider=provider, local=local)
    page.set_cookie(_COOKIE, token, httponly=True, secure=ours.settings.console.https, samesite="strict", max_age=3600)
    return page


@router.post("/sign-in")
def enter(
    request: Request,
    ours: Ours,
    name: Annotated[str, Form(max_length=64)],
    password: Annotated[str, Form(max_length=1024)],
    token: Annotated[str, Form(max_length=64)] = "",
    next: Annotated[str, Form(max_length=2000)] = "/",  # noqa: A002
) -> Response:
    """Check name and password; too many wrong ones have to wait."""
    address = ours.gate.address(request)
    keys = (f"user {name}", of_address(address))
    if not hmac.compare_digest(request.cookies.get(_COOKIE, "").encode(), token.encode()) or not token:
        return _form(request, ours, next, "This form was too old; please try again.", 403)
    wait = ours.attempts.begin(*keys)
    if wait:
        ours.audit.note("sign-in refused", name, address, why="too many wrong passwords")
        page = _form(request, ours, next, f"Too many wrong passwords; try again in {-(-wait // 60)} minutes.", 429)
        page.headers["Retry-After"] = str(wait)
        return page
    user = ours.users.verify(name, password)
    if user is None:
        ours.audit.note("sign-in failed", name, address)
        return _form(request, ours, next, "Name or password is wrong.", 401)
    ours.attempts.succeeded(*keys)
    ours.audit.note("signed in", user.name, address)
    response = RedirectResponse(safe_target(next), 303)
    ours.gate.sign_in(response, user)
    response.delete_cookie(_COOKIE)
    return response


@router.post("/sign-out")
def leave(request: Request, ours: Ours, caller: Known, csrf: Annotated[str, Form()] = "") -> Response:
    """End the session."""
    if not csrf_holds(caller, csrf):
        raise HTTPException(403, "This form was too old; load the page again.")
    response = RedirectResponse("/sign-in", 303)
    ours.gate.sign_out(request, response)
    ours.audit.note("signed out", caller.user.name, ours.gate.address(request))
    return response
