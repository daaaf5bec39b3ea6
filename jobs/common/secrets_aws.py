"""Secrets of AWS Secrets Manager, each asked for once in five minutes: a stream refers to them in every micro-batch."""

import json
import re
import time

from jobs.common.errors import UserError

#: So long a secret that was read is used before it is asked for again, seconds; a new one is known after that.
KEPT_SECONDS = 300.0
_ARN = re.compile(r"arn:[^:]*:secretsmanager:([^:]+):")
_kept: dict[str, tuple[float, str]] = {}


def from_aws(place: str, what: str) -> str:
    """The secret by its name or ARN; after a `#`, that value of the JSON object that it holds.

    `what` names its use in errors. Raises UserError where it is not there, not allowed, or not what was referred to.
    """
    name, _, key = place.partition("#")
    text = _text(name, what)
    if not key:
        return text
    try:
        held = json.loads(text)
    except ValueError:
        held = None
    if not isinstance(held, dict):
        raise UserError(f"{what}: the secret {name} of AWS holds no JSON object; refer to it without #{key}.")
    found = held.get(key)
    if not isinstance(found, str) or not found:
        there = ", ".join(sorted(held)) or "nothing"
        raise UserError(f"{what}: the secret {name} of AWS has no text under {key!r}; it has {there}.")
    return found


def _text(name: str, what: str) -> str:
    at, text = _kept.get(name, (0.0, ""))
    if text and time.monotonic() - at < KEPT_SECONDS:
        return text
    text = _ask(name, what)
    if not text:
        raise UserError(f"{what}: the secret {name} of AWS is empty or no text; put the secret there.")
    _kept[name] = (time.monotonic(), text)
    return text


def _ask(name: str, what: str) -> str:
    try:
        from botocore.exceptions import ClientError

        from jobs.common import aws
    except ModuleNotFoundError as error:
        raise UserError(f"{what}: secrets of AWS need the package boto3: pip install 'reco[aws]'.") from error
    of = _ARN.match(name)
    permit = "let whoever runs this have secretsmanager:GetSecretValue on it (conf/iam/secrets.json)"
    with aws.explained(f"read the secret {name} of AWS for {what}", permit):
        try:
            told = aws.client("secretsmanager", of[1] if of else None).get_secret_value(SecretId=name)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "ResourceNotFoundException":
                raise UserError(
                    f"{what}: there is no secret {name} of AWS in this account and region; create it, or correct the "
                    "reference."
                ) from error
            raise
    return str(told.get("SecretString") or "")
