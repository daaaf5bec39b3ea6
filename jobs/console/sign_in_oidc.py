"""Signing in at the OpenID Connect provider: there, and back."""

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import RedirectResponse, Response

from jobs.console.context import Context, Ours, render
from jobs.console.oidc import Provider, RefusedError
from jobs.console.sign_in import safe_target
from jobs.console.users import User

router = APIRouter(include_in_schema=False)
#: What has to come back unchanged with the browser: state, nonce, verifier, and where it wanted to go.
_COOKIE = "reco_oidc"
_PATH = "/sign-in/oidc"
#: How long somebody may take at the provider.
_SECONDS = 600


@router.get(_PATH)
def there(request: Request, ours: Ours, next: str = "/") -> Response:  # noqa: A002
    """To the provider."""
    try:
        url, kept = _provider(ours).begin()
    except RefusedError as refused:
        return _page(request, ours, refused)
    response = RedirectResponse(url, 303)
    sealed = ours.gate.sealed({**kept, "next": safe_target(next)[:2000]})
    # The provider sends the browser back from its own site, so this cookie must be lax.
    secure = ours.settings.console.https
    response.set_cookie(_COOKIE, sealed, max_age=_SECONDS, path=_PATH, httponly=True, secure=secure, samesite="lax")
    return response


@router.get(f"{_PATH}/back")
def back(request: Request, ours: Ours) -> Response:
    """From the provider, with a code that only we can use, once."""
    response = RedirectResponse("/", 303)
    try:
        user = _let_in(request, ours, response)
    except RefusedError as refused:
        return _page(request, ours, refused)
    ours.audit.note("signed in", user.name, ours.gate.address(request), by="oidc", role=user.role.value)
    response.delete_cookie(_COOKIE, path=_PATH)
    return response


def _let_in(request: Request, ours: Context, response: Response) -> User:
    """Give the response a session of whoever comes back, and send them where they wanted to go."""
    provider, kept = _provider(ours), ours.gate.unsealed(request.cookies.get(_COOKIE, ""), _SECONDS)
    answer = dict(request.query_params)
    if kept is None or answer.get("state") != kept["state"]:
        sentence = "This sign-in was begun elsewhere, used already, or too long ago; please begin again."
        raise RefusedError(sentence, "state", 400)
    user = provider.finish(answer, kept)
    if not ours.gate.admit(response, user):
        sentence = "Your name belongs to somebody in the console's own users file; one of the two has to go."
        raise RefusedError(sentence, f"{user.name} is in the users file")
    response.headers["location"] = kept["next"]
    return user


def _provider(ours: Context) -> Provider:
    if ours.provider is None:
        raise HTTPException(404, "There is no such page, or not for you.")
    return ours.provider


def _page(request: Request, ours: Context, refused: RefusedError) -> Response:
    ours.audit.note("sign-in refused", None, ours.gate.address(request), by="oidc", why=refused.why)
    page = render(request, "refused.html", refused.status, sentence=str(refused))
    page.delete_cookie(_COOKIE, path=_PATH)
    return page
