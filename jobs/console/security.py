"""Who asks: sessions, a proxy's header, tokens; and what protects them: CSRF tokens, safe headers."""

import hmac
import secrets
import time
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import ip_address

from fastapi import Request
from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.responses import Response

from jobs.common import log
from jobs.common.secrets import secret
from jobs.common.settings import Console
from jobs.console.sessions import Sessions
from jobs.console.users import User, Users

COOKIE = "reco_session"
CSRF_FIELD, CSRF_HEADER = "csrf", "X-CSRF-Token"
#: In place of the stamp of a user of the file.
_GUEST = "oidc"

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

    def __init__(self, settings: Console, users: Users, sessions: Sessions) -> None:
        """UserError where the session's secret is referred to and not there."""
        self._settings, self._users, self._sessions = settings, users, sessions
        if settings.session_secret:
            self._secret = secret(settings.session_secret, "console.session_secret")
        else:
            self._secret = secrets.token_urlsafe(32)
            log.get_logger(__name__).info("sessions end with this process: console.session_secret is not set")
        self._signer = URLSafeTimedSerializer(self._secret, salt="reco-console-session")
        self._errands = URLSafeTimedSerializer(self._secret, salt="reco-console-errand")

    def caller(self, request: Request) -> Caller | None:
        """Whoever the request is from: a token, a proxy's header, or a session; None where nobody is known."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            user = self._users.by_token(token.strip())
            return Caller(user, "token", "") if user else None
        names = request.headers.getlist(self._settings.proxy_header)
        if any(names) and self._is_proxy(request):
            name = names[0]
            # Two of them: the proxy has not removed what the browser sent.
            user = self._users.get(name) if len(names) == 1 else None
            return Caller(user, "proxy", self._csrf(f"proxy|{name}")) if user else None
        return self._by_session(request)

    def sign_in(self, response: Response, user: User) -> None:
        """Give the browser a session of its own, whatever it had before."""
        self._give(response, {"user": user.name, "stamp": user.stamp, "id": secrets.token_urlsafe(16)})

    def admit(self, response: Response, user: User) -> bool:
        """The same for somebody whom the OIDC provider vouches for; False where the users file has that name."""
        if self._users.get(user.name) is not None:
            return False
        told = {"user": user.name, "stamp": _GUEST, "id": secrets.token_urlsafe(16)}
        self._sessions.admit(told["id"], user, time.time() + 60 * self._settings.oidc.session_minutes)
        self._give(response, told)
        return True

    def people(self) -> list[User]:
        """Everybody of the users file, and who is here through the provider, by name."""
        known = [user for name in self._users.names() if (user := self._users.get(name)) is not None]
        return sorted({user.name: user for user in (*self._sessions.guests(), *known)}.values(), key=lambda u: u.name)

    def sealed(self, told: dict[str, str]) -> str:
        """What a browser keeps for us for a while, and cannot change."""
        return str(self._errands.dumps(told))

    def unsealed(self, text: str, seconds: int) -> dict[str, str] | None:
        """What it kept, where it is ours and not older than that, and comes back for the first time."""
        try:
            told: dict[str, str] = self._errands.loads(text, max_age=seconds)
        except BadSignature:
            return None
        return told if self._sessions.first_time(told["state"], time.time() + seconds) else None

    def _give(self, response: Response, told: dict[str, str]) -> None:
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
            self._sessions.end(told["id"], time.time() + self._settings.session_hours * 3600)
        response.delete_cookie(COOKIE, httponly=True, secure=self._settings.https, samesite="lax")

    def address(self, request: Request) -> str:
        """The caller's address; behind a named proxy the last one that the proxy tells, in the last header of it."""
        peer = request.client.host if request.client else "?"
        # Some proxies add to the sender's own header, others add one of theirs after it.
        told = ",".join(request.headers.getlist("x-forwarded-for")).rpartition(",")[2].strip()
        return told[:64] if told and self._is_proxy(request) else peer

    def _by_session(self, request: Request) -> Caller | None:
        told = self._session(request)
        if told is None or self._sessions.is_ended(told["id"]):
            return None
        if told["stamp"] == _GUEST:
            user = self._sessions.guest(told["id"])
            return Caller(user, "session", self._csrf(told["id"])) if user and not self._users.get(user.name) else None
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
