"""`reco explain`: why one activity was judged as it was, by the rules of the close on that activity's events alone."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

import typer
from pyspark.sql import Column, DataFrame

from jobs.common import log
from jobs.common.days import days_before, utc_day
from jobs.common.engines import Session, engine_of
from jobs.common.engines.choice import EngineOption, session_for
from jobs.common.errors import FAILED, UserError
from jobs.common.kept import Kept
from jobs.common.margins import Rate, rules_of
from jobs.common.options import AsJson, Debug, SettingsFile
from jobs.common.output import print_json, printable
from jobs.common.settings import Settings, load_settings
from jobs.daily import explain_text, inputs, verdicts
from jobs.daily.close import Judged, anomalies_from
from jobs.daily.erased import erased_payloads
from jobs.daily.explain_text import Break, Delivery, Explanation, Published
from jobs.daily.inputs import Inputs
from jobs.daily.revisions import last_closes
from jobs.daily.timeline import deliveries_of
from jobs.daily.totals import Profile
from reco_rules.engine import F
from reco_rules.money import MAX_RATE_AGE_DAYS
from reco_rules.ownership import with_reco_date
from reco_rules.policy import POLICY_COLUMNS
from reco_rules.vocabulary import KEY, Side

_NEAR = 5
#: Python's clock of the machine's zone looks a day back from each time that PySpark hands out.
_NO_TIMES_UNTIL = date(1, 1, 2)


@dataclass(frozen=True)
class Key:
    """Which activity is asked for."""

    supplier_id: str
    activity_id: str

    def __str__(self) -> str:
        return f"{self.supplier_id} {self.activity_id}"

    def condition(self) -> Column:
        """True on the key's rows."""
        return (F.col("supplier_id") == self.supplier_id) & (F.col("activity_id") == self.activity_id)


def command(
    supplier: Annotated[str, typer.Argument(metavar="SUPPLIER", help="supplierId.")],
    activity: Annotated[str, typer.Argument(metavar="ACTIVITY", help="activityId.")],
    on: Annotated[
        str | None, typer.Option("--date", metavar="D", help="The UTC day; the key's last one where left out.")
    ] = None,
    engine: EngineOption = None,
    settings: SettingsFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Why one activity was judged as it was: both sides' timeline, every rule's margin, what would clear its breaks.

    An id that begins with a hyphen comes after two of them: reco explain -- SUP-001 -7

    Example: reco explain SUP-001 BK-1 --date 2026-03-09
    """
    log.configure(debug=debug)
    day = None if on is None else utc_day(on)
    chosen = load_settings(settings)
    with session_for("reco-explain", chosen, engine) as session:
        found = explain(session, chosen, Key(supplier, activity), day)
    if as_json:
        print_json(dataclasses.asdict(found))
    else:
        explain_text.show(found)
    return 0


def explain(session: Session, settings: Settings, key: Key, day: date | None = None) -> Explanation:
    """Judge the key anew with what the lake holds now. UserError where it has no event of `day`, or none at all."""
    with engine_of(session).quick():
        return _explained(session, settings, key, day)


def _explained(session: Session, settings: Settings, key: Key, day: date | None) -> Explanation:
    everything = inputs.newest(session, settings)
    source = dataclasses.replace(everything, silver=everything.silver.where(key.condition()))
    reco_date = day or _last_date(session, settings, source, key)
    if reco_date is not None:
        _require_times(session, reco_date)
    # Read once: what follows are many small plans over a handful of rows.
    near = (
        source
        if reco_date is None
        else dataclasses.replace(source, silver=engine_of(session).held(_window(source, reco_date)))
    )
    judged = _judged(near, reco_date) if reco_date is not None else None
    fact = judged.facts.head() if judged is not None else None
    if judged is None or reco_date is None or fact is None:
        raise _unknown(everything, source, key, reco_date)
    values = {name: _utc(value) for name, value in fact.asDict(recursive=True).items()}
    rates = _rates_used(source, values)
    deliveries = _deliveries(near, values, reco_date)
    return Explanation(
        supplier_id=key.supplier_id,
        activity_id=key.activity_id,
        reco_date=reco_date,
        outcome=values["outcome"],
        anomaly_types=values["anomaly_types"],
        deliveries=deliveries,
        rules=rules_of(values, rates, source.pins.history_days),
        breaks=_breaks(judged),
        rates=rates,
        policy={name: values[name] for name in POLICY_COLUMNS},
        policy_version=source.pins.policy_version,
        history_days=source.pins.history_days,
        published=_published(session, settings, key, reco_date, values),
        close_id=close.close_id if (close := last_closes(session, settings).get(reco_date)) else None,
        erased=erased_payloads(settings, deliveries),
    )


def _require_times(session: Session, day: date) -> None:
    """UserError where the engine cannot hand out the times of a day."""
    if day <= _NO_TIMES_UNTIL and engine_of(session).name == "spark":
        raise UserError(f"PySpark makes no times of the first days of all: explain {day} with --engine duckdb.", FAILED)


def _judged(source: Inputs, day: date) -> Judged:
    held = engine_of(source.silver.sparkSession).held
    with Kept() as kept:
        by_day = held(verdicts.sides_of(source, day, kept))
        sides = held(verdicts.with_earlier_versions(source, by_day, day, kept))
    rates = held(source.rates(day))
    return Judged(source, rates, held(verdicts.facts_of(source, verdicts.priced(sides, rates), day)), Profile())


def _window(source: Inputs, day: date) -> DataFrame:
    """The deliveries that the verdict of `day` may rest on, and those of the day after."""
    return source.around(days_before(day, source.pins.history_days), day + timedelta(days=1))


def _last_date(session: Session, settings: Settings, source: Inputs, key: Key) -> date | None:
    """The last day of the key's events. Facts only say since when to look: a newer event is not closed yet, a late one
    may have drawn the key to the day before.
    """
    engine, facts = engine_of(session), settings.table_path("reconciliation_facts")
    dates: list[date] = []
    if engine.exists(facts):
        row = engine.read(facts).where(key.condition()).agg(F.max("reco_date")).head()
        if row is not None and row[0] is not None:
            since = days_before(date.fromisoformat(str(row[0])), 1)
            dates = _dates(source.silver.where(F.col("event_date") >= F.lit(since)))
    dates = dates or _dates(source.silver)
    return utc_day(dates[-1].isoformat()) if dates else None


def _dates(silver: DataFrame) -> list[date]:
    """Every reco_date of the key's events, oldest first."""
    return sorted(row[0] for row in with_reco_date(silver).select("reco_date").distinct().collect())


def _breaks(judged: Judged) -> list[Break]:
    rows = anomalies_from(judged).orderBy("anomaly_type").collect()
    return [Break(r["anomaly_type"], r["severity"], r["amount_at_risk_usd"], r["explanation"]) for r in rows]


def _deliveries(source: Inputs, fact: Mapping[str, Any], day: date) -> list[Delivery]:
    first, next_day = days_before(day, source.pins.history_days), day + timedelta(days=1)
    rows = with_reco_date(_window(source, day)).where(F.col("reco_date").between(first, next_day))
    in_order = rows.orderBy(
        "event_time", "kafka_time", "policy_version", "source", "topic", "partition", "offset"
    ).collect()
    return deliveries_of([{name: _utc(v) for name, v in row.asDict().items()} for row in in_order], fact, day)


def _rates_used(source: Inputs, fact: Mapping[str, Any]) -> list[Rate]:
    """The rate each side was priced with, by the same choice as `rates_as_of`, with its date and version."""
    on = fact["fx_date"]
    wanted = {s.value: fact[f"{s.prefix}_currency"] for s in Side if fact[f"{s.prefix}_currency"] is not None}
    newest = (
        source.fx.where(
            F.col("currency").isin(sorted(set(wanted.values())))
            & F.col("rate_date").between(days_before(on, MAX_RATE_AGE_DAYS), on)
        )
        .orderBy(F.col("rate_date").desc(), F.col("fx_version").desc())
        .collect()
    )
    used = []
    for side, currency in wanted.items():
        row = next((row for row in newest if row["currency"] == currency), None)
        if currency == "USD":
            used.append(Rate(side, currency, on, Decimal(1), on, None))
        elif row is None:
            used.append(Rate(side, currency, on, None, None, None))
        else:
            used.append(Rate(side, currency, on, row["usd_per_unit"], row["rate_date"], row["fx_version"]))
    return used


def _published(session: Session, settings: Settings, key: Key, day: date, fact: Mapping[str, Any]) -> Published | None:
    """What the last close of the day says of the key, where there is one, compared with the `fact` of now."""
    engine, facts = engine_of(session), settings.table_path("reconciliation_facts")
    if not engine.exists(facts):
        return None
    row = engine.read(facts).where((F.col("reco_date") == F.lit(day)) & key.condition()).head()
    if row is None:
        return None
    then = {name: _utc(value) for name, value in row.asDict(recursive=True).items()}
    is_same = all(then[name] == value for name, value in fact.items() if name in then and name != "close_id")
    return Published(row["close_id"], row["outcome"], row["anomaly_types"], is_same)


def _utc(value: Any) -> Any:
    """Spark hands out times in the process's own zone, without saying so."""
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    if isinstance(value, list):
        return [_utc(item) for item in value]
    if isinstance(value, dict):
        return {name: _utc(item) for name, item in value.items()}
    return value


def _unknown(everything: Inputs, source: Inputs, key: Key, day: date | None) -> UserError:
    """Says on which other days the key has events, or else which keys are like it."""
    dates = _dates(source.silver)
    if dates:
        others = ", ".join(str(other) for other in dates[-_NEAR:])
        return UserError(f"{key} has no event of {day}; it has some of {others}: ask with one of these as --date.")
    silver = everything.silver
    if day is not None:
        near = silver.where(F.col("event_date").between(days_before(day, 1), day + timedelta(days=1)))
        silver = silver if near.isEmpty() else near
    same = silver.where(F.col("activity_id") == key.activity_id)
    like = _nearest(same, "supplier_id", key.supplier_id)
    if like:
        return UserError(f"{key} is not in silver/activity; {key.activity_id} is known of {', '.join(like)}.")
    of_supplier = silver.where(F.col("supplier_id") == key.supplier_id)
    name, rows, wanted = KEY[1], of_supplier, key.activity_id
    if of_supplier.isEmpty():
        name, rows, wanted = KEY[0], silver, key.supplier_id
    like = _nearest(rows, name, wanted)
    what = "suppliers" if name == KEY[0] else f"activities of {key.supplier_id}"
    hint = f"the nearest {what} are {', '.join(like)}" if like else "the table is empty"
    return UserError(f"{key} is not in silver/activity; {hint}.")


def _nearest(rows: DataFrame, column: str, wanted: str) -> list[str]:
    each = rows.select(column).distinct().withColumn("distance", F.levenshtein(F.col(column), F.lit(wanted)))
    return [printable(row[0]) for row in each.orderBy("distance", column).limit(_NEAR).collect()]
