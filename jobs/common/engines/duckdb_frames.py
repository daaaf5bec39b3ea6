"""sqlframe's session and frames on DuckDB, so that they give what PySpark's give."""

from typing import TYPE_CHECKING, Any

from pyspark.sql import Row
from sqlframe.duckdb import DuckDBDataFrame, DuckDBSession
from sqlframe.duckdb.table import DuckDBTable

if TYPE_CHECKING:
    from jobs.common.engines.duckdb import DuckDBEngine


class _Joining:
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
