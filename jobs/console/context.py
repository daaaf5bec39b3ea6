"""What every request needs: the lake, the users, the gate, the audit; and pages made of templates."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from jobs.common.output import listed, printable
from jobs.common.policy_file import written, written_value
from jobs.common.settings import Settings
from jobs.console import text
from jobs.console.audit import Audit
from jobs.console.background import Background
from jobs.console.limits import Attempts
from jobs.console.oidc import Provider
from jobs.console.replays import Replays
from jobs.console.security import CSRF_HEADER, Caller, Gate, csrf_holds
from jobs.console.sessions import Sessions
from jobs.console.tables import Tables
from jobs.console.trials import Trials
from jobs.console.users import Role, User, Users


@dataclass(frozen=True)
class Context:
    """One console."""

    settings: Settings
    tables: Tables
    users: Users
    gate: Gate
    audit: Audit
    attempts: Attempts
    provider: Provider | None
    background: Background
    replays: Replays
    trials: Trials

    @classmethod
    def of(cls, settings: Settings) -> "Context":
        """UserError where the users file or the session's secret is not there."""
        console = settings.console
        provider = Provider(console.oidc) if console.oidc.issuer else None
        users = Users(console.users_file, may_lack=provider is not None)
        users.check()
        sessions = Sessions(console.audit_file.with_name(f"{console.audit_file.name}.ended-sessions"))
        gate, audit = Gate(console, users, sessions), Audit(console.audit_file)
        attempts = Attempts(console.sign_in_attempts)
        background = Background(settings)
        jobs = (background, Replays(background), Trials(background))
        return cls(settings, Tables(settings), users, gate, audit, attempts, provider, *jobs)


def context_of(request: Request) -> Context:
    """The console that the request came to."""
    found: Context = request.app.state.context
    return found


def known_caller(request: Request) -> Caller:
    """Whoever asks; 401 where nobody is known."""
    caller = context_of(request).gate.caller(request)
    if caller is None:
        raise HTTPException(401, "Sign in, or send a token: Authorization: Bearer …", {"WWW-Authenticate": "Bearer"})
    request.state.caller = caller
    return caller


def acting_caller(request: Request, caller: Annotated[Caller, Depends(known_caller)]) -> Caller:
    """Whoever may change something and says so by the API: 403 without the role or the CSRF token."""
    require_operator(caller)
    if not csrf_holds(caller, request.headers.get(CSRF_HEADER)):
        raise HTTPException(403, f"The header {CSRF_HEADER} is missing or old: load the page again.")
    return caller


def require_operator(caller: Caller) -> None:
    """403 for viewers."""
    if not caller.user.may_act:
        raise HTTPException(403, f"{caller.user.name} is a viewer; only operators and admins may do this.")


def require_all(caller: Caller) -> None:
    """403 for users limited to some suppliers, where a page is about all of them."""
    if not caller.user.sees_all:
        raise HTTPException(403, "This page is about all suppliers; your account is for some of them.")


def require_admin(caller: Caller) -> None:
    """403 for all but admins who see all suppliers."""
    if caller.user.role is not Role.ADMIN or not caller.user.sees_all:
        raise HTTPException(403, "Only admins who see all suppliers may see this.")


Ours = Annotated[Context, Depends(context_of)]
Known = Annotated[Caller, Depends(known_caller)]
Acting = Annotated[Caller, Depends(acting_caller)]


def colleagues(context: Context, supplier_ids: set[str]) -> list[str]:
    """Users who may act on exceptions of all these suppliers."""
    people = context.gate.people()
    return [user.name for user in people if user.may_act and all(user.sees(one) for one in supplier_ids)]


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("usd", "count", "moment", "ago", "percent", "size", "words", "shown"):
        made.filters[name] = getattr(text, name)
    made.filters |= {"listed": listed, "written": written, "written_value": written_value}
    made.filters["printable"] = lambda value: printable(str(value)) if value is not None else "–"
    return made


_PAGES = _environment()


def render(request: Request, template: str, status: int = 200, /, **values: Any) -> HTMLResponse:
    """A page; `user` and `csrf` are the caller's, where one is known."""
    caller: Caller | None = getattr(request.state, "caller", None)
    user: User | None = caller.user if caller else None
    more = {
        "user": user,
        "csrf": caller.csrf if caller else "",
        "way": caller.way if caller else "",
        "path": request.url.path,
    }
    return HTMLResponse(_PAGES.get_template(template).render({**more, **values}), status)
