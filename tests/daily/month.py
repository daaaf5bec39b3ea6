"""Thirty days of 2,000 activities, with differences, delays and skews of every size; made without a JVM."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb

from jobs.common.engines import delta
from jobs.common.lake import append_version
from jobs.common.settings import Lake, Settings

FIRST, DAYS, ACTIVITIES = date(2026, 2, 9), 30, 2_000
#: After the last day is over.
NOW = datetime(2026, 3, 12, tzinfo=UTC)
CLOSED = [FIRST + timedelta(days=number) for number in range(DAYS)]
_RATES = {"EUR": "1.08", "JPY": "0.0067"}
#: What of a side is its own: `agoda` or `supplier`.
_SIDE = """
select n, '{side}' as source, printf('SUP-%03d', hash(n || 'supplier') % 12) as supplier_id, 'BK-' || n as activity_id,
  (hash(n || 'amount') % 100000 + if('{side}' = 'SUPPLIER' and hash(n || 'off') % 20 = 0,
    (hash(n || 'amount') % 100000) * ((hash(n || 'by') % 600)::bigint - 300) / 10000, 0))::bigint as amount_minor,
  if(hash(n || 'thb') % 100 = 0, 'THB', ['USD', 'EUR', 'JPY'][1 + (hash(n || 'currency') % 3)::int]) as currency,
  if('{side}' = 'SUPPLIER' and hash(n || 'status') % 100 = 0, 'PAID', 'BOOKED') as status,
  {midnight} + (n // {activities}) * 86400000 + (hash(n || 'time') % 86400000)::bigint
    + if('{side}' = 'SUPPLIER', (hash(n || 'skew') % if(hash(n || 'skewed') % 20 = 0, 3600000, 1000))::bigint, 0)
    as at_ms,
  if(hash(n || '{side} late') % 50 = 0, (hash(n || '{side} lag') % 14400000)::bigint, 5000) as lag
from range({days} * {activities}) t(n) where hash(n || '{side} missing') % 100 <> 0
"""
_SILVER = """
select source[1] || n || if(copy = 1, '-again', '') as event_id, source, supplier_id, activity_id,
  'BOOKING' as activity_type, amount_minor, currency, status, 1::bigint as version,
  make_timestamptz(at_ms * 1000) as event_time, make_timestamptz((at_ms + lag + copy * 1000) * 1000) as kafka_time,
  'NRT_HOURLY' as mode, if(supplier_id = '{other}', {grace}, 3600)::bigint as grace_seconds,
  0::bigint as policy_version, lower(source) || '.raw.activity' as topic, 0::int as partition,
  row_number() over () as "offset", make_timestamptz((at_ms + 14500000) * 1000) as ingested_at,
  event_time::date as event_date, hour(event_time)::int as event_hour
from (select *, unnest(range(if(hash(n || source || 'twice') % 200 = 0, 2, 1))) as copy
  from ({agoda} union all {supplier}))
"""


def make(root: Path, other: str = "", grace: int = 3600) -> Settings:
    """A new lake; the events of supplier `other` were normalised with another grace, seconds."""
    settings = Settings(lake=Lake(root=str(root)))
    midnight = int(datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC).timestamp() * 1000)
    sides = {
        side.lower(): _SIDE.format(side=side, midnight=midnight, days=DAYS, activities=ACTIVITIES)
        for side in ("AGODA", "SUPPLIER")
    }
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'; set enable_progress_bar = false")
        events = connection.sql(_SILVER.format(**sides, other=other, grace=grace))
        delta.append(delta.created(settings, "activity"), events)
    rates = [
        {"rate_date": day, "currency": code, "usd_per_unit": Decimal(rate), "fx_version": 1, "loaded_at": NOW}
        for day in CLOSED[::7]
        for code, rate in _RATES.items()
    ]
    append_version(settings, "fx_rates", rates, 1, None)
    return settings
