-- Views for analysts, in the SQL of Trino, which Athena's engine 3 speaks too. Put the schema's name before the tables
-- (or set it) and run each statement once; they read the tables that `reco register` has registered.

-- Money at risk by closed day and supplier: what did we lose where?
CREATE OR REPLACE VIEW risk_by_day AS
SELECT
  reco_date,
  supplier_id,
  anomaly_type,
  count(*) AS breaks,
  sum(amount_at_risk_usd) AS amount_at_risk_usd,
  sum(CASE WHEN amount_at_risk_usd IS NULL THEN 1 ELSE 0 END) AS unpriced
FROM anomalies
GROUP BY reco_date, supplier_id, anomaly_type;

-- What share of a day's keys agreed, and how much money went through?
CREATE OR REPLACE VIEW outcome_by_day AS
SELECT
  reco_date,
  supplier_id,
  count(*) AS facts,
  sum(CASE WHEN outcome = 'MATCHED' THEN 1 ELSE 0 END) AS matched,
  sum(CASE WHEN outcome = 'MISMATCHED' THEN 1 ELSE 0 END) AS mismatched,
  sum(CASE WHEN outcome IN ('MISSING_AGODA', 'MISSING_SUPPLIER') THEN 1 ELSE 0 END) AS missing,
  sum(agoda_amount_usd) AS agoda_usd,
  sum(supplier_amount_usd) AS supplier_usd
FROM reconciliation_facts
GROUP BY reco_date, supplier_id;

-- What is still open, how long, and what does it cost?
CREATE OR REPLACE VIEW open_exceptions AS
SELECT
  supplier_id,
  anomaly_type,
  severity,
  count(*) AS exceptions,
  sum(amount_at_risk_usd) AS amount_at_risk_usd,
  min(first_seen_date) AS oldest,
  max(last_seen_date) AS newest
FROM exceptions
WHERE state = 'OPEN'
GROUP BY supplier_id, anomaly_type, severity;

-- The newest close of each day: what is the authority, and did a revision move money?
CREATE OR REPLACE VIEW newest_close AS
SELECT
  reco_date,
  close_id,
  revision,
  provisional,
  facts,
  anomalies,
  amount_at_risk_usd,
  changed_facts,
  moved_usd,
  content_hash
FROM (
  SELECT *, row_number() OVER (PARTITION BY reco_date ORDER BY revision DESC) AS place
  FROM closes
) AS ranked
WHERE place = 1;

-- Control totals of the newest closes: do the sides that came in equal what went out?
CREATE OR REPLACE VIEW control_totals AS
SELECT
  c.reco_date,
  c.close_id,
  t.supplier_id,
  t.side,
  t.keys_in,
  t.matched + t.mismatched + t.missing AS keys_out,
  t.amount_in_usd,
  t.matched_usd + t.mismatched_usd + t.missing_usd AS amount_out_usd
FROM closes AS c
CROSS JOIN UNNEST(c.control_totals) AS t (
  supplier_id, side, keys_in, matched, mismatched, missing, amount_in_usd, matched_usd, mismatched_usd, missing_usd
);
