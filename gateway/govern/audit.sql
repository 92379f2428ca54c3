-- name: begin_chain
INSERT INTO audit_heads (tenant) VALUES ($1) ON CONFLICT DO NOTHING;

-- name: lock_head
SELECT seq, hash FROM audit_heads WHERE tenant = $1 FOR UPDATE;

-- name: append
-- The head moves with it: $3 and $4 are the last link's. The links come as one text, in which each
-- record stands as it was hashed.
WITH head AS (UPDATE audit_heads SET seq = $3, hash = $4 WHERE tenant = $1)
INSERT INTO audit_log (tenant, seq, record, hash)
SELECT $1, seq, record, decode(hash, 'hex')
FROM json_to_recordset($2::text::json) AS links (seq bigint, record json, hash text);

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
-- What says that others are gone ($3) is no reason to say so again: it goes with the next ones.
SELECT seq, hash FROM audit_log WHERE tenant = $1 AND at_ms < $2 AND action <> $3
ORDER BY seq DESC LIMIT 1;

-- name: prunings
SELECT record::text FROM audit_log WHERE tenant = $1 AND action = $2;

-- name: prune
SELECT prune_audit_log($1);

-- name: chains
SELECT tenant FROM audit_heads ORDER BY tenant;
