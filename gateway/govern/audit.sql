-- name: begin_chain
INSERT INTO audit_heads (tenant) VALUES ($1) ON CONFLICT DO NOTHING;

-- name: lock_head
SELECT seq, hash FROM audit_heads WHERE tenant = $1 FOR UPDATE;

-- name: append
-- The head moves with it: $5 and $6 are the last link's.
WITH head AS (UPDATE audit_heads SET seq = $5, hash = $6 WHERE tenant = $1)
INSERT INTO audit_log (tenant, seq, record, hash)
SELECT $1, seq, record::json, hash
FROM unnest($2::bigint[], $3::text[], $4::bytea[]) AS links (seq, record, hash);

-- name: head
SELECT seq, hash FROM audit_heads WHERE tenant = $1;

-- name: links
SELECT seq, record::text, hash FROM audit_log WHERE tenant = $1 AND seq > $2 ORDER BY seq LIMIT $3;

-- name: page
SELECT record::text FROM audit_log
WHERE tenant = $1 AND ($2::bigint IS NULL OR seq < $2) AND ($3::text IS NULL OR action = $3)
  AND ($4::bigint IS NULL OR at_ms >= $4) AND ($5::bigint IS NULL OR at_ms < $5)
ORDER BY seq DESC LIMIT $6;

-- name: last_before
SELECT seq, hash FROM audit_log WHERE tenant = $1 AND at_ms < $2 ORDER BY seq DESC LIMIT 1;

-- name: prunings
SELECT record::text FROM audit_log WHERE tenant = $1 AND action = $2;

-- name: prune
SELECT prune_audit_log($1);

-- name: chains
SELECT tenant FROM audit_heads ORDER BY tenant;
