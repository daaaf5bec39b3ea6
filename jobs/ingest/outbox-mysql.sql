-- The outbox of CONTRACT section 9 on MySQL 8.0.13 or MariaDB 10.6 or later; `reco relay --init` runs this, for
-- outbox.table's name. The columns are those that Debezium's outbox event router reads, and four of ours.
create table if not exists outbox (
  id            char(36) character set ascii collate ascii_bin not null default (uuid()), -- record header `id`
  aggregatetype varchar(255) character set utf8mb4 collate utf8mb4_bin not null,   -- 'agoda' or 'supplier'
  aggregateid   varchar(255) character set utf8mb4 collate utf8mb4_bin not null,   -- record key: the activityId
  type          varchar(255) character set utf8mb4 collate utf8mb4_bin not null,   -- activityType
  payload       json not null,                                          -- a raw event of CONTRACT section 2
  seq           bigint not null auto_increment,                         -- order within one aggregateid
  created_at    timestamp(6) not null default current_timestamp(6),     -- leave it to the default
  published_at  timestamp(6) null default null,                         -- set by the relay once the broker has confirmed
  primary key (id),
  unique key outbox_ix_seq (seq),
  key outbox_ix_unpublished (published_at, seq)
) engine = InnoDB;

-- What can never be published as it is, with the reason; see docs/outbox.md for the way back.
create table if not exists outbox_dead (
  id            varchar(255) character set utf8mb4 collate utf8mb4_bin not null primary key,
  aggregatetype varchar(255) character set utf8mb4 collate utf8mb4_bin not null,
  aggregateid   varchar(255) character set utf8mb4 collate utf8mb4_bin not null,
  type          varchar(255) character set utf8mb4 collate utf8mb4_bin not null,
  payload       longtext character set utf8mb4 collate utf8mb4_bin not null,
  seq           bigint not null,
  created_at    timestamp(6) not null,
  parked_at     timestamp(6) not null default current_timestamp(6),
  reason        text character set utf8mb4 not null
) engine = InnoDB;

-- Up to when each side's heartbeats have said that everything is published; it never goes back.
create table if not exists outbox_heartbeat (
  side          varchar(16) character set ascii collate ascii_bin not null primary key,
  event_time_ms bigint not null                                         -- milliseconds since 1970, UTC
) engine = InnoDB;
