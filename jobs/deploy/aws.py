"""Calls to AWS that deploying makes."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from botocore.exceptions import ClientError

from jobs.common.aws import client, explained
from jobs.common.errors import FAILED, UserError
from jobs.deploy.artifacts import Artifact
from jobs.deploy.plan import Change

#: How long a job that is replaced may take to end, seconds; until then the new one is not started.
END_SECONDS = 300


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
