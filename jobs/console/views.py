"""What several pages and the API ask in the same way: a search's answer, an action's carrying out."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from fastapi import HTTPException, Request
from pydantic import ValidationError

from jobs.common.output import printable, unlisted
from jobs.console import actions, redrive, search
from jobs.console.context import Context, colleagues, require_operator
from jobs.console.exceptions import visible
from jobs.console.search import BULK, Query
from jobs.console.security import Caller
from jobs.console.text import whole

UNRESOLVED = "UNRESOLVED"
_LISTS = ("state", "supplier", "type", "severity")


def query_of(pairs: Sequence[tuple[str, str]]) -> Query:
    """The search that a page's link or form says; what is blank says nothing, except a blank state: any.

    422 where a value is none of the allowed ones.
    """
    values: dict[str, Any] = {}
    for name, value in pairs:
        text = value.strip()
        if name in _LISTS:
            held = values.setdefault(name, [])
            held += unlisted(text) if name == "supplier" else [text][: bool(text)]
        elif text and name in Query.model_fields:
            values[name] = text
    if UNRESOLVED in values.get("state", ()):
        del values["state"]
    try:
        return Query.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise HTTPException(422, f"The filter {first['loc'][0]} is not understood: {first['msg']}.") from None


def query_of_request(request: Request) -> Query:
    """The same of a request's query."""
    return query_of(request.query_params.multi_items())


def searched(ours: Context, caller: Caller, query: Query) -> dict[str, Any]:
    """How many exceptions there are, their money at risk, and one page of them."""
    told = search.answer(ours.tables, caller.user, query)
    return {
        "total": told.total,
        "amount_at_risk_usd": told.amount_at_risk_usd,
        "unpriced": told.unpriced,
        "seen": told.seen,
        "page": query.page,
        "pages": max(1, -(-told.total // query.size)),
        "exceptions": [{**row, "seen": actions.seen_of(row)} for row in told.page(query).drop("row").to_dicts()],
    }


def chosen(
    ours: Context, caller: Caller, ids: Sequence[str], query: Query | None, seen: str | None = None
) -> pl.DataFrame:
    """The exceptions named, or all that a search finds; `seen`: what `searched` said of it when the user looked.

    404 where one is not there for this user, 409 for none or too many, and where the search finds others by now.
    """
    rows = visible(ours.tables, caller.user)
    if query is not None:
        found = rows[search.found(rows, query)["at"]]
    else:
        wanted = {whole(one) for one in ids}
        found = rows.filter(pl.col("exception_id").is_in(list(wanted)))
        if found.height < len(wanted):
            raise HTTPException(404, "One of these exceptions is not there, or not for you; nothing was done.")
    if found.is_empty():
        raise HTTPException(409, "Nothing was chosen; tick an exception first.")
    if query is not None and seen is not None and found.height <= BULK and search.seen_of(found) != seen:
        then = seen.partition("-")[0]
        raise HTTPException(
            409,
            f"The search finds others by now than the {int(then):,} that you saw: {found.height:,}, or the same with "
            "another state or amount. Nothing was done; look at them again, and repeat it.",
        )
    if found.height > BULK:
        raise HTTPException(409, f"{found.height:,} exceptions are too many at once; narrow it down to {BULK:,}.")
    return found


def refuse_unseen(rows: pl.DataFrame, saw: Mapping[str, str]) -> None:
    """409 where one of these was found again or changed its amount since somebody looked; `saw`: its `seen` by id.

    Else what came between the look and the click would be resolved unseen, and would not come back.
    """
    wanted = [row for row in rows.iter_rows(named=True) if row["exception_id"] in saw]
    changed = [row for row in wanted if actions.seen_of(row) != saw[row["exception_id"]]]
    if changed:
        first = changed[0]["activity_id"] or changed[0]["supplier_id"]
        raise HTTPException(
            409,
            f"{len(changed):,} of these {rows.height:,} were seen again or changed their amount since you looked "
            f"({printable(first)}): look at them again. Nothing was done.",
        )


def redriven(ours: Context, caller: Caller, reason: str, supplier: str, places: Sequence[str], address: str) -> int:
    """Send quarantined records again and note it; how many. 403 for viewers."""
    require_operator(caller)
    rows = redrive.chosen(ours.tables, caller.user, reason, supplier, places)
    sent = redrive.redrive(ours.tables, rows)
    ours.audit.note("sent again", caller.user.name, address, reason=reason, supplier=supplier, records=sent)
    return sent


def act(ours: Context, caller: Caller, rows: pl.DataFrame, asked: actions.Request, address: str) -> int:
    """Carry the action out and note it; how many exceptions it was written on. UserError says what is wrong with it."""
    by_job = rows.filter(pl.col("resolved_by") == "JOB").height if asked.action is actions.Action.REOPEN else 0
    if by_job:
        raise HTTPException(
            409,
            f"A close or the stream resolved {by_job:,} of these {rows.height:,}, and opens them again when the break "
            "is seen again; reopen only what a person resolved. Nothing was done.",
        )
    names = colleagues(ours, set(rows["supplier_id"].cast(pl.String).unique()))
    written = actions.act(ours.tables, caller.user, rows, asked.checked(names))
    more = {"action": asked.action.value, "exceptions": rows.height, "written": written, "request": asked.request_id}
    ours.audit.note("acted", caller.user.name, address, **more)
    return written
