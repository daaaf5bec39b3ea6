"""Who asks: sessions, a proxy's header, tokens; and what protects them: CSRF tokens, safe headers."""

import hmac
import secrets
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import ip_address

from fastapi import Request
from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.responses import Response

from jobs.common import log
from jobs.common.secrets import secret
from jobs.common.settings import Console
from jobs.console.users import User, Users

COOKIE = "reco_session"
CSRF_FIELD, CSRF_HEADER = "csrf", "X-CSRF-Token"

#: Scripts and styles are files of ours; a page is shown in no frame and sends its forms to us only.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Caller:
    """Who asks and by which way. `csrf`: what a form of theirs must bring; empty for a token."""

    user: User
    way: str
    csrf: str


class Gate:
    """Tells who asks."""

    def __init__(self, settings: Console, users: Users) -> None:
        """UserError where the session's secret is referred to and not there."""
        self._settings, self._users = settings, users
        if settings.session_secret:
            self._secret = secret(settings.session_secret, "console.session_secret")
        else:
            self._secret = secrets.token_urlsafe(32)
            log.get_logger(__name__).info("sessions end with this process: console.session_secret is not set")
        self._signer = URLSafeTimedSerializer(self._secret, salt="reco-console-session")
        self._ended: set[str] = set()

    def caller(self, request: Request) -> Caller | None:
        """Whoever the request is from: a token, a proxy's header, or a session; None where nobody is known."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            user = self._users.by_token(token.strip())
            return Caller(user, "token", "") if user else None
        name = request.headers.get(self._settings.proxy_header)
        if name and self._is_proxy(request):
            user = self._users.get(name)
            return Caller(user, "proxy", self._csrf(f"proxy|{name}")) if user else None
        return self._by_session(request)

    def sign_in(self, response: Response, user: User) -> None:
        """Give the browser a session."""
        told = {"user": user.name, "stamp": user.stamp, "id": secrets.token_urlsafe(16)}
        response.set_cookie(
            COOKIE,
            self._signer.dumps(told),
            max_age=self._settings.session_hours * 3600,
            httponly=True,
            secure=self._settings.https,
            samesite="lax",
        )

    def sign_out(self, request: Request, response: Response) -> None:
        """End the session, also for whoever has copied the cookie."""
        told = self._session(request)
        if told is not None:
            self._ended.add(told["id"])
        response.delete_cookie(COOKIE, httponly=True, secure=self._settings.https, samesite="lax")

    def address(self, request: Request) -> str:
        """The caller's address; behind a named proxy the last one that the proxy tells."""
        peer = request.client.host if request.client else "?"
        told = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
        return told[:64] if told and self._is_proxy(request) else peer

    def _by_session(self, request: Request) -> Caller | None:
        told = self._session(request)
        if told is None or told["id"] in self._ended:
            return None
        user = self._users.get(told["user"])
        if user is None or not user.password or user.stamp != told["stamp"]:
            return None
        return Caller(user, "session", self._csrf(told["id"]))

    def _session(self, request: Request) -> dict[str, str] | None:
        try:
            told: dict[str, str] = self._signer.loads(
                request.cookies.get(COOKIE, ""), max_age=self._settings.session_hours * 3600
            )
        except BadSignature:
            return None
        return told

    def _csrf(self, what: str) -> str:
        return hmac.new(self._secret.encode(), f"csrf|{what}".encode(), sha256).hexdigest()

    def _is_proxy(self, request: Request) -> bool:
        if not self._settings.proxies or request.client is None:
            return False
        try:
            peer = ip_address(request.client.host)
        except ValueError:
            return False
        return any(peer in network for network in self._settings.proxies)


def csrf_holds(caller: Caller, sent: str | None) -> bool:
    """Whether a request that changes something brought what only our own pages know; a token needs none."""
    return caller.way == "token" or hmac.compare_digest(caller.csrf.encode(), (sent or "").encode())
