"""What silver has received since the stream looked last, told by its Delta log: the files themselves, without a job."""

import json
from urllib.parse import unquote

from pyspark.sql import DataFrame, SparkSession

from jobs.common import tables
from jobs.common.local_rows import local_rows
from jobs.common.settings import Settings
from reco_rules.vocabulary import KEY

#: Up to so many commits are read one by one.
_COMMITS = 200


class Arrivals:
    """Remembers up to which commit silver was looked at; a process that starts has looked at nothing."""

    def __init__(self, settings: Settings) -> None:
        self._path = settings.table_path("activity")
        self._looked: int | None = None
        self._newest: int | None = None

    def is_there(self, spark: SparkSession) -> bool:
        """Whether silver has a commit that `keys` has not told of; fixes what the next `keys` tells."""
        self._newest = tables.newest_version(spark, self._path, self._newest)
        return self._newest != self._looked

    def keys(self, spark: SparkSession) -> DataFrame | None:
        """Key and `source` of the events since then, as often as they came; None where any key may be among them.

        Delta's log: github.com/delta-io/delta, PROTOCOL.md, "Add File"; only changes of data count.
        """
        if self._newest is None or self._looked is None or self._newest - self._looked > _COMMITS:
            return None
        files: list[str] = []
        for version in range(self._looked + 1, self._newest + 1):
            log = tables.read_text(spark, f"{self._path}/_delta_log/{version:020}.json")
            adds = [action["add"] for line in log.splitlines() if (action := json.loads(line)).get("add")]
            files += [f"{self._path}/{unquote(add['path'])}" for add in adds if add["dataChange"]]
        schema = ", ".join(f"{name} string" for name in (*KEY, "source"))
        return (
            spark.read.schema(schema).option("recursiveFileLookup", "true").parquet(*files)
            if files
            else local_rows(spark, [], schema)
        )

    def done(self) -> None:
        """What `keys` told has been dealt with."""
        self._looked = self._newest
