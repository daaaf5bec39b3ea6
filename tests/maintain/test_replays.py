"""Closes pinned in the middle of simulated days: maintained again and again, each replays to its hash."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.common.engines.choice import EngineName
from jobs.common.stale_mark import looked_to
from jobs.daily import main as daily
from jobs.daily.close import close_day
from jobs.daily.replay import replay
from jobs.daily.revisions import stale_dates
from jobs.maintain.main import maintain
from jobs.streaming.arrivals import Arrivals
from tests.daily import small_lake
from tests.daily.small_lake import DAY, NOON
from tests.maintain.test_maintain import grown, in_the_log

DAYS = 2


@pytest.mark.long
def test_each_close_replays_to_its_hash_after_maintenance(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = grown(tmp_path, 6)
    hashes: dict[str, str] = {}
    for number in range(DAYS):
        day, noon = DAY + timedelta(days=number), NOON + timedelta(days=number)
        for batch in range(4):
            late = noon + timedelta(minutes=batch)
            rows = small_lake.pair(f"BK-{number}-{batch}")
            for row in rows:
                row |= {"event_time": late, "kafka_time": late, "event_date": day}
            small_lake.append(settings, rows, 100_000 * (number + 1) + 10 * batch)
        report = close_day(spark, settings, day, noon + timedelta(days=1))
        hashes[report.close_id] = report.content_hash
        # Late for the day that was just closed.
        small_lake.append(settings, [small_lake.event("AGODA", f"BK-L{number}", event_time=noon)], 900_000 + number)
        maintain(settings, datetime.now(UTC), vacuum_hours=0)
    assert stale_dates(spark, settings) == [DAY + timedelta(days=number) for number in range(DAYS)]
    monkeypatch.setattr("jobs.common.engines.choice.spark_session", lambda *_: spark)
    again = list(daily.run(settings, [], NOON + timedelta(days=9), engine=EngineName.SPARK))
    hashes |= {report.close_id: report.content_hash for report in again}
    assert len(hashes) == 2 * DAYS
    arrivals = Arrivals(settings)
    assert arrivals.is_there(spark)
    arrivals.done()
    told = {one.table: one for one in maintain(settings, datetime.now(UTC) + timedelta(days=60), vacuum_hours=0)}
    assert told["silver/activity"].log_files_removed > 0
    assert arrivals.is_there(spark)
    seen = arrivals.keys(spark)
    assert seen is not None
    assert seen.isEmpty(), "what was put together is no news"
    # Another process: nothing of the log is remembered.
    spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()  # type: ignore[union-attr]
    assert {close_id: replay(spark, settings, close_id).replayed_hash for close_id in hashes} == hashes
    looked = looked_to(settings)
    assert looked is not None
    assert looked in in_the_log(settings)
    assert stale_dates(spark, settings) == []
    small_lake.append(settings, [small_lake.event("SUPPLIER", "BK-L0", event_time=NOON)], 990_000)
    assert stale_dates(spark, settings) == [DAY]
