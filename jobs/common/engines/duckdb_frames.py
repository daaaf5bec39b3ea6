"""sqlframe's session and frames on DuckDB, so that they give what PySpark's give."""

from collections.abc import Sequence
from copy import deepcopy
from functools import cache, lru_cache
from itertools import count
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from pyspark.sql import Row
from sqlframe.base import column as columns
from sqlframe.base import dataframe, normalize, util
from sqlframe.base.column import Column
from sqlframe.duckdb import DuckDBDataFrame, DuckDBSession
from sqlframe.duckdb.table import DuckDBTable
from sqlglot import exp
from sqlglot.dialects import Dialect

_SPARK = Dialect.get_or_raise("spark")
_NAMED = (exp.Alias, exp.Column)
_NUMBERS = count(1)
#: So many names are known as they are written.
_KEPT = 4096

if TYPE_CHECKING:
    from jobs.common.engines.duckdb import DuckDBEngine


def column_of(name: str, quoted: bool | None = False) -> exp.Column:
    """A column as sqlframe makes it of a name; what it was called is noted only where that is no longer its name."""
    column = exp.Column(this=_SPARK.normalize_identifier(exp.Identifier(this=name, quoted=bool(quoted))))
    if column.name != name:
        column.meta["display_name"] = name
    return column


@lru_cache(_KEPT)
def _written(name: str, quoted: bool) -> str:
    return str(exp.Identifier(this=name, quoted=quoted).sql(dialect=_SPARK))


def _name_of(part: Any, by_sqlframe: Any = util.quote_preserving_alias_or_name) -> str:
    """What a part of a selection is called, in quotes where it has some; sqlframe copies and writes it each time."""
    named = part.args["alias"] if isinstance(part, exp.Alias) else part
    named = named.this if isinstance(named, exp.Column) and not named.args.get("db") else named
    if isinstance(named, exp.Identifier):
        return _written(named.this, bool(named.args.get("quoted")))
    return str(by_sqlframe(part))


def _normalized(
    session: Any, context: exp.Select, parts: Sequence[Any], *, remove_identifier_if_possible: bool = True
) -> None:
    """As sqlframe's own, without the copy of each name that it makes and throws away."""
    for part in normalize._ensure_expressions(parts):
        for name in part.find_all(exp.Identifier):
            for replaced in (
                normalize.replace_alias_name_with_cte_name,
                normalize.replace_branch_and_sequence_ids_with_cte_name,
            ):
                replaced(session, context, name, remove_identifier_if_possible=remove_identifier_if_possible)


def _copied(whole: Any, _memo: object = None) -> Any:
    """A copy of a part of a statement with all below it, as sqlglot's own in half the time.

    sqlglot asks Python's `copy` for each, and each part to make itself known to the one above it.
    """
    root = _bare(whole)
    left = [(whole, root)]
    while left:
        node, copy = left.pop()
        into = copy.args
        for key, value in node.args.items():
            if isinstance(value, exp.Expr):
                into[key] = part = _bare(value)
                part.parent, part.arg_key = copy, key
                left.append((value, part))
            elif type(value) is list:
                into[key] = parts = []
                for place, item in enumerate(value):
                    part = item
                    if isinstance(item, exp.Expr):
                        part = _bare(item)
                        part.parent, part.arg_key, part.index = copy, key, place
                        left.append((item, part))
                    parts.append(part)
            else:
                into[key] = value
    return root


def _bare(node: Any) -> Any:
    """A copy of a part without those below it, that stands by itself."""
    copy = object.__new__(type(node))
    copy.args = {}
    copy.parent = copy.arg_key = copy.index = None
    copy.comments = None if node.comments is None else list(node.comments)
    copy._type = None if node._type is None else deepcopy(node._type)
    copy._meta = None if node._meta is None else dict(node._meta)
    copy._hash = node._hash
    return copy


#: It asks by which functions to go for each column, and looks through all dialects each time.
util.dialect_to_string = cache(util.dialect_to_string)
dataframe.quote_preserving_alias_or_name = columns.quote_preserving_alias_or_name = _name_of
normalize.normalize = _normalized
exp.Expression.copy = exp.Expression.__deepcopy__ = _copied


class _Quick:
    """What sqlframe does with each step of a frame, without a third of its time."""

    def copy(self: Any, **named: Any) -> Any:
        """Without a copy of what is given anew, which is most often the whole text."""
        kept = {name: value for name, value in vars(self).items() if name not in named and name != "session"}
        copies = {name: value.copy() if hasattr(value, "copy") else value for name, value in kept.items()}
        return type(self)(session=self.session, **{**copies, **named, "join_on_uuid": str(uuid4())})

    def _convert_leaf_to_cte(self: Any, sequence_id: str | None = None, name: str | None = None) -> Any:
        """With one copy of the text, and a number for a name, which else is made of all the text."""
        whole = self.expression
        if self.pending_hints or not isinstance(whole, exp.Select) or whole.args.get("joins"):
            return super()._convert_leaf_to_cte(sequence_id, name)  # type: ignore[misc]
        leaf, name, sequence_id = whole.copy(), name or f"leaf_{next(_NUMBERS)}", sequence_id or self.sequence_id
        past, alias = leaf.ctes, exp.TableAlias(this=exp.to_identifier(name))
        leaf.set("with_", None)
        # Else DuckDB makes a table of every step that two others rest on, with all that neither asks of it.
        cte = exp.CTE(this=leaf, alias=alias, materialized=False, branch_id=self.branch_id, sequence_id=sequence_id)
        parts = [column.expression for column in self._get_outer_select_columns(cte)]
        text = exp.Select(with_=exp.With(expressions=[*past, cte]), expressions=parts).from_(name, copy=False)
        return self.copy(expression=text, sequence_id=sequence_id)

    def _get_expressions(self: Any, optimize: bool = False, **options: Any) -> list[Any]:
        """Of a text without caches and places in arrays with one copy of it."""
        if optimize or self.pending_hints or type(self.output_expression_container) is not exp.Select:
            return list(super()._get_expressions(optimize, **options))  # type: ignore[misc]
        if not isinstance(self.expression, exp.Select) or self.expression.find(exp.Bracket):
            return list(super()._get_expressions(optimize, **options))  # type: ignore[misc]
        select = self.expression.copy()
        self._set_display_names(select)
        return [select]

    @classmethod
    def _get_outer_select_columns(cls, item: Any) -> list[Any]:
        """The same columns as of their names' texts, without writing and parsing these."""
        select = item.find(exp.Select)
        named = [part.args.get("alias" if isinstance(part, exp.Alias) else "this") for part in select.expressions]
        if not all(isinstance(name, exp.Identifier) and type(name.parent) in _NAMED for name in named):
            return list(super()._get_outer_select_columns(item))  # type: ignore[misc]
        return [Column(column_of(name.this, name.args.get("quoted"))) for name in named]

    def _replace_cte_names_with_hashes(self, expression: Any) -> Any:
        """As they are: nobody reads a statement but DuckDB."""
        return expression


class _Joining(_Quick):
    """Frames that begin anew after a join: sqlframe is at a loss over names that both sides had.

    So do both parts of a union, and what it gives: its text would hold the past of both, and take sqlframe seconds.
    """

    def join(self, *arguments: Any, **options: Any) -> Any:
        joined: Any = super().join(*arguments, **options)  # type: ignore[misc]
        return joined.session.engine.renewed(joined)

    def unionByName(self: Any, other: Any, *arguments: Any, **options: Any) -> Any:  # noqa: N802 — PySpark's name
        renewed = self.session.engine.renewed
        first: Any = super(_Joining, renewed(self))
        return renewed(first.unionByName(renewed(other), *arguments, **options))


class _Frame(_Joining, DuckDBDataFrame):  # type: ignore[misc]
    pass


class _Table(_Joining, DuckDBTable):  # type: ignore[misc]
    _df = _Frame


class DuckSession(DuckDBSession):  # type: ignore[misc]
    """PySpark's session. The rows it gives out are pyspark's, with decimals, and times that know their zone."""

    engine: "DuckDBEngine"
    _df = _Frame
    _table = _Table
    _normalize_string = lru_cache(_KEPT)(DuckDBSession._normalize_string)

    def _collect(self, expressions: Any, *, skip_rows: bool = False, **options: Any) -> list[Row]:
        super()._collect(expressions, skip_rows=True, **options)
        if skip_rows or not self._cur.description:
            return []
        names, kinds = zip(*[(column[0], column[1]) for column in self._cur.description], strict=True)
        make = Row(*names)
        return [make(*map(_value, row, kinds)) for row in self._cur.fetchall()]


def _value(value: Any, kind: Any) -> Any:
    """A value as Spark gives it out: structs as rows."""
    if value is None:
        return None
    if kind.id == "struct":
        return Row(**{name: _value(value[name], inner) for name, inner in kind.children})
    if kind.id == "list":
        return [_value(item, kind.children[0][1]) for item in value]
    return value
