-- name: insert
INSERT INTO sources (id, store_id, client, kind, origin, schedule, due_at)
SELECT $1, $2, $3, $4, $5::text::jsonb, $6,
       CASE WHEN $6::text IS NOT NULL THEN clock_timestamp() END

-- name: count
SELECT count(*) FROM sources WHERE store_id = $1

-- name: get
SELECT s.id, s.store_id, s.client, s.kind, s.origin::text, s.schedule, s.created_at, s.due_at,
       s.last_complete_at, s.status, s.complete, s.reason, s.started_at, s.finished_at, s.listed,
       s.added, s.changed, s.removed, s.unchanged, s.failed, s.skipped,
       (SELECT json_agg(json_build_array(key, failure) ORDER BY key) FROM (
            SELECT key, failure FROM source_items i
            WHERE i.source_id = s.id AND i.failure IS NOT NULL ORDER BY key LIMIT 20
        ) AS failing)::text AS failures
FROM sources s
WHERE s.tenant = $1 AND s.store_id = $2 AND ($3::text IS NULL OR s.id = $3)
ORDER BY s.created_at, s.id

-- name: update
-- A new list is read from the start; a new schedule counts from the last run.
UPDATE sources SET
    origin = coalesce($3::text::jsonb, origin),
    mounts = CASE WHEN $3::text IS NULL THEN mounts ELSE '{}' END,
    schedule = CASE WHEN $4 THEN $5 ELSE schedule END,
    due_at = CASE WHEN NOT $4 THEN due_at WHEN $5::text IS NOT NULL
        THEN greatest(coalesce(started_at + schedule_interval($5), '-infinity'), clock_timestamp())
        END
WHERE store_id = $1 AND id = $2

-- name: request
UPDATE sources SET due_at = clock_timestamp() WHERE store_id = $1 AND id = $2

-- name: delete
DELETE FROM sources WHERE store_id = $1 AND id = $2
