"""`python -m bench --engines`: a close on one machine as whole processes, by each engine, and by other tools.

The bare job does the same work in plain SQL: latest version of each side, both sides beside each other, rates, price,
status and skew, facts and anomalies to Parquet. It knows no midnight, history, policies, duplicates or delays, writes
no Delta table and checks nothing.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import duckdb

from jobs.common.engines import delta
from jobs.common.lake import append_version
from jobs.common.settings import Lake, Settings

DAY = date(2026, 3, 10)
RATES = {"EUR": "1.08", "JPY": "0.0067", "THB": "0.029"}
OURS, BARE, SPARK = "reco daily --engine duckdb", "bare DuckDB", "reco daily --engine spark"
_TICK = 0.05

_SIDE = """
select '{letter}' || n as event_id, '{side}' as source, printf('SUP-%03d', hash(n, 'supplier') % 30) as supplier_id,
  'BK-' || printf('%016x', hash(n, 'id') >> 1) as activity_id, 'BOOKING' as activity_type,
  (hash(n, 'amount') % 100000 + if(hash(n, '{side}-price') % 100 = 0, 5000, 0))::bigint as amount_minor,
  ['USD', 'EUR', 'JPY', 'THB'][1 + (hash(n, 'currency') % 4)::int] as currency, 'BOOKED' as status,
  1::bigint as version, make_timestamptz(({midnight} + (hash(n, 'time') % 86000000)::bigint
    + (hash(n, '{side}-skew') % 1000)::bigint) * 1000) as event_time
from range({activities}) t(n) where hash(n, '{side}-missing') % 100 <> 0
"""
_SILVER = """
select *, event_time + interval 5 seconds as kafka_time, 'NRT_HOURLY' as mode, 3600::bigint as grace_seconds,
  0::bigint as policy_version, lower(source) || '.raw.activity' as topic, 0::int as partition,
  row_number() over () as "offset", event_time + interval 1 hour as ingested_at, event_time::date as event_date,
  hour(event_time)::int as event_hour
from ({agoda} union all {supplier})
"""
_BARE = """
create table rates as select * from (values ('USD', 0.01), ('EUR', 0.0108), ('JPY', 0.0067), ('THB', 0.00029))
  t(currency, usd_per_minor);
create view latest as select * from read_parquet({files}, hive_partitioning = true)
  qualify row_number() over (partition by supplier_id, activity_id, source order by version desc, event_time desc,
    event_id desc) = 1;
create view side as select l.*, round(amount_minor::decimal(16, 0) * usd_per_minor::decimal(21, 16), 6)::decimal(28, 6)
  as amount_usd from latest l left join rates using (currency);
create table facts as
  with pair as (
    select coalesce(a.supplier_id, s.supplier_id) as supplier_id, coalesce(a.activity_id, s.activity_id) as activity_id,
      {columns}, abs(a.amount_usd - s.amount_usd) as price_diff_usd,
      greatest(0.5::decimal(28, 6), round(a.amount_usd * 0.01::decimal(7, 6), 6)::decimal(28, 6)) as tolerance_usd,
      abs(epoch_ms(a.event_time) - epoch_ms(s.event_time)) as skew_ms
    from (from side where source = 'AGODA') a full join (from side where source = 'SUPPLIER') s
      on a.supplier_id = s.supplier_id and a.activity_id = s.activity_id)
  select *, list_filter([if(supplier_version is null, 'MISSING_SUPPLIER', null),
    if(agoda_version is null, 'MISSING_AGODA', null), if(price_diff_usd > tolerance_usd, 'PRICE_MISMATCH', null),
    if(agoda_status <> supplier_status, 'STATUS_MISMATCH', null), if(skew_ms > 900000, 'TIMESTAMP_SKEW', null)],
    lambda kind: kind is not null) as anomaly_types from pair;
copy facts to '{out}/facts.parquet';
copy (select sha256(concat_ws('|', supplier_id, activity_id, kind)) as anomaly_id, * from
  (select *, unnest(anomaly_types) as kind from facts)) to '{out}/anomalies.parquet';
"""


class Taken(NamedTuple):
    """What a process and its children took: seconds by the wall, seconds of processors, most bytes resident."""

    seconds: float
    cpu: float
    peak: int


def main(sizes: Sequence[int], rounds: int, folder: str | None, results: Path) -> None:
    """Each contender in turn, round by round; the table is printed, and kept as engines.md and engines.json."""
    lines = [
        "| activities a side | contender | seconds | processor seconds | peak GB | time of bare DuckDB |",
        "|---:|---|---:|---:|---:|---:|",
    ]
    kept: dict[str, dict[str, list[Taken]]] = {}
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="reco-bench-", dir=folder) as scratch:
            settings = make_lake(Path(scratch), size)
            taken = _rounds(settings, rounds, size)
        kept[f"{size:,}"] = taken
        bare = statistics.median(one.seconds for one in taken[BARE])
        for name, runs in taken.items():
            wall, cpu = (statistics.median(values) for values in zip(*[run[:2] for run in runs], strict=True))
            peak = max(run.peak for run in runs) / 1e9
            lines.append(f"| {size:,} | {name} | {wall:.1f} | {cpu:.1f} | {peak:.1f} | {wall / bare:.1f} × |")
    text = "\n".join(lines) + "\n"
    print(text)
    results.mkdir(exist_ok=True)
    (results / "engines.md").write_text(text)
    (results / "engines.json").write_text(json.dumps(kept, indent=1) + "\n")


def make_lake(root: Path, activities: int) -> Settings:
    """One day of so many activities a side, 1% missing on either, 2% priced differently; made without a JVM."""
    settings = Settings(lake=Lake(root=str(root)))
    midnight = int(datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC).timestamp() * 1000)
    sides = {
        side.lower(): _SIDE.format(letter=side[0], side=side, midnight=midnight, activities=activities)
        for side in ("AGODA", "SUPPLIER")
    }
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'; set enable_progress_bar = false")
    delta.append(delta.created(settings, "activity"), connection.sql(_SILVER.format(**sides)))
    loaded = {"rate_date": DAY, "fx_version": 1, "loaded_at": datetime(2026, 3, 10, tzinfo=UTC)}
    rates = [loaded | {"currency": code, "usd_per_unit": Decimal(rate)} for code, rate in RATES.items()]
    append_version(settings, "fx_rates", rates, 1, None)
    return settings


def bare(root: str, out: str) -> None:
    """The bare job over the lake at `root`."""
    files = [str(path) for path in Path(root, "silver/activity").glob(f"event_date={DAY}/*.parquet")]
    names = ("event_id", "amount_minor", "currency", "status", "version", "event_time", "amount_usd")
    columns = ", ".join(f"{side[0]}.{name} as {side}_{name}" for side in ("agoda", "supplier") for name in names)
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'; set enable_progress_bar = false")
    connection.execute(_BARE.format(files=files, columns=columns, out=out))


def _rounds(settings: Settings, rounds: int, size: int) -> dict[str, list[Taken]]:
    root = settings.lake.root
    close = [sys.executable, "-m", "jobs.cli.main", "daily", "--date", str(DAY), "--json", "--engine"]
    out = Path(root, "bare")
    out.mkdir()
    others = [sys.executable, "-m", "bench.engines_others"]
    commands = {
        OURS: [*close, "duckdb"],
        BARE: [sys.executable, "-m", "bench.engines", root, str(out)],
        SPARK: [*close, "spark"],
        "Polars": [*others, "polars", root, str(out)],
        "datacompy on pandas": [*others, "datacompy", root, str(out)],
    }
    taken: dict[str, list[Taken]] = {name: [] for name in commands}
    hashes = set()
    for number in range(rounds):
        for name, command in commands.items():
            shutil.rmtree(Path(root, "gold"), ignore_errors=True)
            found, printed = measured(command, root)
            taken[name].append(found)
            hashes |= {report["content_hash"] for report in json.loads(printed or "[]")}
            print(f"{size:,} round {number} {name}: {found}", flush=True)
    assert len(hashes) == 1, f"the engines' closes differ: {hashes}"
    return taken


def measured(command: Sequence[str], root: str) -> tuple[Taken, str]:
    """Run a command to its end; what it took, and what it printed."""
    environment = {**os.environ, "RECO_LAKE__ROOT": root, "RECO_SPARK__DRIVER_MEMORY": "6g"}
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        child = subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.DEVNULL, start_new_session=True
        )
        peak, spent = 0, {}
        while child.poll() is None:
            members = _session(child.pid)
            peak = max(peak, sum(resident for _, resident in members.values()))
            spent |= {pid: ticks for pid, (ticks, _) in members.items()}
            time.sleep(_TICK)
        seconds = time.monotonic() - started
        assert child.returncode == 0, f"{command} ended with {child.returncode}"
        output.seek(0)
        cpu = sum(spent.values()) / os.sysconf("SC_CLK_TCK")
        return Taken(round(seconds, 2), round(cpu, 2), peak), output.read()


def _session(leader: int) -> dict[int, tuple[int, int]]:
    """Processor ticks and resident bytes of every process of a session."""
    members = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        if int(fields[3]) == leader:
            members[int(folder.name)] = (
                int(fields[11]) + int(fields[12]),
                int(fields[21]) * os.sysconf("SC_PAGE_SIZE"),
            )
    return members


if __name__ == "__main__":
    bare(sys.argv[1], sys.argv[2])
