"""Secrets by reference: settings and files name where a secret is, never the secret itself."""

import os
from pathlib import Path

from jobs.common.errors import UserError


def secret(reference: str, what: str) -> str:
    """The secret that `env:NAME` or `file:PATH` refers to, without the newline a file may end with.

    `what` names its use in errors, like "conf/suppliers/acme.yaml: auth.token". Raises UserError where the reference
    has another form (the text itself is not shown: it may be the secret), or where nothing is there.
    """
    scheme, _, place = reference.partition(":")
    if scheme not in ("env", "file") or not place:
        raise UserError(f"{what}: a secret is not written down but referred to: env:NAME or file:PATH.")
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
