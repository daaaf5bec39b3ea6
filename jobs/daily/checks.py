"""Great Expectations' checks of a day before its close is published.

They look at the counts of `totals.Profile`, a few rows whatever the size of the day, and never at the events again.
"""

import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from jobs.common import log
from jobs.common.errors import FAILED, UserError
from jobs.common.lazily import importing_lazily
from jobs.common.places import writing
from jobs.common.settings import Settings
from jobs.daily.flaws import FLAWS
from jobs.daily.inputs import Inputs
from jobs.daily.totals import Profile
from reco_rules.vocabulary import Outcome, Side

#: Each side's newest event should lie in the last so many hours of the day, or its feed may have stopped.
FRESH_HOURS = 6

_MICRO = Decimal(1_000_000)
#: What Great Expectations imports for expectations and charts that are not used here: two fifths of its import.
_UNUSED = ("altair", "scipy.sparse", "scipy.stats")
_SILVER, _FACTS = "silver_activity", "gold_reconciliation_facts"


class Failure(NamedTuple):
    """One expectation that does not hold, as a sentence part."""

    table: str
    what: str
    severity: str

    def __str__(self) -> str:
        return f"{self.table}: {self.what}"


def require_expectations(
    settings: Settings, day: date, inputs: Inputs, profile: Profile, *, write_docs: bool = True
) -> None:
    """Check what came in and what is about to be published; UserError (exit 1) where a critical expectation fails.

    Failed expectations that are not critical are logged. Data docs go to `<lake.root>/_expectations/<day>/` of a lake
    on this machine, unless `write_docs` is off.
    """
    logger = log.get_logger(__name__)
    docs = Path(settings.lake.root) / "_expectations" / day.isoformat() if settings.is_local_lake else None
    if docs is None:
        logger.info("data docs skipped: the lake is no folder of this machine", lake=settings.lake.root)
    failures = run_expectations(day, profile, docs if write_docs else None)
    for failure in failures:
        if failure.severity != "critical":
            logger.warning("expectation failed", reco_date=day.isoformat(), expectation=str(failure))
    critical = [str(failure) for failure in failures if failure.severity == "critical"]
    if critical:
        where = f" Data docs: {docs / 'index.html'}" if docs is not None and write_docs else ""
        raise UserError(
            f"The close of {day} is not published, nothing was written: {'; '.join(critical)} "
            f"(silver/activity at version {inputs.pins.silver_version}).{where}",
            FAILED,
        )


def run_expectations(day: date, profile: Profile, docs: Path | None) -> list[Failure]:
    """Run both suites over the profile, write data docs into the folder `docs`, and return what failed."""
    gx = _great_expectations()
    context = gx.get_context(mode="ephemeral")
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    source = context.data_sources.add_pandas("profile")
    results = []
    for name, rows, expectations in (
        (_SILVER, _silver_rows(day, profile), _silver_expectations(gx)),
        (_FACTS, _fact_rows(profile), _fact_expectations(gx)),
    ):
        suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=expectations if rows else _any_row(gx)))
        batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe(day.isoformat())
        check = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=suite))
        results.append((name, check.run(batch_parameters={"dataframe": _frame(rows)})))
    if docs is not None:
        with writing("lake.root", docs):
            _write_docs(context, docs)
    return [_failure(name, one) for name, result in results for one in result.results if not one.success]


@contextmanager
def loaded_ahead() -> Iterator[None]:
    """Import Great Expectations in the background: it takes seconds, in which Spark can already work."""

    def load() -> None:
        with suppress(Exception):  # who needs it imports it again, and is told
            _great_expectations()

    loading = threading.Thread(target=load, name="expectations")
    loading.start()
    try:
        yield
    finally:
        loading.join()


def _great_expectations() -> Any:
    """The package, slow to import, so only when it is needed; it is told to report to nobody first."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    with importing_lazily(*_UNUSED):
        import great_expectations as gx

        from jobs.daily.templates import compile_once
    compile_once()
    return gx


def _silver_rows(day: date, profile: Profile) -> list[dict[str, object]]:
    """One row a supplier and side: what came in, and whether all of it is in the verdicts, each key once."""
    end = (day + timedelta(days=1) - date(1970, 1, 1)) // timedelta(milliseconds=1)
    rows: list[dict[str, object]] = []
    for total in profile.totals:
        keys, dollars = total.differences()
        newest = profile.newest_event.get(total.side)
        rows.append(
            {
                "supplier_id": total.supplier_id,
                "side": total.side,
                "keys_in": total.keys_in,
                "unaccounted_keys": keys,
                "unaccounted_micro_usd": int(dollars * _MICRO),
                "keys_not_once": int(total.key_sum_in != total.key_sum_out),
                "newest_event_hours": None if newest is None else max(0, (end - newest) // 3_600_000),
            }
        )
    return rows


def _fact_rows(profile: Profile) -> list[dict[str, object]]:
    """One row a supplier and outcome: facts about to be written, and how many of them have each flaw."""
    return [
        {
            "supplier_id": supplier_id,
            "outcome": outcome,
            "facts": facts,
            **{flaw: profile.flaws.get((supplier_id, outcome), {}).get(flaw, 0) for flaw in FLAWS},
        }
        for (supplier_id, outcome), facts in sorted(profile.by_supplier.items(), key=lambda item: str(item[0]))
    ]


def _frame(rows: Sequence[dict[str, object]]) -> Any:
    import pandas as pd  # type: ignore[import-untyped]

    return pd.DataFrame(rows)


def _any_row(gx: Any) -> list[Any]:
    return [gx.expectations.ExpectTableRowCountToBeBetween(min_value=1, severity="warning")]


def _zero(gx: Any, column: str) -> Any:
    return gx.expectations.ExpectColumnValuesToBeInSet(column=column, value_set=[0], severity="critical")


def _silver_expectations(gx: Any) -> list[Any]:
    expect = gx.expectations
    return [
        *_any_row(gx),
        expect.ExpectColumnValuesToNotBeNull(column="supplier_id", severity="critical"),
        expect.ExpectColumnValuesToBeInSet(column="side", value_set=[s.value for s in Side], severity="critical"),
        expect.ExpectColumnDistinctValuesToContainSet(
            column="side", value_set=[s.value for s in Side], severity="warning"
        ),
        expect.ExpectCompoundColumnsToBeUnique(column_list=["supplier_id", "side"], severity="critical"),
        *[_zero(gx, name) for name in ("unaccounted_keys", "unaccounted_micro_usd", "keys_not_once")],
        expect.ExpectColumnValuesToBeBetween(
            column="newest_event_hours", min_value=0, max_value=FRESH_HOURS, severity="warning"
        ),
    ]


def _fact_expectations(gx: Any) -> list[Any]:
    expect = gx.expectations
    return [
        *_any_row(gx),
        expect.ExpectColumnValuesToNotBeNull(column="supplier_id", severity="critical"),
        expect.ExpectColumnValuesToBeInSet(column="outcome", value_set=[o.value for o in Outcome], severity="critical"),
        expect.ExpectColumnValuesToBeBetween(column="facts", min_value=1, severity="critical"),
        *[_zero(gx, flaw) for flaw in FLAWS],
    ]


def _failure(table: str, result: Any) -> Failure:
    config = result.expectation_config
    arguments = config.kwargs
    of = arguments.get("column") or ", ".join(arguments.get("column_list", [])) or "table"
    found = result.result.get("partial_unexpected_list") or result.result.get("observed_value")
    seen = f" (found {found})" if found else ""
    severity = getattr(config.severity, "value", config.severity)
    return Failure(table, f"{config.type} of {of}{seen}", str(severity or "critical"))


def _write_docs(context: Any, docs: Path) -> None:
    """The day's pages, in place of those of an earlier run."""
    shutil.rmtree(docs, ignore_errors=True)
    for site in list(context.get_site_names()):
        context.delete_data_docs_site(site)
    store = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs)}
    site = {"class_name": "SiteBuilder", "show_how_to_buttons": False, "store_backend": store}
    context.add_data_docs_site("close", {**site, "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"}})
    context.build_data_docs()
    for picture in (docs / "static" / "images").glob("*.gif"):  # 3 MB of a tour that is not offered
        picture.unlink()
