"""Calls to AWS: clients that give up soon, and errors as one sentence. Needs boto3, which only some commands do."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
)

from jobs.common.command import one_line
from jobs.common.errors import FAILED, UserError

_CONFIG = Config(connect_timeout=10, read_timeout=60, retries={"max_attempts": 4, "mode": "standard"})
_DENIED = ("AccessDenied", "AccessDeniedException", "403", "Forbidden", "UnauthorizedOperation")
_UNKNOWN_KEY = (
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "ExpiredToken",
    "ExpiredTokenException",
)
_DEPLOYS = "let the role or user that deploys have this permission (docs/deploy.md lists them)"


def client(service: str, region: str | None = None) -> Any:
    """A boto3 client; what is not given, like credentials and endpoint, comes from where every AWS tool takes it."""
    with explained(f"use {service}"):
        # The default session keeps what it once read.
        return boto3.session.Session().client(service, region_name=region, config=_CONFIG)


@contextmanager
def explained(doing: str, permit: str = _DEPLOYS) -> Iterator[None]:
    """Errors of AWS as a UserError; `doing` completes "could not …", `permit` is what to do where access is denied."""
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise UserError(
            f"Could not {doing}: there are no AWS credentials here; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or run where a role is attached."
        ) from error
    except NoRegionError as error:
        raise UserError(f"Could not {doing}: no AWS region is set; set AWS_REGION, like eu-west-1.") from error
    except (EndpointConnectionError, ConnectTimeoutError) as error:
        raise UserError(
            f"Could not {doing}: AWS does not answer ({one_line(error)}); see network and region.", FAILED
        ) from error
    except ClientError as error:
        raise UserError(_sentence(doing, permit, error), FAILED) from error
    except BotoCoreError as error:
        raise UserError(f"Could not {doing}: {one_line(error)}.", FAILED) from error


def _sentence(doing: str, permit: str, error: ClientError) -> str:
    code = error.response.get("Error", {}).get("Code", "")
    if code in _DENIED:
        return f"Could not {doing}: access denied for {error.operation_name}; {permit}."
    if code in _UNKNOWN_KEY:
        return (
            f"Could not {doing}: AWS refuses the credentials ({code}); renew them, or choose others with AWS_PROFILE."
        )
    return f"Could not {doing}: {one_line(error)}."
