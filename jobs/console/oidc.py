"""Sign-in at an OpenID Connect provider: authorization code with PKCE, and what its ID token says of somebody.

OpenID Connect Core 1.0 §3.1, Discovery 1.0, RFC 7636 (PKCE), RFC 9207 (issuer in the answer).
"""

import secrets
import time
from collections.abc import Mapping
from threading import Lock
from typing import Any

import requests
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.requests_client import OAuth2Session
from joserfc import jwt
from joserfc.errors import ExpiredTokenError, InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from pydantic import ValidationError

from jobs.common import log
from jobs.common.secrets import secret
from jobs.common.settings import Oidc
from jobs.console.users import Role, User

#: Signatures that are believed: those of a key pair, whose secret half only the provider has.
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_TIMEOUT_SECONDS = 10
#: How long the discovery document and the keys are kept.
_KEPT_SECONDS = 3600.0
#: How soon keys are asked for again because a token names one that is not among them.
_AGAIN_SECONDS = 5.0
_RANKS = (Role.ADMIN, Role.OPERATOR, Role.VIEWER)
_NEEDED = ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri")


class RefusedError(Exception):
    """Why somebody was not let in, as a sentence for them; `why` is for the audit and the log."""

    def __init__(self, sentence: str, why: str, status: int = 403) -> None:
        super().__init__(sentence)
        self.why, self.status = why, status


class Provider:
    """The provider of the settings; thread-safe."""

    def __init__(self, settings: Oidc) -> None:
        """UserError where the client's secret is referred to and not there. Nothing is asked of the provider yet."""
        self.settings, self._lock = settings, Lock()
        reference = settings.client_secret
        self._secret = secret(reference, "console.oidc.client_secret") if reference else None
        self._told: tuple[dict[str, Any], float] | None = None
        self._keys: tuple[KeySet, float] | None = None

    def begin(self) -> tuple[str, dict[str, str]]:
        """Where to send the browser, and what has to be kept until it comes back: state, nonce, verifier."""
        kept = {name: secrets.token_urlsafe(32) for name in ("state", "nonce", "verifier")}
        with self._client() as client:
            url, _ = client.create_authorization_url(
                self._discovered()["authorization_endpoint"],
                state=kept["state"],
                nonce=kept["nonce"],
                code_verifier=kept["verifier"],
            )
        return str(url), kept

    def finish(self, answer: Mapping[str, str], kept: Mapping[str, str]) -> User:
        """The user whom the provider vouches for. `answer`: the query it sent the browser back with.

        RefusedError where it does not, or where the token is not one for this sign-in.
        """
        if "error" in answer:
            raise RefusedError(
                "The provider did not let you in, or you turned back.", f"provider: {answer['error'][:100]}"
            )
        told = self._discovered()
        if answer.get("iss", told["issuer"]) != told["issuer"] or not answer.get("code"):
            raise RefusedError("The answer is not of the provider that was asked.", "issuer or code of the answer")
        try:
            with self._client() as client:
                tokens = client.fetch_token(
                    told["token_endpoint"],
                    code=answer["code"],
                    code_verifier=kept["verifier"],
                    timeout=_TIMEOUT_SECONDS,
                )
        except AuthlibBaseError as error:
            raise RefusedError(
                "The provider does not know this sign-in (any more); try again.", f"token: {error}"
            ) from error
        except (requests.RequestException, ValueError) as error:
            raise _silent(error) from error
        return self.user(self._claims(str(tokens.get("id_token") or ""), kept["nonce"]))

    def user(self, claims: Mapping[str, Any]) -> User:
        """The user that these claims make by the settings. RefusedError without a name, a role or suppliers."""
        ours = self.settings
        held = _texts(_claim(claims, ours.role_claim))
        ranks = {ours.roles[one] for one in held if one in ours.roles}
        role = next((rank for rank in _RANKS if rank.value in ranks), None)
        if role is None:
            raise RefusedError("Your account has no role here; ask whoever gives roles out.", "no role")
        suppliers: tuple[str, ...] | None = None
        if ours.suppliers_claim:
            named = _texts(_claim(claims, ours.suppliers_claim))
            if not named:
                raise RefusedError("Your account names no supplier; ask whoever gives them out.", "no suppliers")
            suppliers = None if "*" in named else tuple(named)
        try:
            return User(name=str(_claim(claims, ours.name_claim) or ""), role=role, suppliers=suppliers)
        except ValidationError:
            raise RefusedError(
                "Your account's name cannot be used here: letters, digits and . _ @ -, at most 64.",
                f"claim {ours.name_claim}",
            ) from None

    def _claims(self, token: str, nonce: str) -> dict[str, Any]:
        """The ID token's claims, where it is signed by the provider, for us, for this sign-in and for now."""
        ours = self.settings
        checks = jwt.JWTClaimsRegistry(
            leeway=ours.skew_seconds,
            iss={"essential": True, "value": ours.issuer},
            aud={"essential": True, "value": ours.client_id},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        try:
            claims = self._decoded(token)
            checks.validate(claims)
        except ExpiredTokenError as error:
            sentence = "The provider's answer has expired; try again, and if it stays so, compare the clocks."
            raise RefusedError(sentence, "expired token") from error
        except (JoseError, ValueError, TypeError) as error:
            raise RefusedError("The provider's answer is not one for this sign-in; try again.", f"{error}") from error
        ours_only = claims["aud"] in (ours.client_id, [ours.client_id])
        if claims.get("azp", ours.client_id if ours_only else None) != ours.client_id:
            raise RefusedError("The provider's answer is not one for this sign-in; try again.", "azp of another client")
        return claims

    def _decoded(self, token: str) -> dict[str, Any]:
        try:
            return dict(jwt.decode(token, self._key_set(_KEPT_SECONDS), algorithms=list(_ALGORITHMS)).claims)
        except InvalidKeyIdError:  # the provider signs with a new key
            return dict(jwt.decode(token, self._key_set(_AGAIN_SECONDS), algorithms=list(_ALGORITHMS)).claims)

    def _key_set(self, kept_seconds: float) -> KeySet:
        with self._lock:
            held = self._keys
        if held is None or time.monotonic() - held[1] > kept_seconds:
            held = KeySet.import_key_set(self._fetched(self._discovered()["jwks_uri"])), time.monotonic()
            with self._lock:
                self._keys = held
        return held[0]

    def _discovered(self) -> dict[str, Any]:
        with self._lock:
            held = self._told
        if held is None or time.monotonic() - held[1] > _KEPT_SECONDS:
            told = self._fetched(f"{self.settings.issuer.rstrip('/')}/.well-known/openid-configuration")
            scheme = self.settings.issuer.partition(":")[0]
            safe = all(str(told.get(name)).startswith(f"{scheme}:") for name in _NEEDED)
            if told.get("issuer") != self.settings.issuer or not safe:
                raise RefusedError(
                    "The sign-in is not set up rightly; tell whoever runs the console.",
                    f"its discovery document is of {told.get('issuer')!a}, not console.oidc.issuer, or lacks a URL",
                    502,
                )
            held = told, time.monotonic()
            with self._lock:
                self._told = held
        return held[0]

    def _fetched(self, url: str) -> Any:
        try:
            answer = requests.get(url, timeout=_TIMEOUT_SECONDS, allow_redirects=False)
            answer.raise_for_status()
            told = answer.json()
        except (requests.RequestException, ValueError) as error:
            raise _silent(error) from error
        if not isinstance(told, dict):
            raise _silent(ValueError(f"{url} gives no JSON object"))
        return told

    def _client(self) -> OAuth2Session:
        ours = self.settings
        return OAuth2Session(
            ours.client_id,
            self._secret,
            scope=" ".join(ours.scopes),
            redirect_uri=ours.redirect_url,
            code_challenge_method="S256",
            token_endpoint_auth_method="client_secret_basic" if self._secret else "none",
        )


def _silent(error: Exception) -> RefusedError:
    log.get_logger(__name__).warning("the OIDC provider does not answer", why=str(error)[:300])
    return RefusedError("The provider does not answer; try again in a moment.", f"provider: {error}"[:300], 502)


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its own name (some are addresses with dots in them), else by its dotted path."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _texts(value: Any) -> list[str]:
    """The texts of a claim that is a list, or one text."""
    if isinstance(value, str):
        return [value]
    return [one for one in value if isinstance(one, str) and one] if isinstance(value, list) else []
