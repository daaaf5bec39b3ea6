"""Every table of the lake, by name."""

from schemas import bronze, gold, ref, silver
from schemas.types import Table

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        bronze.ACTIVITY_RAW,
        silver.ACTIVITY,
        silver.QUARANTINE,
        ref.POLICIES,
        ref.FX_RATES,
        gold.FACTS,
        gold.ANOMALIES,
        gold.EXCEPTIONS,
        gold.CHANGES,
        gold.CLOSES,
    )
}
