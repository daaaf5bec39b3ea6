"""What is done in sqlglot's and sqlframe's place gives what they give."""

from copy import deepcopy
from typing import Any

import pytest

pytest.importorskip("sqlframe.duckdb", reason="DuckDB is not installed here")

from sqlglot import exp, parse_one

from jobs.common.engines import duckdb_frames as frames

TEXT = (
    "WITH a AS (SELECT x, 'it''s' AS y, CAST(z AS DECIMAL(28, 6)) AS z FROM t WHERE x IN (1, NULL)) "
    "SELECT /* why */ a.*, CASE WHEN x > 1 THEN COALESCE(y, 'n') END AS c, SUM(z) OVER (PARTITION BY x ORDER BY y), "
    "ARRAY(1, 2)[0] AS e FROM a LEFT JOIN b USING (x) GROUP BY ALL"
)


def _parts(whole: exp.Expr) -> list[tuple[Any, ...]]:
    """Every part by what it is, where it hangs and what is noted of it."""
    return [
        (type(part), part.arg_key, part.index, part.depth, part.comments, part._meta, part._hash)
        for part in whole.walk()
    ]


def test_a_copy_is_whole_and_stands_by_itself() -> None:
    assert exp.Expression.copy is frames._copied
    whole = parse_one(TEXT, dialect="spark")
    for column in whole.find_all(exp.Column):
        column.meta["display_name"] = "X"
    hash(whole)
    for copy in (whole.copy(), deepcopy(whole)):
        assert copy == whole
        assert _parts(copy) == _parts(whole)
        assert copy.sql(dialect="duckdb") == whole.sql(dialect="duckdb")
        assert not {id(part) for part in copy.walk()} & {id(part) for part in whole.walk()}
    before = whole.sql()
    changed = whole.copy()
    for column in changed.find_all(exp.Column):
        column.meta["display_name"] = "Y"
        column.set("this", exp.to_identifier("other"))
    assert (whole.sql(), changed == whole) == (before, False)
    assert {column.meta["display_name"] for column in whole.find_all(exp.Column)} == {"X"}


def test_a_copy_of_a_part_hangs_nowhere() -> None:
    part = parse_one(TEXT, dialect="spark").find(exp.Case)
    assert part is not None
    copy = part.copy()
    assert (part.parent is None, copy.parent, copy.arg_key, copy.index) == (False, None, None, None)
    assert copy.sql() == part.sql()


@pytest.mark.parametrize(
    "text", ["a", "`a`", "t.a", "t.`A b`", "s.t.a", "`from`", "x AS b", "1 AS `c d`", "x + 1", "NULL", "*"]
)
def test_a_name_is_what_sqlframe_calls_it(text: str) -> None:
    (part,) = parse_one(f"SELECT {text}", dialect="spark").expressions
    own = frames._name_of.__defaults__
    assert own is not None
    assert frames._name_of(part) == own[0](part)
