"""Secrets by reference: settings and files name where a secret is, never the secret itself."""

import os
from pathlib import Path
from typing import Any

from jobs.common.errors import UserError

AWS = "aws-secretsmanager"
#: The kinds of reference, as errors and help tell them.
FORMS = f"env:NAME, file:PATH or {AWS}:NAME#KEY"
_SCHEMES = ("env", "file", AWS)


def is_reference(value: str) -> bool:
    """Whether it has the form of a reference, and so is no secret itself."""
    scheme, _, place = value.partition(":")
    return scheme in _SCHEMES and bool(place)


def as_reference(value: Any) -> Any:
    """The value, where it is a reference; for pydantic. Raises ValueError that does not show it: it may be a secret."""
    if not isinstance(value, str) or not is_reference(value):
        raise ValueError(f"a secret is not written down but referred to: {FORMS}")
    return value


def secret(reference: str, what: str) -> str:
    """The secret that a reference leads to, without the newline a file may end with.

    `env:NAME`, `file:PATH`, or `aws-secretsmanager:NAME`, a secret of AWS by its name or ARN, with `#KEY` one value of
    the JSON object that it holds. `what` names its use in errors, like "conf/suppliers/acme.yaml: auth.token". Raises
    UserError where the reference has another form (the text itself is not shown: it may be the secret), or where
    nothing is there.
    """
    scheme, _, place = reference.partition(":")
    if not is_reference(reference):
        raise UserError(f"{what}: a secret is not written down but referred to: {FORMS}.")
    if scheme == AWS:
        from jobs.common.secrets_aws import from_aws

        return from_aws(place, what)
    found = os.environ.get(place) if scheme == "env" else _content(Path(place).expanduser(), what)
    if not found:
        # Not behind the colon, where a log takes it for the secret itself.
        raise UserError(f"{what} refers to {reference}, which is not set or empty; put the secret there.")
    return found


def _content(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UserError(f"{what}: the secret's file {path} cannot be read: {reason}.") from error
