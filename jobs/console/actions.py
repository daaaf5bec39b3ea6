"""What people do about exceptions: written to a table of their own, append-only, and folded into one row each."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from threading import Lock
from typing import Any

import polars as pl
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from jobs.common.arrow import delta_schema, polars_schema
from jobs.common.errors import FAILED, UserError
from jobs.console.tables import Tables
from jobs.console.text import whole
from jobs.console.users import User
from schemas.tables import TABLES

TABLE = "exception_actions"
MAX_COMMENT = 2_000
_TRIES = 5
_PROPERTIES = {"delta.appendOnly": "true", "delta.logRetentionDuration": "interval 3650 days"}
_WRITING = Lock()


class Action(StrEnum):
    """What a person may do about an exception."""

    ACKNOWLEDGE = "ACKNOWLEDGE"
    ASSIGN = "ASSIGN"
    COMMENT = "COMMENT"
    RESOLVE = "RESOLVE"
    REOPEN = "REOPEN"


#: Why a person resolves an exception.
REASONS = (
    "FIXED_AT_SUPPLIER",
    "FIXED_AT_AGODA",
    "ACCEPTED_DIFFERENCE",
    "DUPLICATE_OF_ANOTHER",
    "FALSE_ALARM",
    "WRITTEN_OFF",
)


@dataclass(frozen=True)
class Request:
    """One thing done to some exceptions. `request_id` makes it happen once, however often it is sent."""

    action: Action
    request_id: str
    assignee: str | None = None
    reason: str | None = None
    comment: str | None = None

    def checked(self, names: Sequence[str]) -> "Request":
        """The request, tidied. UserError where something is missing or unknown; `names`: whom it can be given to."""
        comment = whole(self.comment or "").strip() or None
        assignee = whole(self.assignee or "").strip() or None
        if not re.fullmatch(r"[A-Za-z0-9_-]{8,64}", self.request_id):
            raise UserError("request_id is 8 to 64 letters, digits, - or _; take a new one for each action.")
        if comment is not None and len(comment) > MAX_COMMENT:
            raise UserError(f"The comment has {len(comment)} characters; {MAX_COMMENT} are allowed: shorten it.")
        if self.action is Action.COMMENT and comment is None:
            raise UserError("A comment says something: write it, or choose another action.")
        if self.action is Action.RESOLVE and self.reason not in REASONS:
            raise UserError(f"Resolving needs a reason: one of {', '.join(REASONS)}.")
        if self.action is Action.ASSIGN and assignee is not None and assignee not in names:
            raise UserError(f"There is no user {assignee!a} who sees this exception; choose one of the list.")
        resolves, assigns = self.action is Action.RESOLVE, self.action is Action.ASSIGN
        reason = self.reason if resolves else None
        return Request(self.action, self.request_id, assignee if assigns else None, reason, comment)


def act(tables: Tables, user: User, rows: pl.DataFrame, request: Request) -> int:
    """Write the action on each row of exceptions in one commit; how many were written, 0 for a repeat.

    UserError where the table cannot be written (the action can then be sent again), or where the request's id was
    used for something else.
    """
    now = datetime.now(UTC)
    written = pl.DataFrame(
        [_row(row, user, request, now) for row in rows.iter_rows(named=True)],
        schema=polars_schema(TABLES[TABLE].schema),
        orient="row",
    )
    with _WRITING:
        known = tables.scan(TABLE)
        if known is not None:
            same = known.filter(pl.col("request_id") == request.request_id)
            ours = same.select("action_id", *_SAME).collect()
            _refuse_another(ours, user, request)
            written = written.join(ours, on="action_id", how="anti")
        if not written.is_empty():
            _append(tables, written)
    return written.height


#: What every action of one request shares.
_SAME = ("action", "acted_by", "assignee", "reason", "comment")


def _refuse_another(known: pl.DataFrame, user: User, request: Request) -> None:
    """Somebody who takes an id a second time for something else would believe it was done."""
    asked = (request.action.value, user.name, request.assignee, request.reason, request.comment)
    if any(row != asked for row in known.select(_SAME).unique().iter_rows()):
        raise UserError("This request_id was used for another action; nothing was done: take a new one.")


def _row(row: dict[str, Any], user: User, request: Request, now: datetime) -> dict[str, Any]:
    return {
        "action_id": hashlib.sha256(f"{request.request_id}\x1f{row['exception_id']}".encode()).hexdigest(),
        "request_id": request.request_id,
        **{name: row[name] for name in ("exception_id", "supplier_id", "activity_id", "anomaly_type")},
        "action": request.action.value,
        "acted_by": user.name,
        "acted_at": now,
        "assignee": request.assignee,
        "reason": request.reason,
        "comment": request.comment,
        "seen_last_seen_date": row["last_seen_date"],
        "seen_reopened": row["reopened"],
        "seen_amount_at_risk_usd": row["amount_at_risk_usd"],
    }


def seen_of(row: Mapping[str, Any]) -> str:
    """What decides whether an exception comes back after somebody resolved it, as that person saw it, in one word."""
    told = (row["last_seen_date"], row["reopened"] or 0, row["amount_at_risk_usd"])
    return hashlib.sha256("|".join("" if part is None else f"{part}" for part in told).encode()).hexdigest()[:16]


def _append(tables: Tables, rows: pl.DataFrame) -> None:
    described = TABLES[TABLE]
    for left in range(_TRIES - 1, -1, -1):
        try:
            table = tables.table(TABLE) or DeltaTable.create(
                tables.settings.table_path(TABLE),
                delta_schema(described.schema),
                mode="ignore",
                description=described.comment,
                configuration={**_PROPERTIES, **described.all_properties},
            )
            write_deltalake(DeltaTable(table.table_uri), rows, mode="append")
        except CommitFailedError as error:  # somebody else's commit took the version: take the next
            if not left:
                raise UserError(f"{described.path} is busy; nothing was written, send it again.", FAILED) from error
        except (DeltaError, OSError) as error:
            raise UserError(f"{described.path} cannot be written: {error}; nothing was changed.", FAILED) from error
        else:
            return


def history(tables: Tables, exception_id: str) -> list[dict[str, Any]]:
    """Every action on the exception, the oldest first."""
    found = tables.scan(TABLE)
    if found is None:
        return []
    ours = found.filter(pl.col("exception_id") == exception_id).unique("action_id", keep="first")
    return ours.sort("acted_at", "action_id").collect().to_dicts()


def folded(tables: Tables) -> pl.DataFrame:
    """One row an exception that somebody acted on: acknowledged, assignee, resolved, by whom, on what they saw."""
    return folded_numbered(tables)[1]


def folded_numbered(tables: Tables) -> tuple[int, pl.DataFrame]:
    """The same, with a number that is another once somebody acted."""
    return tables.numbered("actions", (TABLE,), lambda: _folded(tables))


def _folded(tables: Tables) -> pl.DataFrame:
    schema = polars_schema(TABLES[TABLE].schema)
    found = tables.scan(TABLE)
    rows = pl.LazyFrame(schema=schema) if found is None else found.select(list(schema))
    action, decides = pl.col("action"), pl.col("action").is_in(["RESOLVE", "REOPEN"])
    at, acknowledges, assigns = pl.col("acted_at"), action == "ACKNOWLEDGE", action == "ASSIGN"

    def decided(name: str) -> pl.Expr:
        return pl.col(name).filter(decides).last()

    seen = ("seen_last_seen_date", "seen_reopened", "seen_amount_at_risk_usd")
    return (
        rows.sort("acted_at", "action_id")
        .group_by("exception_id")
        .agg(
            (decided("action") == "RESOLVE").fill_null(False).alias("resolved"),
            decided("acted_by").alias("decided_by"),
            decided("acted_at").alias("decided_at"),
            (at.filter(acknowledges).max() > at.filter(decides).max())
            .fill_null(acknowledges.any() & ~decides.any())
            .alias("acknowledged"),
            pl.col("assignee").filter(assigns).last(),
            *(decided(name) for name in seen),
        )
        .collect()
    )
