"""Fewer calls to the JVM for what every Column is made of: each is a message there and back, in both processes."""

from collections.abc import Callable
from datetime import date
from functools import lru_cache
from typing import Any

from pyspark.sql import SparkSession

#: So many names and so many literals are kept.
_KEPT = 4096
#: `java.util.List.of` takes as many elements in one call.
_AT_ONCE = 10


def look_up_once(session: SparkSession) -> None:
    """Let py4j keep the classes that every Column is made by, and the Columns of names and literals.

    It asks the JVM for class and method again at each call, and sends a list element by element: a micro-batch of
    `match` is twelve thousand messages so, and half of that with this.
    """
    from pyspark.sql.types import DateConverter  # where the rules are tested by DuckDB alone there is none

    DateConverter.convert = date_for_jvm  # type: ignore[assignment]
    jvm: Any = session.sparkContext._jvm
    for name in ("org.apache.spark.sql.functions", "functions", "PythonUtils", "PythonSQLUtils"):
        if name not in vars(jvm):
            kind = {"PythonUtils": _PythonUtils, "PythonSQLUtils": _LookedUp}.get(name, _Functions)
            setattr(jvm, name, kind(getattr(jvm, name), jvm.java.util))


def date_for_jvm(_: object, day: date, client: Any) -> Any:
    """A date as the JVM has it, in the place of PySpark's `DateConverter.convert`.

    Spark 4.1 writes it by `strftime`, whose years before 1000 lack their zeros under glibc: Java refuses them, and an
    event of such a year ended each start of a query.
    """
    from py4j.java_gateway import JavaClass

    return JavaClass("java.sql.Date", client).valueOf(day.isoformat()[:10])


class _LookedUp:
    """A class of the JVM whose static methods are looked up once. `util`: the JVM's package `java.util`."""

    def __init__(self, found: Any, util: Any) -> None:
        self._found, self._util = found, util

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._found, name)
        setattr(self, name, member)
        return member


class _Functions(_LookedUp):
    """Spark's `functions`. A Column of the JVM never changes, so that of a name is the same wherever it stands."""

    def __init__(self, found: Any, util: Any) -> None:
        super().__init__(found, util)
        self.col, self.lit = _kept(found.col), _kept(found.lit)


class _PythonUtils(_LookedUp):
    """What turns lists of Python into those of Scala."""

    def __init__(self, found: Any, util: Any) -> None:
        super().__init__(found, util)
        self._to_seq, self._list_of, self._new_list = found.toSeq, util.List.of, util.ArrayList

    def toSeq(self, items: Any) -> Any:  # noqa: N802 – the name that PySpark calls
        """The items as a Seq."""
        from py4j.java_gateway import JavaObject  # where the rules are tested by DuckDB alone there is none

        items = list(items)
        if items and all(isinstance(item, (str, JavaObject)) for item in items):
            items = self._listed(items)
        return self._to_seq(items)

    def _listed(self, items: list[Any]) -> Any:
        parts = [self._list_of(*items[n : n + _AT_ONCE]) for n in range(0, len(items), _AT_ONCE)]
        if len(parts) == 1:
            return parts[0]
        whole = self._new_list()
        for part in parts:
            whole.addAll(part)
        return whole


def _kept(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The same function, whose results for text, truth and whole numbers are kept."""

    @lru_cache(_KEPT, typed=True)
    def known(value: str | bool | int) -> Any:
        return make(value)

    def made(value: Any) -> Any:
        return known(value) if type(value) in (str, bool, int) else make(value)

    return made
