-- ClickHouse's tables of `reco export clickhouse`, made from schemas/; its --print-ddl prints them.

CREATE TABLE IF NOT EXISTS reconciliation_facts
(
    `reco_date` Date32 COMMENT 'UTC day the key belongs to',
    `supplier_id` String COMMENT 'Supplier, first half of the match key',
    `activity_id` String COMMENT 'Activity, second half of the match key',
    `outcome` Nullable(String) COMMENT 'MATCHED, MISMATCHED, MISSING_SUPPLIER or MISSING_AGODA',
    `anomaly_types` Array(String) COMMENT 'The breaks found on this key, sorted; empty where there are none',
    `agoda_event_id` Nullable(String) COMMENT 'AGODA\'s latest version: event id',
    `agoda_activity_type` Nullable(String) COMMENT 'AGODA\'s latest version: activity type',
    `agoda_amount_minor` Nullable(Int64) COMMENT 'AGODA\'s latest version: amount in minor units of its currency',
    `agoda_currency` Nullable(String) COMMENT 'AGODA\'s latest version: ISO 4217 code',
    `agoda_status` Nullable(String) COMMENT 'AGODA\'s latest version: status',
    `agoda_version` Nullable(Int64) COMMENT 'AGODA\'s latest version: version',
    `agoda_event_time` Nullable(DateTime64(6, 'UTC')) COMMENT 'AGODA\'s latest version: event time, UTC',
    `agoda_amount_usd` Nullable(Decimal(28, 6)) COMMENT 'AGODA\'s latest version: amount, US dollars; null where no rate was known',
    `supplier_event_id` Nullable(String) COMMENT 'SUPPLIER\'s latest version: event id',
    `supplier_activity_type` Nullable(String) COMMENT 'SUPPLIER\'s latest version: activity type',
    `supplier_amount_minor` Nullable(Int64) COMMENT 'SUPPLIER\'s latest version: amount in minor units of its currency',
    `supplier_currency` Nullable(String) COMMENT 'SUPPLIER\'s latest version: ISO 4217 code',
    `supplier_status` Nullable(String) COMMENT 'SUPPLIER\'s latest version: status',
    `supplier_version` Nullable(Int64) COMMENT 'SUPPLIER\'s latest version: version',
    `supplier_event_time` Nullable(DateTime64(6, 'UTC')) COMMENT 'SUPPLIER\'s latest version: event time, UTC',
    `supplier_amount_usd` Nullable(Decimal(28, 6)) COMMENT 'SUPPLIER\'s latest version: amount, US dollars; null where no rate was known',
    `fx_date` Nullable(Date32) COMMENT 'Date whose FX rates price both sides: AGODA\'s event date, or SUPPLIER\'s',
    `price_diff_usd` Nullable(Decimal(28, 6)) COMMENT 'Distance of the two amounts, US dollars; null where one is unpriced',
    `price_tolerance_usd` Nullable(Decimal(28, 6)) COMMENT 'Greatest allowed distance, US dollars; null where one is unpriced',
    `skew_seconds` Nullable(Decimal(18, 3)) COMMENT 'Distance of the two event times, seconds',
    `agoda_events` Nullable(Int64) COMMENT 'Distinct events of AGODA on this date, redeliveries not counted',
    `supplier_events` Nullable(Int64) COMMENT 'Distinct events of SUPPLIER on this date, redeliveries not counted',
    `agoda_delay_seconds` Nullable(Decimal(18, 3)) COMMENT 'Longest time from event to first publication on this date, seconds',
    `supplier_delay_seconds` Nullable(Decimal(18, 3)) COMMENT 'Longest time from event to first publication on this date, seconds',
    `agoda_duplicates` Array(Tuple(`version` Nullable(Int64), `event_id` Nullable(String), `amount_minor` Nullable(Int64), `currency` Nullable(String), `status` Nullable(String), `event_time` Nullable(DateTime64(6, 'UTC')))) COMMENT 'AGODA\'s events of this date where one is a duplicate',
    `supplier_duplicates` Array(Tuple(`version` Nullable(Int64), `event_id` Nullable(String), `amount_minor` Nullable(Int64), `currency` Nullable(String), `status` Nullable(String), `event_time` Nullable(DateTime64(6, 'UTC')))) COMMENT 'SUPPLIER\'s events of this date where one is a duplicate',
    `close_id` Nullable(String) COMMENT 'The close that wrote this row',
    `_version` UInt64 COMMENT 'generation * 2^32 + version of the Delta table; the greatest counts',
    `_deleted` UInt8 COMMENT '1: the row was removed in that version'
)
ENGINE = ReplacingMergeTree(_version, _deleted)
PARTITION BY toYYYYMM(reco_date)
ORDER BY (reco_date, supplier_id, activity_id)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'The close\'s verdict, one row a reco_date, supplier and activity';

CREATE VIEW IF NOT EXISTS reconciliation_facts_now AS
SELECT * EXCEPT (_version, _deleted) FROM reconciliation_facts FINAL;

CREATE TABLE IF NOT EXISTS anomalies
(
    `anomaly_id` Nullable(String) COMMENT 'SHA-256 of the row\'s key, hexadecimal',
    `reco_date` Date32 COMMENT 'UTC day the key belongs to',
    `supplier_id` String COMMENT 'Supplier, first half of the match key',
    `activity_id` String COMMENT 'Activity, second half of the match key',
    `anomaly_type` String COMMENT 'Which rule is broken',
    `outcome` Nullable(String) COMMENT 'Outcome of the fact it stands on',
    `severity` Nullable(String) COMMENT 'CRITICAL, HIGH, MEDIUM or LOW',
    `amount_at_risk_usd` Nullable(Decimal(28, 6)) COMMENT 'Money at risk, US dollars; null where it cannot be priced',
    `explanation` Nullable(String) COMMENT 'One sentence with the values and the limit',
    `close_id` Nullable(String) COMMENT 'The close that wrote this row',
    `_version` UInt64 COMMENT 'generation * 2^32 + version of the Delta table; the greatest counts',
    `_deleted` UInt8 COMMENT '1: the row was removed in that version'
)
ENGINE = ReplacingMergeTree(_version, _deleted)
PARTITION BY toYYYYMM(reco_date)
ORDER BY (reco_date, supplier_id, activity_id, anomaly_type)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'The close\'s breaks, one row a reco_date, supplier, activity and anomaly type';

CREATE VIEW IF NOT EXISTS anomalies_now AS
SELECT * EXCEPT (_version, _deleted) FROM anomalies FINAL;

CREATE TABLE IF NOT EXISTS exceptions
(
    `exception_id` String COMMENT 'SHA-256 of supplier, activity and anomaly type, hexadecimal',
    `supplier_id` Nullable(String) COMMENT 'Supplier',
    `activity_id` Nullable(String) COMMENT 'Activity',
    `anomaly_type` Nullable(String) COMMENT 'Which rule is broken',
    `state` Nullable(String) COMMENT 'OPEN or RESOLVED',
    `severity` Nullable(String) COMMENT 'Severity when last seen',
    `amount_at_risk_usd` Nullable(Decimal(28, 6)) COMMENT 'Money at risk when last seen, US dollars',
    `first_seen_date` Nullable(Date32) COMMENT 'First reco_date whose close found it',
    `last_seen_date` Nullable(Date32) COMMENT 'Last reco_date whose close found it',
    `resolved_date` Nullable(Date32) COMMENT 'reco_date whose close no longer found it; null while open',
    `close_id` Nullable(String) COMMENT 'The close that last changed this row',
    `_version` UInt64 COMMENT 'generation * 2^32 + version of the Delta table; the greatest counts',
    `_deleted` UInt8 COMMENT '1: the row was removed in that version'
)
ENGINE = ReplacingMergeTree(_version, _deleted)
ORDER BY (exception_id)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Each break\'s life across days, one row a supplier, activity and anomaly type';

CREATE VIEW IF NOT EXISTS exceptions_now AS
SELECT * EXCEPT (_version, _deleted) FROM exceptions FINAL;

CREATE TABLE IF NOT EXISTS hourly_summary
(
    `verdict_date` Date32 COMMENT 'UTC date of the verdicts',
    `verdict_hour` Int32 COMMENT 'UTC hour of the verdicts, 0-23',
    `supplier_id` String COMMENT 'Supplier',
    `verdicts` Nullable(Int64) COMMENT 'Keys that were judged in the hour',
    `matched` Nullable(Int64) COMMENT 'Keys whose outcome is MATCHED',
    `broken` Array(Tuple(`anomaly_type` Nullable(String), `open` Nullable(Int64), `pending` Nullable(Int64))) COMMENT 'Breaks by anomaly type, sorted by it; empty where there are none',
    `amount_at_risk_usd` Nullable(Decimal(28, 6)) COMMENT 'Money at risk of the OPEN breaks, US dollars; unpriced ones left out',
    `unpriced` Nullable(Int64) COMMENT 'OPEN breaks that cannot be priced',
    `delay_p50_ms` Nullable(Int64) COMMENT 'Publication of a key\'s newest event to verdict_at, keys with both sides, median, milliseconds; null where there is no such key',
    `delay_p99_ms` Nullable(Int64) COMMENT 'The same, 99th percentile by nearest rank, milliseconds',
    `_version` UInt64 COMMENT 'generation * 2^32 + version of the Delta table; the greatest counts',
    `_deleted` UInt8 COMMENT '1: the row was removed in that version'
)
ENGINE = ReplacingMergeTree(_version, _deleted)
PARTITION BY toYYYYMM(verdict_date)
ORDER BY (verdict_date, verdict_hour, supplier_id)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'The stream\'s verdicts by supplier and UTC hour, from gold/nrt_results; of each key the hour\'s last counts';

CREATE VIEW IF NOT EXISTS hourly_summary_now AS
SELECT * EXCEPT (_version, _deleted) FROM hourly_summary FINAL;

CREATE TABLE IF NOT EXISTS export_positions
(
    `table_name` String COMMENT 'Exported table',
    `generation` UInt32 COMMENT 'How often it was loaded anew from another table or another history of it',
    `delta_version` Int64 COMMENT 'Version of the Delta table up to which everything is here',
    `table_id` String COMMENT 'Id of the Delta table',
    `fingerprint` String COMMENT 'SHA-256 of the names of the files of that version',
    `written_at` DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') COMMENT 'When, by the clock of ClickHouse, UTC',
    `_version` UInt64 COMMENT 'generation * 2^32 + delta_version; the greatest counts'
)
ENGINE = ReplacingMergeTree(_version)
ORDER BY table_name
COMMENT 'How far each table was exported; written after the rows';
