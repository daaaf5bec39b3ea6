-- The outbox of CONTRACT section 9 on PostgreSQL 12 or later; `reco relay --init` runs this, for outbox.table's name.
-- The columns are those that Debezium's outbox event router reads, and four of ours.
create table if not exists outbox (
  id            uuid primary key default gen_random_uuid(),    -- record header `id`; the eventId where the payload has none
  aggregatetype varchar(255) not null,                         -- 'agoda' or 'supplier': topic <aggregatetype>.raw.activity
  aggregateid   varchar(255) not null,                         -- record key: the activityId
  type          varchar(255) not null,                         -- activityType
  payload       jsonb not null,                                -- a raw event of CONTRACT section 2
  seq           bigint generated always as identity,           -- order within one aggregateid
  created_at    timestamptz not null default now(),            -- when the transaction began: leave it to the default
  published_at  timestamptz                                    -- set by the relay once the broker has confirmed
);
-- What is still to be published, in its order: as small as the backlog is.
create index if not exists outbox_ix_unpublished on outbox (seq) where published_at is null;
-- For the removal of old rows; they lie in the order in which they were published, so a summary of pages is enough.
create index if not exists outbox_ix_published on outbox using brin (published_at) with (autosummarize = on);
-- Rows come and go: clean up by their number, not by the table's size.
alter table outbox set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);

-- What can never be published as it is, with the reason; see docs/outbox.md for the way back.
create table if not exists outbox_dead (
  id            text primary key,
  aggregatetype text not null,
  aggregateid   text not null,
  type          text not null,
  payload       text not null,
  seq           bigint not null,
  created_at    timestamptz not null,
  parked_at     timestamptz not null default now(),
  reason        text not null
);

-- Up to when each side's heartbeats have said that everything is published; it never goes back.
create table if not exists outbox_heartbeat (
  side          varchar(16) primary key,
  event_time_ms bigint not null                                -- milliseconds since 1970, UTC
);

-- Wakes the relays when rows are committed. It can be left out: they look every outbox.poll_milliseconds anyway.
create or replace function outbox_wake() returns trigger language plpgsql as
  'begin perform pg_notify(''reco_outbox'', ''''); return null; end';
drop trigger if exists outbox_tr_wake on outbox;
create trigger outbox_tr_wake after insert on outbox for each statement execute function outbox_wake();
