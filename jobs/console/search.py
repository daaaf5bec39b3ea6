"""Finding exceptions: filters, search, order and pages, all of them in a link's query."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal
from urllib.parse import urlencode

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, field_validator

from jobs.common.output import listed
from jobs.console.exceptions import AGES, EXACT, Whole, age_bucket, whole
from jobs.console.ranks import chosen
from jobs.console.tables import Tables
from jobs.console.users import User

SORTS = ("amount_at_risk_usd", "since", "changed_at", "supplier_id", "anomaly_type", "severity", "state", "activity_id")
MAX_PAGE = 500
#: Exceptions that one action may be about.
BULK = 50_000
_SEEN = ("exception_id", "state", "amount_at_risk_usd")


class Query(BaseModel):
    """What is looked for; each list is any of its values, and an empty one anything."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    state: list[Literal["OPEN", "PENDING", "RESOLVED"]] = Field(default=["OPEN", "PENDING"], max_length=3)
    supplier: list[str] = Field(default=[], max_length=500, description="supplier_id")
    type: list[str] = Field(default=[], max_length=20, description="anomaly_type")
    severity: list[Literal["CRITICAL", "HIGH", "MEDIUM", "LOW"]] = Field(default=[], max_length=4)
    age: int | None = Field(default=None, ge=0, lt=len(AGES), description="index of the age bucket, the youngest is 0")
    verdict: Literal["", "FINAL", "PROVISIONAL"] = ""
    acknowledged: Literal["", "yes", "no"] = ""
    assignee: str = Field(default="", max_length=64, description="a user; `-` for nobody")
    held: Literal["", "yes", "no"] = ""
    q: str = Field(default="", max_length=200, description="part of an activity, a supplier or an exception's id")
    sort: Literal[
        "amount_at_risk_usd", "since", "changed_at", "supplier_id", "anomaly_type", "severity", "state", "activity_id"
    ] = "amount_at_risk_usd"
    order: Literal["asc", "desc"] = "desc"
    page: int = Field(default=1, ge=1, le=1_000_000)
    size: int = Field(default=50, ge=1, le=MAX_PAGE)

    @field_validator("state", mode="before")
    @classmethod
    def _any(cls, value: object) -> object:
        return [one for one in value if one != ""] if isinstance(value, list) else value

    def link(self, **changes: object) -> str:
        """The query of a link to the same search with other values; defaults are left out.

        A supplier with a comma in its id is quoted, since a link may have several in one value, as people type them.
        """
        wanted = self.model_copy(update={"page": 1, **changes})
        values = {name: value for name, value in wanted if value != Query.model_fields[name].default}
        if values.get("state") == []:
            values["state"] = [""]
        values |= {"supplier": [listed([one]) for one in wanted.supplier]} if wanted.supplier else {}
        return urlencode(values, doseq=True)


@dataclass(frozen=True)
class Answer:
    """What a search finds: how many, their money, how many have no price, the `row` of each in its order.

    `seen` tells it from what another search finds, see `seen_of`; None for more than one action may be about.
    """

    whole: pl.DataFrame
    total: int
    amount_at_risk_usd: Decimal
    unpriced: int
    rows: pl.Series
    seen: str | None

    def page(self, query: Query) -> pl.DataFrame:
        """One page of it."""
        return self.whole[self.rows.slice((query.page - 1) * query.size, query.size)]


def answer(tables: Tables, user: User, query: Query, now: datetime | None = None) -> Answer:
    """What the query finds for the user, as of this minute; kept for whoever asks the same, or for another page."""
    known = whole(tables)
    at = now or datetime.now(UTC)
    same = query.model_copy(update={"page": 1, "size": 50}).model_dump_json()
    minute = int(at.timestamp() // 60) if query.age is not None else 0
    key = (known.number, user.suppliers, same, minute)
    kept: tuple[Any, ...] = tables.recent.get(key, lambda: _answered(known, user, query, at))
    return Answer(known.rows, *kept)


def _answered(known: Whole, user: User, query: Query, now: datetime) -> tuple[Any, ...]:
    hits = found(known.rows, query, now, user)
    risk = hits["amount_at_risk_usd"]
    seen = None if hits.height > BULK else seen_of(known.rows.select(_SEEN)[hits["row"]])
    return hits.height, risk.cast(EXACT).sum(), risk.null_count(), _in_order(known, hits, query), seen


def seen_of(rows: pl.DataFrame) -> str:
    """How many exceptions these are, and a number made of which they are, their state and money, whatever their order.

    Nobody gains by making another set with the same number: a user may act on either.
    """
    parts = rows.select(pl.struct(pl.col(_SEEN[0]), pl.col(_SEEN[1]).cast(pl.String), _SEEN[2]).hash().sort())
    return f"{rows.height}-{hashlib.sha256(repr(parts.to_series().to_list()).encode()).hexdigest()[:16]}"


def found(rows: pl.DataFrame, query: Query, now: datetime | None = None, user: User | None = None) -> pl.DataFrame:
    """What the query finds among the rows (that the user may see), in no order: where (`at`), `row` and
    `amount_at_risk_usd` only.

    Copies of all columns of a million rows would take longer than everything else together.
    """
    conditions = list(_conditions(query, now or datetime.now(UTC)))
    if user is not None and user.suppliers is not None:
        conditions.append(pl.col("supplier_id").cast(pl.String).is_in(list(user.suppliers)))
    numbered = rows.lazy().with_row_index("at")
    chosen_rows = numbered.filter(*conditions) if conditions else numbered
    return chosen_rows.select("at", "row", "amount_at_risk_usd").collect()


def ordered(known: Whole, hits: pl.DataFrame, query: Query) -> pl.DataFrame:
    """What was found among the rows of `known`, in the query's order; equals by exception id, without value last."""
    return known.rows[_in_order(known, hits, query)]


def _in_order(known: Whole, hits: pl.DataFrame, query: Query) -> pl.Series:
    return chosen(known.ranks(query.sort).of(query.sort, query.order), hits["row"])


def _conditions(query: Query, now: datetime) -> Iterator[pl.Expr]:
    for name, wanted in (
        ("state", query.state),
        ("supplier_id", query.supplier),
        ("anomaly_type", query.type),
        ("severity", query.severity),
    ):
        if wanted and not (name == "state" and len(wanted) == 3):
            yield pl.any_horizontal(pl.col(name) == one for one in wanted)
    if query.age is not None:
        yield age_bucket(now) == query.age
    if query.verdict:
        yield pl.col("verdict") == query.verdict
    if query.acknowledged:
        yield pl.col("acknowledged") == (query.acknowledged == "yes")
    if query.held:
        yield pl.col("held") == (query.held == "yes")
    if query.assignee:
        yield pl.col("assignee").is_null() if query.assignee == "-" else pl.col("assignee") == query.assignee
    words = query.q.strip()
    if words:
        lower = words.lower()
        in_text = pl.col("activity_id").str.contains(words, literal=True)
        in_supplier = pl.col("supplier_id").cast(pl.String).str.to_lowercase().str.contains(lower, literal=True)
        # An activity is mostly pasted whole, as written; in the other case of letters it is looked for too.
        in_upper = pl.col("activity_id").str.contains(words.upper(), literal=True)
        yield (in_text | in_upper | in_supplier | (pl.col("exception_id") == lower)).fill_null(False)
