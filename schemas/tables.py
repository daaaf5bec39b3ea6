"""Every table of the lake, by name."""

from schemas import bronze, erasures, gold, nrt, people, ref, silver, whatif
from schemas.types import Table

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        bronze.ACTIVITY_RAW,
        silver.ACTIVITY,
        silver.QUARANTINE,
        ref.POLICIES,
        ref.FORMATS,
        ref.FX_RATES,
        gold.FACTS,
        gold.ANOMALIES,
        gold.EXCEPTIONS,
        gold.CHANGES,
        gold.CLOSES,
        nrt.NRT_RESULTS,
        nrt.NRT_EXCEPTIONS,
        nrt.HOURLY_SUMMARY,
        nrt.VERDICT_DRIFT,
        people.EXCEPTION_ACTIONS,
        whatif.POLICY_BACKTESTS,
        erasures.ERASURES,
    )
}

#: Columns that a table of an earlier build may lack, by the table's name: who writes it next adds them.
ADDED_LATER: dict[str, tuple[str, ...]] = {"closes": ("engine",)}
