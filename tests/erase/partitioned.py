"""Tables as the jobs make them, in partitions, without a JVM."""

from deltalake import DeltaTable

from jobs.common.arrow import delta_schema
from jobs.common.lake import options_of
from jobs.common.settings import Settings
from schemas.tables import TABLES


def make_tables(settings: Settings, *names: str) -> None:
    """Make them empty."""
    for name in names:
        table = TABLES[name]
        DeltaTable.create(
            settings.table_path(name),
            delta_schema(table.schema),
            partition_by=list(table.partition_by),
            configuration=table.all_properties,
            storage_options=options_of(settings.lake.root),
        )
