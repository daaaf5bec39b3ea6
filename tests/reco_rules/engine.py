"""The engine that runs the rules' tables: Spark, or DuckDB where sqlframe has taken over the name `pyspark`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from tests.oracle.build import FX
from tests.oracle.model import EXPONENTS, Event, Fx, stamped
from tests.reco_rules.cases import RATE, Scenario, Table

#: What rules read of `silver/activity`.
EVENT = {
    "source": "string",
    "supplier_id": "string",
    "activity_id": "string",
    "activity_type": "string",
    "event_id": "string",
    "amount_minor": "bigint",
    "currency": "string",
    "status": "string",
    "version": "bigint",
    "event_time": "timestamp",
    "kafka_time": "timestamp",
    "policy_version": "bigint",
    "grace_seconds": "bigint",
}


@dataclass
class Engine:
    """Makes DataFrames of plain values and compares them, each whole table in one job."""

    session: SparkSession
    _made: dict[str, DataFrame] = field(default_factory=dict)

    @property
    def is_spark(self) -> bool:
        """False on DuckDB."""
        return type(self.session).__module__.startswith("pyspark.")

    def frame(self, columns: Mapping[str, str], rows: Iterable[Sequence[Any]]) -> DataFrame:
        """Rows of the given column types (DDL); aware datetimes, Decimals, dates, None."""
        data = [tuple(row) for row in rows]
        # Looked up again by the mutation check, which asks for the same frames many times in one session.
        key = repr((columns, data))
        if key not in self._made:
            self._made[key] = self._new(columns, data)
        return self._made[key]

    def table(self, table: Table) -> DataFrame:
        """A truth table, `case_name` first."""
        return self.frame({"case_name": "string", **table.columns}, table.rows)

    def events(self, scenarios: Iterable[Scenario]) -> DataFrame:
        """The deliveries of all scenarios, each under a supplier of the scenario's name."""
        deliveries = [(case.name, stamped(event, case.policy)) for case in scenarios for event in case.events]
        return self.frame(EVENT, [_row(name, event) for name, event in deliveries])

    def fx(self, fx: Fx = FX) -> DataFrame:
        """Rows of `ref/fx_rates`, all of version 1."""
        columns = {"rate_date": "date", "currency": "string", "usd_per_unit": RATE, "fx_version": "bigint"}
        return self.frame(columns, [(day, currency, rate, 1) for (day, currency), rate in fx.items()])

    def minor_units(self) -> DataFrame:
        """One minor unit of every currency in whole units."""
        units = [(code, Decimal(1).scaleb(-exponent)) for code, exponent in EXPONENTS.items()]
        return self.frame({"currency": "string", "minor_unit": "decimal(5,4)"}, units)

    def kept(self, frame: DataFrame) -> DataFrame:
        """The same rows; on DuckDB as a table, since sqlframe takes minutes over the text of a long chain of steps."""
        if self.is_spark:
            return frame
        name = f"kept_{len(self._made)}"
        self._made[name] = frame
        _duckdb(frame).execute(f"create table {name} as {_text(frame)}")
        return self.session.table(name)

    def assert_equal(self, actual: DataFrame, columns: Mapping[str, str], rows: Iterable[Sequence[Any]]) -> None:
        """The same columns of the same types and the same rows, in any order."""
        self.assert_same(actual, self.frame(columns, rows))

    def assert_same(self, actual: DataFrame, expected: DataFrame) -> None:
        """As `assert_equal`, of a DataFrame."""
        if self.is_spark:
            from chispa import assert_df_equality

            assert_df_equality(actual, expected, ignore_nullable=True, ignore_row_order=True, ignore_metadata=True)
            return
        assert actual.columns == expected.columns
        found, wanted = _sorted(actual), _sorted(expected)
        surplus, lacking = [row for row in found if row not in wanted], [row for row in wanted if row not in found]
        assert found == wanted, f"found but not expected: {surplus}; expected but not found: {lacking}"

    def assert_table(self, table: Table, **found: Column) -> None:
        """Each expression, named after an `expected…` column, gives that column's value in every row."""
        rows = self.table(table)
        self.assert_same(
            rows.select("case_name", *[value.alias(name) for name, value in found.items()]),
            rows.select("case_name", *[F.col(name) for name in found]),
        )

    def _new(self, columns: Mapping[str, str], rows: list[tuple[Any, ...]]) -> DataFrame:
        if self.is_spark:
            # One partition, for the tables are small; kept, so that no Python worker serves the same rows twice.
            schema = ", ".join(f"{name} {kind}" for name, kind in columns.items())
            return self.session.createDataFrame(rows, schema).coalesce(1).persist()
        # A table of DuckDB's own: literals would be copied into each later step of the query.
        name, connection = f"given_{len(self._made)}", _duckdb(self)
        types = ", ".join(f"{column} {_DUCKDB.get(kind, kind)}" for column, kind in columns.items())
        connection.execute(f"create table {name} ({types})")
        if rows:
            connection.executemany(f"insert into {name} values ({', '.join('?' * len(columns))})", rows)
        return self.session.table(name)


#: Where DuckDB's name of a type is not Spark's.
_DUCKDB = {"timestamp": "timestamptz", "array<string>": "varchar[]", "array<bigint>": "bigint[]"}


def _row(supplier: str, event: Event) -> tuple[Any, ...]:
    return tuple(supplier if name == "supplier_id" else getattr(event, name) for name in EVENT)


def _sorted(frame: DataFrame) -> list[tuple[Any, ...]]:
    # Asked of DuckDB itself: sqlframe makes floats of decimals.
    rows = _duckdb(frame).execute(_text(frame)).fetchall()
    return sorted((tuple(row) for row in rows), key=repr)


def _duckdb(of: Any) -> Any:
    return of.session._conn


def _text(frame: Any) -> str:
    return str(frame.sql(dialect="duckdb", optimize=False))
