"""AWS Glue's catalog through boto3: makes what is missing, brings up to date what differs, leaves the rest alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from jobs.common.command import one_line
from jobs.common.errors import FAILED, UserError

_CONFIG = Config(retries={"max_attempts": 5, "mode": "standard"}, connect_timeout=10, read_timeout=30)
#: Table types and engines write parameters of their own; ours are compared, theirs are kept.
_COMPARED = ("Description", "TableType", "PartitionKeys", "StorageDescriptor")


def register(database: str, tables: list[dict[str, Any]], comment: str) -> dict[str, str]:
    """What became of each table of a database: created, updated, or same. UserError where Glue refuses."""
    with _told(database):
        glue = boto3.client("glue", config=_CONFIG)
        _ensure_database(glue, database, comment)
        return {table["Name"]: _bring(glue, database, table) for table in tables}


def _ensure_database(glue: Any, database: str, comment: str) -> None:
    try:
        glue.get_database(Name=database)
    except glue.exceptions.EntityNotFoundException:
        glue.create_database(DatabaseInput={"Name": database, "Description": comment})


def _bring(glue: Any, database: str, wanted: dict[str, Any]) -> str:
    try:
        found = glue.get_table(DatabaseName=database, Name=wanted["Name"])["Table"]
    except glue.exceptions.EntityNotFoundException:
        glue.create_table(DatabaseName=database, TableInput=wanted)
        return "created"
    location, ours = found.get("StorageDescriptor", {}).get("Location"), wanted["StorageDescriptor"]["Location"]
    if location != ours:
        raise UserError(
            f"Glue's table {database}.{wanted['Name']} lies in {location} and not in {ours}: it is another lake's; "
            "register this one in a database of its own (--database), or remove that table.",
            FAILED,
        )
    parameters = {**found.get("Parameters", {}), **wanted["Parameters"]}
    is_same = parameters == found.get("Parameters", {}) and all(_same(wanted[key], found.get(key)) for key in _COMPARED)
    if is_same:
        return "same"
    glue.update_table(DatabaseName=database, TableInput={**wanted, "Parameters": parameters})
    return "updated"


def _same(wanted: Any, found: Any) -> bool:
    """Whether Glue has it, whatever else it has filled in beside it."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(_same(value, found.get(key)) for key, value in wanted.items())
    if isinstance(wanted, list):
        found = found or []
        return len(wanted) == len(found) and all(map(_same, wanted, found))
    return bool(wanted == found)


@contextmanager
def _told(database: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        told = error.response.get("Error", {})
        raise UserError(
            f"Glue refused {error.operation_name} on the database {database}: {told.get('Code')}: "
            f"{told.get('Message')}; docs/warehouse.md lists the permissions that this needs.",
            FAILED,
        ) from error
    except BotoCoreError as error:
        raise UserError(
            f"Glue cannot be asked for the database {database}: {one_line(error)}; region and credentials come from "
            "AWS_REGION, AWS_PROFILE or the role of this machine.",
            FAILED,
        ) from error
