"""An OpenID Connect provider that really answers: discovery, keys, codes bound to PKCE, ID tokens signed RS256."""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "reco-console", "the client's secret"


class OidcServer:
    """Lets `claims` in. `change`: what is put over the next ID tokens' claims; `signer`: the key that signs them."""

    def __init__(self) -> None:
        self.claims: dict[str, Any] = {"sub": "u-1", "preferred_username": "gina", "roles": ["reco-ops"]}
        self.change: dict[str, Any] = {}
        self.keys = [_key("one")]
        self.signer = self.keys[0]
        self.header: dict[str, Any] = {}
        self.asked: list[str] = []
        self._codes: dict[str, dict[str, str]] = {}
        handler = type("Handler", (_Handler,), {"provider": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.issuer = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.told_issuer = self.issuer

    @contextmanager
    def running(self) -> Iterator["OidcServer"]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def turn_keys(self, *keep: RSAKey) -> None:
        """Sign with a new key from now on."""
        self.signer = _key(secrets.token_hex(4))
        self.keys = [*keep, self.signer]

    def discovery(self) -> dict[str, Any]:
        ends = {name: f"{self.issuer}/{path}" for name, path in _ENDS.items()}
        return {"issuer": self.told_issuer, **ends, "code_challenge_methods_supported": ["S256"]}

    def authorized(self, query: dict[str, str]) -> str:
        """Where the browser goes on: everybody is signed in here."""
        code = secrets.token_urlsafe(16)
        self._codes[code] = query
        told = {"code": code, "state": query["state"], "iss": self.issuer}
        return f"{query['redirect_uri']}?{urlencode(told)}"

    def token(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """RFC 6749 §4.1.3 and RFC 7636 §4.6: a code once, to its client, for its verifier."""
        asked = self._codes.pop(form.get("code", ""), None)
        client = base64.b64decode(authorization.removeprefix("Basic ")).decode().split(":")
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if client[0] != CLIENT or asked is None or asked["code_challenge_method"] != "S256":
            return 401, {"error": "invalid_client"}
        if asked["code_challenge"] != challenge or asked["redirect_uri"] != form["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        times = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        claims = {name: value for name, value in {**times, **self.claims, **self.change}.items() if value is not None}
        header = {"alg": "RS256", "kid": self.signer.kid, **self.header}
        key = self.signer if header["alg"] == "RS256" else None
        told = jwt.encode(header, claims, key) if key else _unsigned(header, claims)
        return 200, {"access_token": "a", "token_type": "Bearer", "id_token": told}


_ENDS = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}


def _key(name: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": name, "use": "sig", "alg": "RS256"})


def _unsigned(header: dict[str, Any], claims: dict[str, Any]) -> str:
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (header, claims))
    return ".".join([*parts, ""])


class _Handler(BaseHTTPRequestHandler):
    provider: OidcServer

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.provider.asked.append(url.path)
        if url.path == "/authorize":
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            self.send_response(302)
            self.send_header("Location", self.provider.authorized(query))
            self.end_headers()
        elif url.path == "/keys":
            self._json(200, {"keys": [key.as_dict(private=False) for key in self.provider.keys]})
        else:
            self._json(200, self.provider.discovery())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        self._json(*self.provider.token(form, self.headers.get("authorization", "")))

    def _json(self, status: int, told: dict[str, Any]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(told).encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing on stderr."""
