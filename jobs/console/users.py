"""Who may use the console: users, their roles and suppliers, and tokens of machines, kept in one YAML file."""

import hashlib
import os
import secrets
import tempfile
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from threading import BoundedSemaphore, Lock
from typing import Any

import yaml
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jobs.common.errors import UserError
from jobs.common.places import writing
from jobs.common.yaml_file import complaints, read_yaml

MIN_PASSWORD = 12
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$"


class Role(StrEnum):
    """What a user may do: look; act on exceptions; also see the whole system and its audit."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


class UsersError(UserError):
    """The users file cannot be read; the sentence is for whoever runs the console, not for whoever asks it."""


class User(BaseModel):
    """A user by name. `suppliers`: the only ones the user knows of; None for all. Without a password: proxies only."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str = Field(pattern=_NAME)
    role: Role = Role.VIEWER
    suppliers: tuple[str, ...] | None = None
    password: str | None = Field(default=None, repr=False)

    @property
    def may_act(self) -> bool:
        """Whether the user may acknowledge, assign, comment, resolve and reopen."""
        return self.role in (Role.OPERATOR, Role.ADMIN)

    @property
    def sees_all(self) -> bool:
        """Whether the user is limited to no suppliers."""
        return self.suppliers is None

    def sees(self, supplier: str | None) -> bool:
        """Whether the user knows of that supplier; what belongs to nobody is for those who see all."""
        return self.suppliers is None or supplier in self.suppliers

    @property
    def stamp(self) -> str:
        """Changes with the password, so that older sessions end."""
        return hashlib.sha256((self.password or "").encode()).hexdigest()[:16]


class _Token(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    user: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", repr=False)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    users: dict[str, dict[str, Any]] = Field(default_factory=dict)
    tokens: dict[str, _Token] = Field(default_factory=dict)


class Users:
    """The users file; read again when it has changed, so that a change holds from the next request on."""

    def __init__(self, path: Path, may_lack: bool = False) -> None:
        """`may_lack`: whether nobody is known where there is no file; else that is an error."""
        self._path, self._lock, self._may_lack = path, Lock(), may_lack
        self._hasher = PasswordHasher()
        # Each takes 64 MiB: as many at once as somebody sends would take all of the memory.
        self._hashing = BoundedSemaphore(2)
        # Verified where there is no such user, so that a wrong name takes as long as a wrong password.
        self._nobody = self._hasher.hash(secrets.token_urlsafe())
        self._stamp: tuple[int, int] | None = None
        self._users: Mapping[str, User] = {}
        self._tokens: Mapping[str, _Token] = {}

    def check(self) -> int:
        """How many users there are. UserError where the file is not there or wrong."""
        self._refresh()
        return len(self._users)

    def get(self, name: str) -> User | None:
        """The user of that name as the file says now."""
        self._refresh()
        return self._users.get(name)

    def names(self) -> list[str]:
        """All names, sorted."""
        self._refresh()
        return sorted(self._users)

    def have_passwords(self) -> bool:
        """Whether anybody signs in with name and password."""
        self._refresh()
        return any(user.password for user in self._users.values())

    def verify(self, name: str, password: str) -> User | None:
        """The user, where name and password are right; takes equally long where they are not."""
        user = self.get(name)
        try:
            with self._hashing:
                self._hasher.verify((user and user.password) or self._nobody, password)
        except (VerificationError, InvalidHashError):
            return None
        return user if user is not None and user.password else None

    def by_token(self, token: str) -> User | None:
        """The user that the token stands for."""
        self._refresh()
        digest = hashlib.sha256(token.encode()).hexdigest()
        found = next((one for one in self._tokens.values() if secrets.compare_digest(one.sha256, digest)), None)
        return self._users.get(found.user) if found else None

    def _refresh(self) -> None:
        try:
            told = self._path.stat()
        except OSError:
            if self._may_lack:
                with self._lock:
                    self._users, self._tokens, self._stamp = {}, {}, None
                return
            raise UsersError(
                f"There is no users file {self._path}; make one with `reco console add-user NAME --role admin`."
            ) from None
        stamp = (told.st_mtime_ns, told.st_ino)
        with self._lock:
            if stamp != self._stamp:
                try:
                    self._users, self._tokens = _read(self._path)
                except UserError as error:
                    raise UsersError(str(error)) from error
                self._stamp = stamp


def add_user(path: Path, user: User, password: str | None) -> None:
    """Add or replace a user. UserError where the password is too short or the file wrong."""
    if password is not None and len(password) < MIN_PASSWORD:
        raise UserError(f"The password of {user.name} is too short: {MIN_PASSWORD} characters at least.")
    data = _raw(path)
    entry: dict[str, Any] = {"role": user.role.value}
    if user.suppliers is not None:
        entry["suppliers"] = list(user.suppliers)
    if password is not None:
        entry["password"] = PasswordHasher().hash(password)
    data.setdefault("users", {})[user.name] = entry
    _write(path, data)


def add_token(path: Path, name: str, user: str) -> str:
    """A new token under `name` for the user; only its hash is kept. UserError where there is no such user."""
    data = _raw(path)
    if user not in data.get("users", {}):
        raise UserError(f"{path} knows no user {user!a}; add it with `reco console add-user {user}`.")
    token = f"reco_{secrets.token_urlsafe(32)}"
    data.setdefault("tokens", {})[name] = {"user": user, "sha256": hashlib.sha256(token.encode()).hexdigest()}
    _write(path, data)
    return token


def remove_user(path: Path, name: str) -> list[str]:
    """Take a user out of the file, with the tokens that stand for the user; returns their names.

    UserError where there is no such user.
    """
    data = _raw(path)
    if name not in data.get("users", {}):
        raise UserError(f"{path} knows no user {name!a}; nothing was changed.")
    del data["users"][name]
    gone = sorted(token for token, told in data.get("tokens", {}).items() if told["user"] == name)
    data["tokens"] = {token: told for token, told in data.get("tokens", {}).items() if token not in gone}
    _write(path, data)
    return gone


def revoke_token(path: Path, name: str) -> None:
    """Take a token out of the file. UserError where there is no such token."""
    data = _raw(path)
    if name not in data.get("tokens", {}):
        known = ", ".join(sorted(data.get("tokens", {}))) or "none"
        raise UserError(f"{path} knows no token {name!a}, of {known}; nothing was changed.")
    del data["tokens"][name]
    _write(path, data)


def _raw(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    _read(path)
    return read_yaml(path, "users file").data


def _read(path: Path) -> tuple[dict[str, User], dict[str, _Token]]:
    document = read_yaml(path, "users file")
    try:
        file = _File.model_validate(document.data)
    except ValidationError as error:
        raise UserError("\n".join(document.sentence(*one) for one in complaints(error, ["users", "tokens"]))) from error
    users = {}
    for name, entry in file.users.items():
        try:
            users[name] = User.model_validate({**entry, "name": name})
        except ValidationError as error:
            known = list(User.model_fields)
            said = [document.sentence(("users", name, *key), what) for key, what in complaints(error, known)]
            raise UserError("\n".join(said)) from error
    return users, file.tokens


def _write(path: Path, data: dict[str, Any]) -> None:
    """In one step and readable by the owner only: a reader never sees half of it."""
    with writing("console.users_file", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            yaml.safe_dump(data, file, sort_keys=True, allow_unicode=True)
        Path(name).replace(path)
