-- name: insert
INSERT INTO limits (
    id, tenant, per, subject, requests_per_minute, tokens_per_minute, tokens_per_day,
    concurrent_requests, concurrent_streams
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
RETURNING *

-- name: find
SELECT * FROM limits WHERE id = $1

-- name: lock
SELECT * FROM limits WHERE tenant = $1 AND id = $2 FOR UPDATE

-- name: list
SELECT * FROM limits
WHERE ($1::text IS NULL OR tenant = $1)
    AND ($2::timestamptz IS NULL OR (created_at, id) > ($2, $3))
ORDER BY created_at, id LIMIT $4

-- name: update
UPDATE limits SET
    requests_per_minute = $3, tokens_per_minute = $4, tokens_per_day = $5,
    concurrent_requests = $6, concurrent_streams = $7
WHERE tenant = $1 AND id = $2
RETURNING *

-- name: delete
DELETE FROM limits WHERE tenant = $1 AND id = $2

-- name: state
-- Changes whenever a row does: xmin is the transaction that wrote it.
SELECT md5(string_agg(id || ' ' || xmin::text, ',' ORDER BY id)) FROM limits

-- name: all
SELECT * FROM limits
