"""Calls to AWS: clients that give up soon, and errors as one sentence."""

import time
from collections.abc import Callable, Iterator, Sequence
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
from jobs.deploy.artifacts import Artifact
from jobs.deploy.plan import Change

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
#: How long a job that is replaced may take to end, seconds; until then the new one is not started.
END_SECONDS = 300


def client(service: str) -> Any:
    """A boto3 client; region, credentials and endpoint come from where every AWS tool takes them."""
    with explained(f"use {service}"):
        return boto3.session.Session().client(service, config=_CONFIG)  # the default session keeps what it once read


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """Errors of AWS as a UserError; `doing` completes "could not …"."""
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
        raise UserError(_sentence(doing, error), FAILED) from error
    except BotoCoreError as error:
        raise UserError(f"Could not {doing}: {one_line(error)}.", FAILED) from error


def _sentence(doing: str, error: ClientError) -> str:
    code = error.response.get("Error", {}).get("Code", "")
    if code in _DENIED:
        return (
            f"Could not {doing}: access denied for {error.operation_name}; let the role or user that deploys have this "
            "permission (docs/deploy.md lists them)."
        )
    if code in _UNKNOWN_KEY:
        return (
            f"Could not {doing}: AWS refuses the credentials ({code}); renew them, or choose others with AWS_PROFILE."
        )
    return f"Could not {doing}: {one_line(error)}."


def uploads(bucket: str, prefix: str, artifacts: Sequence[Artifact]) -> tuple[list[Change], list[str]]:
    """What must be uploaded to `s3://bucket/prefix/`, and the names there. UserError where there is no bucket."""
    s3 = client("s3")
    changes, kept = [], []
    with explained(f"look into the bucket {bucket}"):
        try:
            s3.head_bucket(Bucket=bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchBucket"):
                raise UserError(
                    f"There is no bucket {bucket} in this account and region: create it, or correct `bucket` in the "
                    "deployment file."
                ) from error
            raise
        for artifact in artifacts:
            key = f"{prefix}/{artifact.name}"
            if _is_there(s3, bucket, key):
                kept.append(artifact.name)
            else:
                changes.append(Change("upload", f"s3://{bucket}/{key}", _upload(s3, bucket, key, artifact.content)))
    return changes, kept


def wait_until_ended(what: str, ended: Callable[[], bool], seconds: float = END_SECONDS, pause: float = 1) -> None:
    """Wait for a job that was asked to end: two of them must never write the same tables."""
    deadline = time.monotonic() + seconds
    while not ended():
        if time.monotonic() > deadline:
            raise UserError(
                f"{what} has not ended {seconds:.0f} s after it was asked to: end it on its platform and deploy again; "
                "nothing was started beside it.",
                FAILED,
            )
        time.sleep(pause)


def _is_there(s3: Any, bucket: str, key: str) -> bool:
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
            return False
        raise
    return True


def _upload(s3: Any, bucket: str, key: str, content: bytes) -> Callable[[], None]:
    def upload() -> None:
        with explained(f"upload s3://{bucket}/{key}"):
            s3.put_object(Bucket=bucket, Key=key, Body=content)

    return upload
