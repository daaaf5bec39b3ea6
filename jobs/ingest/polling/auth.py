"""How the poller shows a supplier who it is; secrets are looked up when needed, so that new ones are taken up."""

import json
import math
import time
from base64 import b64encode

import httpx

from jobs.common.errors import UserError
from jobs.common.secrets import secret
from jobs.ingest.polling.body import read_body
from jobs.ingest.polling.config import SupplierApi
from jobs.ingest.polling.config_parts import ApiKey, Basic, Bearer, OAuth
from jobs.ingest.polling.failure import PollFailedError

_TOKEN_BYTES = 1_048_576
#: A token is taken anew so many seconds before it ends, and at least so often where nothing is said of its end.
_MARGIN = 30.0
_USUAL_LIFE = 300.0


class Identity:
    """The headers that say who we are."""

    def __init__(self, api: SupplierApi, client: httpx.AsyncClient) -> None:
        self._api, self._client = api, client
        self._token, self._ends = "", 0.0

    async def headers(self) -> dict[str, str]:
        """Headers for the next request. Raises PollFailedError where a secret or a token cannot be had."""
        auth = self._api.auth
        if isinstance(auth, Bearer):
            return {"authorization": f"Bearer {self._secret(auth.token, 'token')}"}
        if isinstance(auth, Basic):
            return {"authorization": _basic(auth.username, self._secret(auth.password, "password"))}
        if isinstance(auth, ApiKey):
            return {auth.header.lower(): self._secret(auth.key, "key")}
        if isinstance(auth, OAuth):
            if time.monotonic() >= self._ends:
                await self._take_token(auth)
            return {"authorization": f"Bearer {self._token}"}
        return {}

    def renew(self) -> bool:
        """Forget a token that was refused; True where another one may be had."""
        self._ends = 0.0
        return isinstance(self._api.auth, OAuth)

    async def _take_token(self, auth: OAuth) -> None:
        place = auth.token_url.partition("?")[0]
        form = {"grant_type": "client_credentials", **({"scope": auth.scope} if auth.scope else {})}
        shown = {"authorization": _basic(auth.client_id, self._secret(auth.client_secret, "client_secret"))}
        headers = {"accept": "application/json", "accept-encoding": "gzip", **shown}
        async with self._client.stream("POST", auth.token_url, data=form, headers=headers) as response:
            if not response.is_success:
                status = response.status_code
                may_pass = status >= 500 or status in (408, 429)
                raise PollFailedError(f"{place} gives no token: it answers {status}.", lasting=not may_pass)
            body = await read_body(response, _TOKEN_BYTES)
        self._token, life = _token(body, place)
        self._ends = time.monotonic() + max(life - _MARGIN, life / 2)

    def _secret(self, reference: str, name: str) -> str:
        try:
            found = secret(reference, f"{self._api.file}: auth.{name}")
        except UserError as error:
            raise PollFailedError(str(error), lasting=True) from None
        if not found.isprintable() or (name in ("token", "key") and not found.isascii()):
            # It would not go into a header, and the client's own error would show it.
            raise PollFailedError(
                f"{self._api.file}: auth.{name}: the secret at {reference} has letters that no header may have.",
                lasting=True,
            )
        return found


def _token(body: bytes | bytearray, place: str) -> tuple[str, float]:
    """The token of an answer, and for how many seconds it holds. Raises PollFailedError, which never shows it."""
    try:
        told = json.loads(body)
        token = told["access_token"]
    except (ValueError, TypeError, KeyError, RecursionError):
        token = None
    # What would not go into a header, the client's own error would show.
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token.strip():
        raise PollFailedError(f"{place} answers without an access_token that a header may have.")
    try:
        life = float(told["expires_in"])
    except (ValueError, TypeError, KeyError, OverflowError):
        life = _USUAL_LIFE
    return token, life if math.isfinite(life) else _USUAL_LIFE


def _basic(user: str, password: str) -> str:
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"
