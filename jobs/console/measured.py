"""What the console tells Prometheus: requests, how long they take, and sign-ins that were refused."""

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jobs.common.metrics import REGISTRY, Registry

_WHY = {401: "WRONG", 403: "FORM", 429: "TOO_MANY"}


class Measured:
    """Middleware that counts every answer under its route's pattern, so that no id becomes a series of its own."""

    def __init__(self, app: ASGIApp, registry: Registry = REGISTRY) -> None:
        self._app, self._registry = app, registry
        for why in sorted({*_WHY.values()}):
            registry.add("reco_console_sign_ins_refused_total", why=why)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; what ends in an error that nobody caught counts as 500."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, told)
        finally:
            self._count(scope, status, time.perf_counter() - began)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        page = _page(scope)
        self._registry.add("reco_console_requests_total", 1, page=page, status=str(status))
        self._registry.observe("reco_console_request_duration_seconds", seconds, page=page)
        if why := _refused(scope, status):
            self._registry.add("reco_console_sign_ins_refused_total", 1, why=why)


def _page(scope: Scope) -> str:
    return str(getattr(scope.get("route"), "path", "none"))


def _refused(scope: Scope, status: int) -> str | None:
    """Why a form of the sign-in was refused, or a token, which only ever is wrong."""
    if scope["method"] == "POST" and _page(scope).startswith("/sign-in"):
        return _WHY.get(status)
    brought = any(name == b"authorization" for name, _ in scope["headers"])
    return _WHY[401] if status == 401 and brought else None
